"""Accounts of people: made by an admin, opened by a code that only the person uses, or by an identity provider."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from headrace.access.passwords import check_password, hashed, matches
from headrace.access.roles import check_role
from headrace.audit.log import AuditLog, Recorded
from headrace.kernel import tables
from headrace.kernel.callers import Person
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import Conflict, InvalidName, KeyNeeded, NotFound, Refused

CODE_LIVES = timedelta(days=3)
SYSTEM = ("policy", "headrace")
"""Names under which Headrace itself acts."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}\Z")
_AT = tables.people.c
_WRONG = "The name or the password is not right."
_ASK = "Ask an admin for a code with 'headrace people reset NAME' if you forgot it."


class Identity(NamedTuple):
    """Who an identity provider says somebody is; `role` is what its claims give, None where they are not to."""

    issuer: str
    subject: str
    name: str
    role: str | None


class People:
    """The people of a workspace."""

    def __init__(self, database: Database, audit: AuditLog, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    def any(self) -> bool:
        """Whether there is anybody who may sign in."""
        with self._database.read() as connection:
            return connection.execute(sa.select(_AT.name).where(_AT.ended == "").limit(1)).first() is not None

    def list(self) -> list[Person]:
        """Everybody who was ever added, by name."""
        with self._database.read() as connection:
            return [_person(row) for row in connection.execute(sa.select(tables.people).order_by(_AT.name))]

    def get(self, name: str) -> Person:
        """One person.

        Raises:
            NotFound: nobody of this name was added.
        """
        return _person(self._row(name))

    def add(self, name: str, role: str, who: str, password: str | None = None, issuer: str = "") -> tuple[Person, str]:
        """Add a person, or take back one whose account was ended.

        Args:
            password: set for them; without one there is a code with which they choose it themselves.
            issuer: of the identity provider through which they sign in instead.

        Returns:
            The person, and the code, which is shown this once; empty where there is none.

        Raises:
            InvalidName, InvalidInput: a name, role or password that cannot be.
            Conflict: an account or an application has that name.
        """
        name = check_person(name)
        code = "" if password or issuer else secrets.token_urlsafe(18)
        if password:
            check_password(password, name)
        row = {
            "name": name,
            "role": check_role(role),
            "password": hashed(password) if password else "",
            **self._coded(code),
            "issuer": issuer,
            "subject": "",
            "created": to_text(self._clock()),
            "created_by": who,
            "ended": "",
        }
        with self._audit.change() as change:
            self._free(change.connection, name)
            change.connection.execute(tables.people.delete().where(_AT.name == name))
            change.connection.execute(tables.people.insert().values(row))
            change.entry(who, "add person", name, role=role, issuer=issuer)
        return self.get(name), code

    def change_role(self, name: str, role: str, who: str) -> Person:
        """Give a person another role, at once.

        Raises:
            NotFound, InvalidInput: there is no such person or role.
            Conflict: they are the last admin.
        """
        check_role(role)
        with self._audit.change() as change:
            before = self._known(change.connection, name)
            self._another_admin(change.connection, before, role)
            change.connection.execute(tables.people.update().where(_AT.name == before.name).values(role=role))
            change.entry(who, "change role", before.name, before=before.role, role=role)
        return self.get(name)

    def reset(self, name: str, who: str) -> tuple[Person, str]:
        """End a person's password and sessions; gives the code with which they choose another password.

        Raises:
            NotFound: there is no such person.
            Refused: they sign in elsewhere.
        """
        code = secrets.token_urlsafe(18)
        with self._audit.change() as change:
            before = self._known(change.connection, name)
            if before.issuer:
                raise Refused(
                    f"{name} signs in at {before.issuer}.", todo="There they have a password, and here they have none."
                )
            values = {"password": "", **self._coded(code)}
            change.connection.execute(tables.people.update().where(_AT.name == before.name).values(values))
            _sign_out(change.connection, before.name)
            change.entry(who, "reset person", before.name)
        return self.get(name), code

    def end(self, name: str, who: str) -> Person:
        """End an account and its sessions; what it did stays on record.

        Raises:
            NotFound: there is no such person.
            Conflict: they are the last admin.
        """
        with self._audit.change() as change:
            before = self._known(change.connection, name)
            self._another_admin(change.connection, before, "")
            values = {"ended": to_text(self._clock()), "password": "", "code": ""}
            change.connection.execute(tables.people.update().where(_AT.name == before.name).values(values))
            _sign_out(change.connection, before.name)
            change.entry(who, "end person", before.name)
        return self.get(name)

    def choose(self, name: str, code: str, password: str) -> Person:
        """Set the password of the one who holds a code; the code is used up.

        Raises:
            KeyNeeded: it is not the code, or too old.
            InvalidInput: the password is worth nothing.
        """
        name = name.strip().lower()
        check_password(password, name)
        with self._database.read() as connection:  # those who guess wait for no writer, and make none wait
            self._need_code(connection, name, code)
        fresh = hashed(password)
        with self._audit.change() as change:
            self._need_code(change.connection, name, code)
            values = {"password": fresh, **self._coded("")}
            change.connection.execute(tables.people.update().where(_AT.name == name).values(values))
            _sign_out(change.connection, name)
            change.entry(name, "choose password", name)
        return self.get(name)

    def check(self, name: str, password: str) -> tuple[Person, str]:
        """The person of this name and password, and the hash that it was held against; a wrong name takes as long as a
        wrong password.

        Raises:
            KeyNeeded: it is not right.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.people).where(_AT.name == name.strip().lower())).first()
        open_to_it = row is not None and not row.ended and bool(row.password)
        right = matches(password, row.password if open_to_it else _nobodys())
        if not (open_to_it and right):
            raise KeyNeeded(_WRONG, todo=_ASK)
        return _person(row), row.password

    def admit(self, identity: Identity, signing_in: bool = True) -> Person:
        """The person whom an identity provider names; at the first time the account is tied to its subject.

        Args:
            signing_in: at the provider, now: the role is then what its claims say. A token that a program shows may be
                older than a change of role, and changes none.

        Raises:
            InvalidName: what it calls them cannot be a name.
            Refused: nobody added them and no claim gives them a role; or another account has the name.
        """
        if known := self._as_it_is(identity, signing_in):
            return known
        with self._audit.change() as change:
            row = change.connection.execute(sa.select(tables.people).where(*_subject(identity))).first()
            if row is None:
                self._tie(change, identity, check_person(identity.name))
            elif signing_in and not row.ended and identity.role not in (None, row.role):
                change.connection.execute(tables.people.update().where(*_subject(identity)).values(role=identity.role))
                change.entry(row.name, "change role", row.name, before=row.role, role=identity.role, by=identity.issuer)
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.people).where(*_subject(identity))).one()
        if row.ended:
            raise Refused(f"The account of {row.name} was ended.", todo="Ask an admin.")
        return _person(row)

    def _need_code(self, connection: sa.Connection, name: str, code: str) -> None:
        row = connection.execute(sa.select(tables.people).where(_AT.name == name)).first()
        known = row is not None and not row.ended and bool(row.code) and row.code_until > to_text(self._clock())
        if not (known and hmac.compare_digest(row.code, _code_hash(code.strip()))):
            raise KeyNeeded("The name or the code is not right, or the code is too old.", todo=_ASK)

    def _as_it_is(self, identity: Identity, signing_in: bool) -> Person | None:
        """The person, where nothing is to be changed."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.people).where(*_subject(identity), _AT.ended == "")).first()
        same = row is not None and (not signing_in or identity.role in (None, row.role))
        return _person(row) if same else None

    def _tie(self, change: Recorded, identity: Identity, name: str) -> None:
        row = change.connection.execute(sa.select(tables.people).where(_AT.name == name)).first()
        awaited = row is not None and row.issuer == identity.issuer and not row.subject and not row.ended
        if awaited:
            values = {"subject": identity.subject, "role": identity.role or row.role}
            change.connection.execute(tables.people.update().where(_AT.name == name).values(values))
        elif identity.role is None:
            raise Refused(
                f"{identity.issuer} knows {name}, and nobody added them here.",
                expected="an account, or a claim that gives a role",
                todo=f"An admin adds them with 'headrace people add {name} --role ROLE --oidc'.",
            )
        else:
            self._free(change.connection, name, taken_back=False)
            values = {"name": name, "role": identity.role, "password": "", **self._coded("")}
            made = {"created": to_text(self._clock()), "created_by": identity.issuer, "ended": ""}
            tied = {"issuer": identity.issuer, "subject": identity.subject}
            change.connection.execute(tables.people.insert().values({**values, **made, **tied}))
        change.entry(name, "tie person", name, issuer=identity.issuer, known_as=identity.subject)

    def _coded(self, code: str) -> dict[str, str]:
        until = to_text(self._clock() + CODE_LIVES) if code else ""
        return {"code": _code_hash(code) if code else "", "code_until": until}

    def _row(self, name: str) -> Any:
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.people).where(_AT.name == name.strip().lower())).first()
        return _there(row, name)

    def _known(self, connection: sa.Connection, name: str) -> Any:
        query = sa.select(tables.people).where(_AT.name == name.strip().lower(), _AT.ended == "")
        return _there(connection.execute(query).first(), name)

    def _free(self, connection: sa.Connection, name: str, taken_back: bool = True) -> None:
        """See that nobody and no application goes by this name.

        Raises:
            Conflict: one does.
        """
        person = connection.execute(sa.select(_AT.ended).where(_AT.name == name)).first()
        if person is not None and not (person.ended and taken_back):
            raise Conflict(f"There is an account of {name}.", todo="See 'headrace people list'; choose another name.")
        at = tables.keys.c
        if connection.execute(sa.select(at.id).where(at.consumer == name, at.revoked == "").limit(1)).first():
            raise Conflict(
                f"An application with a key is called {name}.",
                expected="names that tell people and applications apart",
                todo="Choose another name, or revoke its keys.",
            )

    def _another_admin(self, connection: sa.Connection, row: Any, role: str) -> None:
        others = sa.select(_AT.name).where(_AT.role == "admin", _AT.ended == "", _AT.name != row.name).limit(1)
        if row.role == "admin" and role != "admin" and connection.execute(others).first() is None:
            raise Conflict(f"{row.name} is the last admin.", todo="Add or name another admin first.")


