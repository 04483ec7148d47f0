"""Writing and reading the chain, in the workspace's database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from headrace.audit import chain
from headrace.audit.exporting import export_chain
from headrace.audit.signing import Signer
from headrace.kernel import tables
from headrace.kernel.clock import Clock, to_text
from headrace.kernel.database import Database
from headrace.kernel.digests import canonical
from headrace.kernel.errors import NotTrusted, StorageUnavailable
from headrace.kernel.objects import Objects
from headrace.kernel.records import AuditEntry, AuditReport


class Recorded:
    """A transaction that must say what it does: `entry` adds to the chain, within the same commit."""

    def __init__(self, connection: sa.Connection, signer: Signer, clock: Clock) -> None:
        self.connection = connection
        self.last: tuple[int, str] | None = None
        self._signer = signer
        self._clock = clock

    def entry(self, who: str, action: str, subject: str, **detail: Any) -> None:
        """Add one entry: `who` did `action` to `subject`; `detail` is what a reader will want to know."""
        seq, previous = self.last or self._newest()
        row = {
            "seq": seq + 1,
            "time": to_text(self._clock()),
            "who": who,
            "action": action,
            "subject": subject,
            "detail": canonical(detail).decode(),
            "previous": previous,
        }
        row["hash"] = chain.link_hash(**row)
        row["signature"] = self._signer.sign(row["hash"].encode())
        self.connection.execute(tables.audit.insert().values(row))
        self.last = (row["seq"], row["hash"])

    def _newest(self) -> tuple[int, str]:
        newest = sa.select(tables.audit.c.seq, tables.audit.c.hash).order_by(tables.audit.c.seq.desc()).limit(1)
        row = self.connection.execute(newest).first()
        return (row.seq, row.hash) if row else (0, chain.GENESIS)


class AuditLog:
    """The chain of one workspace; `head_path`, one of its `objects`, is the file of the signed head."""

    def __init__(self, database: Database, signer: Signer, objects: Objects, head_path: Path, clock: Clock) -> None:
        self._database = database
        self._signer = signer
        self._objects = objects
        self._head_path = head_path
        self._clock = clock
        if self._head() is None and self._untouched():
            self._write_head(0, chain.GENESIS)

    @contextmanager
    def change(self) -> Iterator[Recorded]:
        """A transaction whose entries are sealed by a new signed head once it has committed."""
        with self._database.write() as connection:
            recorded = Recorded(connection, self._signer, self._clock)
            sound = self._continues(connection)
            yield recorded
        if recorded.last is not None and sound:
            self._seal(*recorded.last)

    def entries(self, limit: int = 50, subject: str | None = None) -> list[AuditEntry]:
        """The newest entries first, of one subject where it is named (a version counts to its model)."""
        query = sa.select(tables.audit).order_by(tables.audit.c.seq.desc()).limit(limit)
        if subject is not None:
            column = tables.audit.c.subject
            query = query.where((column == subject) | column.startswith(f"{subject}@", autoescape=True))
        with self._database.read() as connection:
            return [chain.entry(row) for row in connection.execute(query)]

    def verify(self) -> AuditReport:
        """Walk the whole chain. The head is read first: entries that follow it meanwhile do no harm."""
        head = self._head()
        with self._database.read() as connection:
            rows = connection.execute(sa.select(tables.audit).order_by(tables.audit.c.seq))
            return chain.verify(rows, head, self._signer)

    def export(self, folder: Path) -> int:
        """Write the chain for an auditor, who verifies it without Headrace; gives the number of entries.

        Raises:
            NotTrusted: there is no signed head.
        """
        head = self._head()
        if head is None:
            raise NotTrusted("The file of the signed head is missing.", todo="Restore it from a backup.")
        with self._database.read() as connection:
            rows = connection.execute(sa.select(tables.audit).order_by(tables.audit.c.seq))
            return export_chain(rows, head, self._signer, folder)

    def _head(self) -> chain.Head | None:
        try:
            return msgspec.json.decode(self._objects.latest(self._head_path).read_bytes(), type=chain.Head)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            return chain.Head(seq=0, hash="", signature="")

    def _untouched(self) -> bool:
        """Whether nothing was ever recorded here: only then may a missing head be written anew."""
        everything = (tables.audit, tables.models, tables.runs, tables.snapshots, tables.versions)
        with self._database.read() as connection:
            return not any(
                connection.execute(sa.select(sa.literal(1)).select_from(t).limit(1)).first() for t in everything
            )

    def _continues(self, connection: sa.Connection) -> bool:
        """Whether the signed head is still part of the chain; past a break the head never moves, so it stays found."""
        head = self._head()
        if head is None or not self._signer.signed(chain.head_text(head.seq, head.hash), head.signature):
            return False
        at = tables.audit.c
        return head.seq == 0 or connection.execute(sa.select(at.hash).where(at.seq == head.seq)).scalar() == head.hash

    def _seal(self, seq: int, link: str) -> None:
        """Move the head on. Where the disk refuses, the change stands all the same, and the next one seals both."""
        with (
            contextlib.suppress(OSError, StorageUnavailable),
            self._database.locked(self._head_path.with_suffix(".lock")),
        ):
            current = self._head()
            if current is not None and current.seq < seq:
                self._write_head(seq, link)

    def _write_head(self, seq: int, link: str) -> None:
        head = chain.Head(seq, link, self._signer.sign(chain.head_text(seq, link)))
        self._objects.put(self._head_path, msgspec.json.encode(head))
