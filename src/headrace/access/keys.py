"""Keys: who may call, for what, how often and with which objective. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import get_args

import msgspec
import sqlalchemy as sa

from headrace.access.people import SYSTEM
from headrace.audit.log import AuditLog
from headrace.kernel import tables
from headrace.kernel.callers import KeyRecord
from headrace.kernel.clock import Clock, parse_duration, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import Conflict, InvalidInput, NotFound
from headrace.kernel.identifiers import check_name, new_id
from headrace.kernel.places import Places
from headrace.kernel.routes import Scope
from headrace.registry.routing import advance_generation, publish

PREFIX = "hr_"
SCOPES: tuple[Scope, ...] = get_args(Scope)


def key_hash(text: str) -> str:
    """SHA-256 of a key, in hexadecimal. A key is 256 random bits, so a slow hash would protect nothing more."""
    return hashlib.sha256(text.encode()).hexdigest()


class Keys:
    """The keys of a workspace."""

    def __init__(self, places: Places, database: Database, audit: AuditLog, clock: Clock) -> None:
        self._places = places
        self._database = database
        self._audit = audit
        self._clock = clock

    def create(
        self, consumer: str, scopes: Iterable[str], who: str, p99: str | None = None, quota: float | None = None
    ) -> tuple[KeyRecord, str]:
        """A new key of a consumer, and its text, which is shown this once.

        Args:
            scopes: of ``predict``, ``train``, ``deploy``, ``approve``, ``admin``.
            p99: the consumer's latency objective, such as ``20ms``.
            quota: requests a second that each scoring process answers.

        Raises:
            InvalidName, InvalidInput: a name, scope, objective or quota that cannot be.
            Conflict: a person has this name.
        """
        check_name(consumer, "consumer")
        chosen = _scopes(scopes)
        if quota is not None and not 0 < quota <= 1e6:
            raise InvalidInput(
                f"The quota is {quota}.", field="quota", expected="requests a second, above 0", todo="Correct it."
            )
        objective = None if p99 is None else parse_duration(p99).total_seconds()
        if objective is not None and objective <= 0:
            raise InvalidInput(f"The objective is {p99}.", field="p99", expected="more than 0", todo="Correct it.")
        text = PREFIX + secrets.token_urlsafe(32)
        record = KeyRecord(
            id=new_id(),
            consumer=consumer,
            scopes=chosen,
            p99=objective,
            quota=quota,
            created=self._clock(),
            created_by=who,
        )
        row = {**msgspec.to_builtins(record), "created": to_text(record.created), "hash": key_hash(text), "revoked": ""}
        with self._audit.change() as change:
            _no_person(change.connection, consumer)
            change.connection.execute(tables.keys.insert().values(row))
            advance_generation(change.connection)
            change.entry(who, "create key", consumer, key=record.id, scopes=list(chosen), p99=objective, quota=quota)
        publish(self._database, self._places)
        return record, text

    def list(self) -> list[KeyRecord]:
        """Every key that was made, oldest first, those that were revoked among them."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(tables.keys).order_by(tables.keys.c.id)).all()
        fields = KeyRecord.__struct_fields__
        plain = [{name: getattr(row, name) for name in fields} for row in rows]
        return [msgspec.convert({**row, "revoked": row["revoked"] or None}, KeyRecord) for row in plain]

    def revoke(self, key: str, who: str) -> KeyRecord:
        """End a key; scoring processes follow with the next poll of the routes.

        Raises:
            NotFound: there is no key with this id.
        """
        at = tables.keys.c
        with self._audit.change() as change:
            row = change.connection.execute(sa.select(tables.keys).where(at.id == key)).first()
            if row is None:
                raise NotFound(f"There is no key {key!r}.", todo="See 'headrace keys list'.")
            if not row.revoked:
                ended = to_text(self._clock())
                change.connection.execute(tables.keys.update().where(at.id == key).values(revoked=ended))
                advance_generation(change.connection)
                change.entry(who, "revoke key", row.consumer, key=key)
        publish(self._database, self._places)
        return next(record for record in self.list() if record.id == key)


def _no_person(connection: sa.Connection, consumer: str) -> None:
    at = tables.people.c
    person = connection.execute(sa.select(at.name).where(at.name == consumer, at.ended == "")).first()
    if person is not None or consumer in SYSTEM:
        raise Conflict(
            f"{consumer} is the name of a person." if person else f"Headrace itself acts as {consumer!r}.",
            expected="names that tell people and applications apart",
            todo="Choose another name for the application.",
        )


def _scopes(asked: Iterable[str]) -> tuple[Scope, ...]:
    named = {str(scope) for scope in asked}
    unknown = named - set(SCOPES)
    if unknown or not named:
        raise InvalidInput(
            f"The scopes are {', '.join(sorted(named)) or 'none'}.",
            field="scope",
            expected=f"one or more of {', '.join(SCOPES)}",
            todo="Correct them.",
        )
    return tuple(scope for scope in SCOPES if scope in named)