def check_person(name: str) -> str:
    """A name of a person, in lower case.

    Raises:
        InvalidName: it cannot be one, or Headrace itself acts under it.
    """
    plain = name.strip(" ").lower()
    if (
        not name.isascii() or not _NAME.match(plain) or plain in SYSTEM
    ):  # some letters beyond ASCII are lower-cased into it
        raise InvalidName(
            f"{name!r} cannot be the name of a person.",
            field="name",
            expected="1 to 100 of letters, digits and . _ @ + -, such as anna or anna@example.org",
            todo="Choose another.",
        )
    return plain


def _there(row: Any, name: str) -> Any:
    if row is None:
        raise NotFound(f"There is no account of {name!r}.", todo="See 'headrace people list'.")
    return row


def _subject(identity: Identity) -> tuple[Any, Any]:
    return _AT.issuer == identity.issuer, _AT.subject == identity.subject


def _sign_out(connection: sa.Connection, name: str) -> None:
    connection.execute(tables.sessions.delete().where(tables.sessions.c.person == name))


def _code_hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


@cache
def _nobodys() -> str:
    """The hash that stands in for somebody who is not known."""
    return hashed(secrets.token_hex(16))


def _person(row: Any) -> Person:
    return Person(
        name=row.name,
        role=row.role,
        issuer=row.issuer,
        subject=row.subject,
        waiting=bool(row.code),
        created=from_text(row.created),
        created_by=row.created_by,
        ended=from_text(row.ended) if row.ended else None,
    )
