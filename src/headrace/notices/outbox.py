"""The notices of a workspace: written down once each, due until they arrived or were given up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from headrace.kernel import tables
from headrace.kernel.callers import Notice
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import NotFound
from headrace.notices.receivers import Receiver, receivers

FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=6)
MOST_ATTEMPTS = 12
"""With the waits between them, within a day."""
KEPT = timedelta(days=90)
_AT = tables.notices.c


class Outbox:
    """What is to be told, and what became of it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._told: set[tuple[str, str]] = set()

    def tell(
        self,
        about: str,
        model: str,
        owners: Iterable[str],
        subject: str,
        text: str,
        document: dict[str, Any],
        connection: sa.Connection | None = None,
    ) -> None:
        """Write down a notice for each receiver that `owners` name; what was told of `about` is not told again.

        Args:
            connection: of a change with which it is written down, or not at all.
            about: what it is about, by an id that stays the same.
            document: for programs; it holds no values of rows, as `text` does not.
        """
        known = (about, "\n".join(owners))
        if known in self._told:
            return
        rows = [
            self._row(about, model, receiver, subject, text, document)
            for receiver in dict.fromkeys(found for owner in owners for found in receivers(owner))
        ]
        if connection is not None:
            _add(connection, rows)
            return
        with self._database.write() as own:
            _add(own, rows)
        self._told.add(known)

    def due(self, limit: int = 20) -> list[Notice]:
        """Those that are to be delivered now, oldest first."""
        waiting = (_AT.delivered == "") & (_AT.given_up == "") & (_AT.due <= to_text(self._clock()))
        query = sa.select(tables.notices).where(waiting).order_by(_AT.due).limit(limit)
        with self._database.read() as connection:
            return [_notice(row) for row in connection.execute(query)]

    def list(self, model: str | None = None, limit: int = 50) -> list[Notice]:
        """The newest first."""
        query = sa.select(tables.notices).order_by(_AT.created.desc(), _AT.id).limit(limit)
        with self._database.read() as connection:
            chosen = query if model is None else query.where(_AT.model == model)
            return [_notice(row) for row in connection.execute(chosen)]

    def newest(self, kind: str) -> Notice:
        """The newest of a type, such as ``job.done``, as it was before it was sent.

        Raises:
            NotFound: there is none.
        """
        query = sa.select(tables.notices).order_by(_AT.created.desc(), _AT.id)
        with self._database.read() as connection:
            for row in connection.execute(query):
                if row.document.get("type") == kind:
                    return replace(_notice(row), attempts=0, delivered=None, given_up=None, error="")
        raise NotFound(f"No notice of type {kind!r} was told yet.", todo="See 'headrace notices --json' for the types.")

    def delivered(self, notice: Notice) -> None:
        """It arrived."""
        self._note(notice, delivered=to_text(self._clock()), attempts=notice.attempts + 1, error="")

    def failed(self, notice: Notice, error: str, final: bool) -> None:
        """It did not arrive: it is due again later, twice as long from now as the last time, or given up."""
        now, attempts = self._clock(), notice.attempts + 1
        over = final or attempts >= MOST_ATTEMPTS
        wait = min(FIRST_WAIT * 2 ** min(attempts - 1, 20), LONGEST_WAIT)
        ended = to_text(now) if over else ""
        self._note(notice, attempts=attempts, error=error, due=to_text(now + wait), given_up=ended)

    def sweep(self) -> None:
        """Remove what is long over."""
        with self._database.write() as connection:
            connection.execute(tables.notices.delete().where(_AT.created < to_text(self._clock() - KEPT)))

    def _row(
        self, about: str, model: str, receiver: Receiver, subject: str, text: str, document: dict[str, Any]
    ) -> dict[str, Any]:
        identity = hashlib.sha256(f"{about}\n{receiver.address}".encode()).hexdigest()[:32]
        now = to_text(self._clock())
        return {
            "id": identity,
            "about": about,
            "model": model,
            "kind": receiver.kind,
            "receiver": receiver.address,
            "subject": " ".join(subject.split()),
            "text": text,
            "document": document,
            "created": now,
            "due": now,
            "attempts": 0,
            "delivered": "",
            "given_up": "",
            "error": "",
        }

    def _note(self, notice: Notice, **values: Any) -> None:
        with self._database.write() as connection:
            connection.execute(tables.notices.update().where(_AT.id == notice.id).values(values))


def _add(connection: sa.Connection, rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        if connection.execute(sa.select(_AT.id).where(_AT.id == row["id"])).first() is None:
            connection.execute(tables.notices.insert().values(row))


def _notice(row: Any) -> Notice:
    moments = {"created": from_text(row.created), "due": from_text(row.due)}
    ended = {name: from_text(text) if (text := getattr(row, name)) else None for name in ("delivered", "given_up")}
    plain = {name: getattr(row, name) for name in Notice.__struct_fields__ if name not in {*moments, *ended}}
    return Notice(**plain, **moments, **ended)
