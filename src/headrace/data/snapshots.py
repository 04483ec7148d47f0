"""Snapshots: a Delta table for each dataset, an immutable version of it for each distinct state."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import deltalake
import msgspec
import polars as pl
import sqlalchemy as sa

from headrace.audit.log import AuditLog
from headrace.data.digest import table_digest
from headrace.data.frames import storable, to_polars
from headrace.data.inference import infer_schema
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import NotFound, NotTrusted, StorageUnavailable
from headrace.kernel.identifiers import check_name
from headrace.kernel.records import Snapshot
from headrace.kernel.schema import Schema

ROW = "_row"


class Snapshots:
    """The datasets of a workspace; `folder` holds a Delta table for each."""

    def __init__(self, folder: Path, database: Database, audit: AuditLog, clock: Clock) -> None:
        self._folder = folder
        self._database = database
        self._audit = audit
        self._clock = clock

    def take(
        self,
        dataset: str,
        table: Any,
        *,
        keys: tuple[str, ...] = (),
        time: str | None = None,
        target: str | None = None,
        who: str,
    ) -> Snapshot:
        """Keep `table`, whatever library it is of, as it is now.

        Raises:
            InvalidInput: it is no table, or lacks one of the named columns.
            StorageUnavailable: it cannot be written.
        """
        frame = to_polars(table)
        return self.keep(dataset, frame, infer_schema(table, frame, keys=keys, time=time, target=target), who)

    def keep(self, dataset: str, frame: pl.DataFrame, schema: Schema, who: str) -> Snapshot:
        """Keep `frame`; the same content again gives the snapshot that stands.

        Rows are ordered by time, then key, where the schema has these, else left as they came.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        check_name(dataset, "dataset")
        order = [column.name for column in schema.having("time") + schema.having("key")]
        frame = storable(frame)
        frame = frame.sort(order, maintain_order=True, nulls_last=True) if order else frame
        digest = table_digest(frame)
        return self._find(dataset, digest, schema) or self._add(dataset, frame, schema, digest, who)

    def read(self, snapshot: Snapshot) -> pl.DataFrame:
        """The rows of a snapshot, held against its digest.

        Raises:
            NotTrusted: the stored rows are not those that were kept.
        """
        path = str(self._folder / snapshot.dataset)
        try:
            frame = pl.read_delta(path, version=snapshot.table).sort(ROW).drop(ROW)
        except (deltalake.exceptions.DeltaError, pl.exceptions.PolarsError, OSError) as error:
            raise NotTrusted(
                f"Snapshot {snapshot.digest[:12]} of {snapshot.dataset} cannot be read: {str(error).splitlines()[0]}.",
                todo="Restore the dataset's folder from a backup, or take a new snapshot.",
            ) from error
        if table_digest(frame) != snapshot.digest:
            raise NotTrusted(
                f"The stored rows of {snapshot.dataset} are not those of snapshot {snapshot.digest[:12]}.",
                todo="Restore the dataset's folder from a backup, or take a new snapshot.",
            )
        return frame

    def get(self, digest: str) -> Snapshot:
        """The snapshot with this digest (or the beginning of one).

        Raises:
            NotFound: there is none.
        """
        query = sa.select(tables.snapshots).where(tables.snapshots.c.digest.startswith(digest, autoescape=True))
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(
                f"There is no snapshot {digest!r}.", todo="See the runs and their snapshots: 'headrace runs'."
            )
        return _snapshot(row)

    def _find(self, dataset: str, digest: str, schema: Schema) -> Snapshot | None:
        at = tables.snapshots.c
        query = sa.select(tables.snapshots).where(at.dataset == dataset, at.digest == digest)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return msgspec.structs.replace(_snapshot(row), schema=schema) if row else None

    def _add(self, dataset: str, frame: pl.DataFrame, schema: Schema, digest: str, who: str) -> Snapshot:
        time = next((column.name for column in schema.having("time")), None)
        start, end = (str(frame[time].min()), str(frame[time].max())) if time else ("", "")
        version = self._write(dataset, frame.with_row_index(ROW))
        snapshot = Snapshot(
            digest=digest,
            dataset=dataset,
            table=version,
            rows=frame.height,
            schema=schema,
            start=start,
            end=end,
            created=self._clock(),
        )
        row = {
            "dataset": dataset,
            "digest": digest,
            "table_version": version,
            "rows": frame.height,
            "schema": msgspec.json.encode(schema).decode(),
            "start": start,
            "end": end,
            "created": to_text(snapshot.created),
        }
        with self._audit.change() as change:
            added = change.connection.execute(sa.insert(tables.snapshots).prefix_with("OR IGNORE").values(row))
            if added.rowcount:
                change.entry(who, "snapshot", dataset, digest=digest, rows=frame.height)
        return snapshot

    def _write(self, dataset: str, frame: pl.DataFrame) -> int:
        path = self._folder / dataset
        try:
            path.mkdir(parents=True, exist_ok=True)
            with path.with_name(f".{dataset}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                deltalake.write_deltalake(str(path), frame, mode="overwrite", schema_mode="overwrite")
                return deltalake.DeltaTable(str(path)).version()
        except (OSError, deltalake.exceptions.DeltaError) as error:
            raise StorageUnavailable(
                f"The snapshot of {dataset} could not be written to {path}: {error}.",
                todo="See that the disk has room and the folder may be written; nothing was changed.",
            ) from error


def _snapshot(row: Any) -> Snapshot:
    return Snapshot(
        digest=row.digest,
        dataset=row.dataset,
        table=row.table_version,
        rows=row.rows,
        schema=msgspec.json.decode(row.schema, type=Schema),
        start=row.start,
        end=row.end,
        created=from_text(row.created),
    )
