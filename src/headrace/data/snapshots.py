"""Snapshots: a Delta table for each dataset, an immutable version of it for each distinct state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import deltalake
import msgspec
import numpy as np
import polars as pl
import sqlalchemy as sa

from headrace.audit.log import AuditLog
from headrace.data.differences import TableDifference, changed_rows, compare_tables, row_digests
from headrace.data.digest import column_digests, table_digest
from headrace.data.expectations import (
    Expectations,
    check_declared,
    check_inferred,
    late_columns,
    refuse,
    without_values,
)
from headrace.data.frames import storable, to_polars
from headrace.data.inference import infer_schema
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database, add_if_absent
from headrace.kernel.digests import digest_file
from headrace.kernel.errors import InvalidInput, NotFound, NotTrusted, StorageUnavailable
from headrace.kernel.identifiers import check_name, new_id
from headrace.kernel.places import Places
from headrace.kernel.records import Finding, Hold, Snapshot
from headrace.kernel.schema import Schema

ROW = "_row"
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


class Snapshots:
    """The datasets of a workspace: a Delta table for each."""

    def __init__(self, places: Places, database: Database, audit: AuditLog, clock: Clock) -> None:
        self._folder = places.datasets
        self._objects = places.objects
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

    def keep(
        self,
        dataset: str,
        frame: pl.DataFrame,
        schema: Schema,
        who: str,
        origin: tuple[str, ...] = (),
        expect: Expectations | None = None,
        hidden: frozenset[str] = frozenset(),
    ) -> Snapshot:
        """Keep `frame`; the same content again gives the snapshot that stands.

        Rows are ordered by time, then key, where the schema has these, else left as they came.

        Args:
            origin: what it was read from, in words.
            expect: what is declared of it; otherwise only what was seen before is expected, and never insisted on.
            hidden: columns of which no finding or error shows a value.

        Raises:
            SchemaViolation: a declared expectation is broken.
            StorageUnavailable: it cannot be written.
        """
        check_name(dataset, "dataset")
        order = [column.name for column in schema.having("time") + schema.having("key")]
        frame = storable(frame)
        frame = frame.sort(order, maintain_order=True, nulls_last=True) if order else frame
        findings = self._findings(dataset, frame, schema, expect, hidden)
        digest = table_digest(frame)
        found = self._find(dataset, digest, schema)
        return found or self._add(dataset, frame, schema, digest, who, origin, findings)

    def _findings(
        self, dataset: str, frame: pl.DataFrame, schema: Schema, expect: Expectations | None, hidden: frozenset[str]
    ) -> tuple[Finding, ...]:
        keys = tuple(column.name for column in schema.having("key"))
        declared = check_declared(frame, expect, keys) if expect is not None else []
        refuse(dataset, without_values(declared, hidden, keys))
        before = self.list(dataset, limit=1)
        inferred = check_inferred(frame, schema, before[0].schema, hidden) if before else []
        return tuple(without_values([*inferred, *late_columns(frame, schema)], hidden, keys))

    def read(self, snapshot: Snapshot) -> pl.DataFrame:
        """The rows of a snapshot, held against its digest.

        Raises:
            NotTrusted: the stored rows are not those that were kept.
        """
        frame = self._stored(snapshot)
        if table_digest(frame) != snapshot.digest:
            raise NotTrusted(
                f"The stored rows of {snapshot.dataset} are not those of snapshot {snapshot.digest[:12]}: "
                f"{self._altered(snapshot, frame)}.",
                todo="Restore the dataset's folder from a backup, or take a new snapshot.",
            )
        return frame

    def look(self, snapshot: Snapshot) -> tuple[pl.DataFrame, str]:
        """The rows that stand where a snapshot was kept, and what is wrong with them, in words; empty where nothing is.

        Raises:
            NotTrusted: they cannot be read at all.
        """
        frame = self._stored(snapshot)
        return frame, "" if table_digest(frame) == snapshot.digest else self._altered(snapshot, frame)

    def _stored(self, snapshot: Snapshot) -> pl.DataFrame:
        """The rows in the files of a snapshot, whatever sizes its log gives: a reader that believes it panics."""
        table = self._objects.table(self._folder / snapshot.dataset)
        try:
            files = deltalake.DeltaTable(table, version=snapshot.table).file_uris()
            return pl.concat([pl.read_parquet(file) for file in files]).sort(ROW).drop(ROW)
        except (deltalake.exceptions.DeltaError, *UNREADABLE) as error:
            raise NotTrusted(
                f"Snapshot {snapshot.digest[:12]} of {snapshot.dataset} cannot be read: {str(error).splitlines()[0]}.",
                todo="Restore the dataset's folder from a backup, or take a new snapshot.",
            ) from error

    def _altered(self, snapshot: Snapshot, frame: pl.DataFrame) -> str:
        """Which rows and columns are not those that were kept, in words."""
        at = tables.snapshots.c
        query = sa.select(tables.snapshots).where(at.dataset == snapshot.dataset, at.digest == snapshot.digest)
        with self._database.read() as connection:
            row = connection.execute(query).one()
        path = self._objects.need(self._rows_path(snapshot.dataset, snapshot.digest))
        if not row.row_digests or not path.exists() or digest_file(path) != row.row_digests:
            return "which of them cannot be told, because the digests of its rows are not there"
        now = column_digests(frame)
        columns = [name for name, digest in row.column_digests.items() if now.get(name) != digest]
        kept = np.load(path)
        places = changed_rows(kept, row_digests(frame))
        if frame.height != len(kept):
            columns = []
        where = f" in the columns {', '.join(columns)}" if columns else ""
        return f"{frame.height:,} rows stand there, {len(kept):,} were kept; the first that differ are {places}{where}"

    def _rows_path(self, dataset: str, digest: str) -> Path:
        return self._folder / f".{dataset}.rows" / f"{digest}.npy"

    def list(self, dataset: str | None = None, limit: int = 100) -> list[Snapshot]:
        """The newest snapshots first, of one dataset or of all."""
        at = tables.snapshots.c
        query = sa.select(tables.snapshots).order_by(at.created.desc()).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query if dataset is None else query.where(at.dataset == dataset)).all()
        return [_snapshot(row) for row in rows]

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

    def only_files(self, connection: sa.Connection, dataset: str, digest: str, gone: set[str]) -> list[Path]:
        """The files that this snapshot alone needs, once those in `gone` are not there any more.

        Raises:
            NotTrusted: the table's log cannot be read, so nobody can tell.
        """
        at = tables.snapshots.c
        rows = connection.execute(sa.select(at.digest, at.table_version).where(at.dataset == dataset)).all()
        mine = next(row.table_version for row in rows if row.digest == digest)
        kept = {file for row in rows if row.digest not in gone for file in self._files(dataset, row.table_version)}
        found = [path for path in sorted(self._files(dataset, mine) - kept) if self._objects.exists(path)]
        digests = self._rows_path(dataset, digest)
        return [*found, digests] if self._objects.exists(digests) else found

    def orphans(self, connection: sa.Connection) -> list[Path]:
        """Files in the tables' folders that no snapshot needs; of a table whose log cannot be read, none."""
        at = tables.snapshots.c
        kept: set[Path] = set()
        unreadable: set[str] = set()
        for row in connection.execute(sa.select(at.dataset, at.digest, at.table_version)):
            kept.add(self._rows_path(row.dataset, row.digest))
            try:
                kept |= self._files(row.dataset, row.table_version)
            except NotTrusted:
                unreadable.add(row.dataset)
        there = {
            path
            for folder in self._objects.children(self._folder)
            for path in self._objects.children(folder)
            if path.suffix == (".npy" if folder.suffix == ".rows" else ".parquet")
        }
        return sorted(path for path in there - kept if path.parent.name not in unreadable)

    def _files(self, dataset: str, version: int) -> set[Path]:
        folder = self._folder / dataset
        try:
            table = deltalake.DeltaTable(self._objects.table(folder), version=version)
        except (deltalake.exceptions.DeltaError, OSError) as error:
            raise NotTrusted(
                f"The log of the table {folder} cannot be read: {error}.", todo="Restore it from a backup."
            ) from error
        return {folder / name for name in pl.DataFrame(table.get_add_actions())["path"].to_list()}

    def forget(self, connection: sa.Connection, dataset: str, digest: str) -> None:
        """Take a snapshot out of the list, within a transaction of the caller, who removes its files."""
        at = tables.snapshots.c
        connection.execute(tables.snapshots.delete().where(at.dataset == dataset, at.digest == digest))

    def compare(self, first: str, second: str) -> TableDifference:
        """What changed from one snapshot (the beginning of its digest) to another.

        Raises:
            NotFound: one of them is not there.
            InvalidInput: they are of two datasets.
        """
        before, after = self.get(first), self.get(second)
        if before.dataset != after.dataset:
            raise InvalidInput(
                f"One is of {before.dataset}, the other of {after.dataset}.",
                expected="two snapshots of one dataset",
                todo="See 'headrace data list'.",
            )
        keys = [column.name for column in after.schema.having("key")]
        return compare_tables(self.read(before), self.read(after), keys)

    def hold(self, digest: str, who: str, why: str) -> Hold:
        """Keep a snapshot (its digest, or the beginning of one) until it is released.

        Raises:
            NotFound: there is none.
        """
        snapshot = self.get(digest)
        held = Hold(subject=snapshot.digest, who=who, why=why, created=self._clock())
        row = {**msgspec.to_builtins(held), "created": to_text(held.created)}
        with self._audit.change() as change:
            change.connection.execute(tables.holds.delete().where(tables.holds.c.subject == held.subject))
            change.connection.execute(tables.holds.insert().values(row))
            change.entry(who, "hold", snapshot.dataset, snapshot=snapshot.digest, why=why)
        return held

    def release(self, digest: str, who: str) -> None:
        """End a hold.

        Raises:
            NotFound: nobody holds such a snapshot.
        """
        snapshot = self.get(digest)
        with self._audit.change() as change:
            gone = change.connection.execute(tables.holds.delete().where(tables.holds.c.subject == snapshot.digest))
            if not gone.rowcount:
                raise NotFound(f"Nobody holds the snapshot {digest!r}.", todo="See 'headrace data'.")
            change.entry(who, "release", snapshot.dataset, snapshot=snapshot.digest)

    def holds(self) -> list[Hold]:
        """What is held."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(tables.holds).order_by(tables.holds.c.created)).mappings().all()
        return [Hold(**{**row, "created": from_text(row["created"])}) for row in rows]

    def _find(self, dataset: str, digest: str, schema: Schema) -> Snapshot | None:
        at = tables.snapshots.c
        query = sa.select(tables.snapshots).where(at.dataset == dataset, at.digest == digest)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return msgspec.structs.replace(_snapshot(row), schema=schema) if row else None

    def _add(
        self,
        dataset: str,
        frame: pl.DataFrame,
        schema: Schema,
        digest: str,
        who: str,
        origin: tuple[str, ...],
        findings: tuple[Finding, ...],
    ) -> Snapshot:
        time = next((column.name for column in schema.having("time")), None)
        start, end = (str(frame[time].min()), str(frame[time].max())) if time else ("", "")
        version = self._write(dataset, frame.with_row_index(ROW))
        kept_rows = self._keep_rows(dataset, frame, digest)
        snapshot = Snapshot(
            digest=digest,
            dataset=dataset,
            table=version,
            rows=frame.height,
            schema=schema,
            start=start,
            end=end,
            created=self._clock(),
            origin=origin,
            findings=findings,
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
            "row_digests": kept_rows,
            "column_digests": column_digests(frame),
            "origin": list(origin),
            "findings": msgspec.to_builtins(findings),
        }
        with self._audit.change() as change:
            if add_if_absent(change.connection, tables.snapshots, row):
                change.entry(who, "snapshot", dataset, digest=digest, rows=frame.height, origin=list(origin))
        return snapshot

    def _keep_rows(self, dataset: str, frame: pl.DataFrame, digest: str) -> str:
        """Keep the digests of all rows beside the table, to name an altered one by; gives the file's digest."""
        path = self._rows_path(dataset, digest)
        draft = path.with_name(f"{new_id()}.draft.npy")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(draft, row_digests(frame))
            draft.replace(path)
            self._objects.share(path)
        except OSError as error:
            raise StorageUnavailable(
                f"The digests of the rows of {dataset} could not be written to {path}: {error.strerror}.",
                todo="See that the disk has room and the folder may be written; nothing was changed.",
            ) from error
        return digest_file(path)

    def _write(self, dataset: str, frame: pl.DataFrame) -> int:
        path = self._folder / dataset
        try:
            path.mkdir(parents=True, exist_ok=True)
            table = self._objects.table(path)
            with self._database.locked(path.with_name(f".{dataset}.lock")):
                deltalake.write_deltalake(table, frame, mode="overwrite", schema_mode="overwrite")
                return deltalake.DeltaTable(table).version()
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
        origin=tuple(row.origin or ()),
        findings=msgspec.convert(row.findings or [], tuple[Finding, ...]),
    )
