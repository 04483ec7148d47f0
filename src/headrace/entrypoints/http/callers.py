"""Who calls, as the guard found it out, for whatever is behind it."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request

from headrace import settings
from headrace.access.roles import ROLES
from headrace.kernel.callers import Person
from headrace.kernel.errors import KeyNeeded, Refused
from headrace.kernel.routes import Key, allows

CALLER = "headrace.caller"
"""Where a request's scope has the `Caller`; None where nobody said who it is, and nobody had to."""
COOKIE = "headrace_session"


def client_address(request: Request) -> str:
    """Where a request comes from: the peer, or what a proxy that is trusted (HEADRACE_PROXIES) says last."""
    peer = request.client.host if request.client is not None else ""
    trusted = [one.strip() for one in settings.read(settings.PROXIES).split(",") if one.strip()]
    said = [one.strip() for one in request.headers.get("x-forwarded-for", "").split(",") if one.strip()]
    while peer in trusted and said:
        peer = said.pop()
    return peer


class Caller(NamedTuple):
    """An application by its key, or a person by their session or a token of the identity provider."""

    name: str
    scopes: tuple[str, ...]
    person: Person | None = None

    def may(self, asked: str) -> bool:
        """Whether they may do what asks for this scope."""
        return allows(self.scopes, asked)


def of_key(key: Key | None) -> Caller | None:
    """The application whose key was shown."""
    return None if key is None else Caller(key.consumer, key.scopes)


def of_person(person: Person) -> Caller:
    """A person who signed in."""
    return Caller(person.name, ROLES[person.role], person)


def check_role(caller: Caller, asked: str) -> None:
    """See that a person's role has the scope that something asks for.

    Raises:
        Refused: it does not.
    """
    if caller.person is not None and not caller.may(asked):
        having = [role for role, scopes in ROLES.items() if allows(scopes, asked)]
        raise Refused(
            f"{caller.name} is {caller.person.role}.",
            expected=f"the role {' or '.join(having)}",
            todo="Ask an admin for it.",
        )


def named(caller: Caller | None, what: str) -> Caller:
    """The caller, where one person must not be two.

    Raises:
        KeyNeeded: nobody said who it is.
    """
    if caller is None:
        raise KeyNeeded(
            f"Nobody says who wants to {what}.",
            expected="a person who signed in, or a key",
            todo="Sign in, or send 'Authorization: Bearer KEY', of your own.",
        )
    return caller
