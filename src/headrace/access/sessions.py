"""Sessions of people who signed in: a random token, of which the workspace keeps the hash."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa

from headrace.access.people import People
from headrace.audit.log import AuditLog
from headrace.kernel import tables
from headrace.kernel.callers import Person
from headrace.kernel.clock import Clock, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import KeyNeeded

PREFIX = "hs_"
LIVES = timedelta(hours=12)


class Sessions:
    """The sessions of a workspace, known to each of its consoles."""

    def __init__(self, database: Database, audit: AuditLog, clock: Clock, people: People) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._people = people

    def open(self, person: Person, how: str, checked: str | None = None) -> tuple[str, datetime]:
        """A new session of a person: its token, and when it ends by itself. Old ones are swept away.

        Args:
            how: they showed who they are, for the audit log.
            checked: the hash that their password was held against.

        Raises:
            KeyNeeded: meanwhile the account was ended, or the password reset.
        """
        token, now = PREFIX + secrets.token_urlsafe(32), self._clock()
        row = {"hash": _hash(token), "person": person.name, "created": to_text(now), "expires": to_text(now + LIVES)}
        at = tables.people.c
        with self._audit.change() as change:
            standing = change.connection.execute(sa.select(tables.people).where(at.name == person.name)).first()
            if standing is None or standing.ended or checked not in (None, standing.password):
                raise KeyNeeded("The account was changed meanwhile.", todo="Sign in again.")
            change.connection.execute(tables.sessions.delete().where(tables.sessions.c.expires <= to_text(now)))
            change.connection.execute(tables.sessions.insert().values(row))
            change.entry(person.name, "sign in", person.name, how=how)
        return token, now + LIVES

    def person(self, token: str) -> Person | None:
        """Whose session it is; None where it is over."""
        at = tables.sessions.c
        query = sa.select(at.person).where(at.hash == _hash(token), at.expires > to_text(self._clock()))
        with self._database.read() as connection:
            name = connection.execute(query).scalar()
        found = None if name is None else self._people.get(name)
        return None if found is None or found.ended else found

    def close(self, token: str) -> None:
        """End a session; one that is over already stays so."""
        at = tables.sessions.c
        with self._database.read() as connection:
            if connection.execute(sa.select(at.person).where(at.hash == _hash(token))).first() is None:
                return
        with self._audit.change() as change:
            name = change.connection.execute(sa.select(at.person).where(at.hash == _hash(token))).scalar()
            if name is not None:
                change.connection.execute(tables.sessions.delete().where(at.hash == _hash(token)))
                change.entry(name, "sign out", name)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
