"""The verbs about people and applications: their keys, accounts and sessions, and what they are told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import structs

from headrace import settings
from headrace.access.passwords import LONGEST
from headrace.audit.signing import PublicKey
from headrace.kernel.callers import KeyRecord, Notice, Person
from headrace.kernel.errors import InvalidInput, Unavailable
from headrace.kernel.identifiers import new_id
from headrace.notices.mail import Undelivered
from headrace.notices.receivers import one_receiver
from headrace.workspace.wiring import Rooms


class Callers(Rooms):
    """Who may call, sign in and change things, and who is told."""

    def create_key(
        self, consumer: str, scopes: Iterable[str] = ("predict",), *, p99: str | None = None, quota: float | None = None
    ) -> tuple[KeyRecord, str]:
        """A new key of a consumer, and its text, which is shown this once."""
        return self.key_store.create(consumer, scopes, settings.who(), p99, quota)

    def keys(self) -> list[KeyRecord]:
        """Every key that was made, revoked ones among them."""
        return self.key_store.list()

    def revoke_key(self, key: str) -> KeyRecord:
        """End a key by its id."""
        return self.key_store.revoke(key, settings.who())

    def signing_key(self) -> PublicKey:
        """The public half of the key that signs this registry's bundles, to be given to others."""
        return self.signer.public

    def add_person(
        self, name: str, role: str = "viewer", *, password: str | None = None, elsewhere: bool = False
    ) -> tuple[Person, str]:
        """Add a person; gives them and the code with which they choose a password, shown this once.

        Args:
            role: ``viewer``, ``scientist``, ``operator``, ``approver`` or ``admin``.
            password: set for them instead.
            elsewhere: they sign in at the identity provider of HEADRACE_OIDC instead.
        """
        issuer = settings.read(settings.OIDC).rstrip("/")
        if elsewhere and not issuer:
            raise InvalidInput(
                "No identity provider is set.", expected="its address in HEADRACE_OIDC", todo="Set it, and try again."
            )
        return self.people_store.add(name, role, settings.who(), password, issuer if elsewhere else "")

    def people(self) -> list[Person]:
        """Everybody who was ever added."""
        return self.people_store.list()

    def change_role(self, name: str, role: str) -> Person:
        """Give a person another role, at once."""
        return self.people_store.change_role(name, role, settings.who())

    def reset_person(self, name: str) -> tuple[Person, str]:
        """End a person's password and sessions; gives the code with which they choose another."""
        return self.people_store.reset(name, settings.who())

    def end_person(self, name: str) -> Person:
        """End an account and its sessions."""
        return self.people_store.end(name, settings.who())

    def notices(self, model: str | None = None, limit: int = 50) -> list[Notice]:
        """What owners were told, and what became of it; the newest first."""
        return self.outbox.list(model, limit)

    def test_notice(self, receiver: str, like: str = "") -> Notice:
        """Tell somebody something now, to see whether it arrives.

        Args:
            like: the type of notice, such as ``job.done``, of which the newest is told once more; empty for none.

        Raises:
            InvalidInput: it is neither a mail address nor a URL.
            NotFound: there is no notice of that type.
            Unavailable: it did not arrive; the reason says why.
        """
        to = one_receiver(receiver)
        now = self.clock()
        text = f"{settings.who()} tried whether notices arrive. They do."
        plain = {
            "about": "test",
            "model": "",
            "subject": "[headrace] a test",
            "text": text,
            "document": {"type": "test"},
        }
        told = self.outbox.newest(like) if like else Notice(id="", kind="", receiver="", created=now, due=now, **plain)
        notice = structs.replace(told, id=new_id(), kind=to.kind, receiver=to.address)
        try:
            self.postman().bring(notice)
        except Undelivered as error:
            raise Unavailable(
                f"Nothing arrived at {to.address}: {error}.", todo="See HEADRACE_SMTP, and 'headrace notices --help'."
            ) from error
        return structs.replace(notice, attempts=1, delivered=now)

    def sign_in(self, name: str, password: str, address: str = "") -> tuple[Person, str, datetime]:
        """Open a session: the person, its token and when it ends.

        Args:
            address: where the attempt comes from; wrong ones are slowed down by name and address.

        Raises:
            KeyNeeded: name or password is wrong.
            Overloaded: too many attempts.
        """
        _check_said(name, password)
        with self.attempts.one(name.strip().lower(), address):
            person, checked = self.people_store.check(name, password)
        return person, *self.session_store.open(person, "password", checked)

    def choose_password(self, name: str, code: str, password: str, address: str = "") -> Person:
        """Set the password of the one who holds a code.

        Raises:
            KeyNeeded: it is not the code, or too old.
            InvalidInput: the password is worth nothing.
            Overloaded: too many attempts.
        """
        _check_said(name, password, code)
        with self.attempts.one(name.strip().lower(), address):
            return self.people_store.choose(name, code, password)


def _check_said(*said: str) -> None:
    """See that what somebody says who is not known yet is no more than anybody has to say.

    Raises:
        InvalidInput: it is longer, or no text.
    """
    for text in said:
        if len(text) > LONGEST or not text.isprintable():
            raise InvalidInput(
                f"A field has {len(text)} characters, or some that cannot be printed.",
                expected=f"at most {LONGEST} that can",
                todo="Type it again.",
            )
