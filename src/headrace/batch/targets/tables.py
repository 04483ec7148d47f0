"""Tables as targets: of Delta, by one commit, and of a database, by one transaction. Rejected rows are a file of the
workspace. Each row names the job that wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import deltalake
import polars as pl

from headrace.batch.databases import need_no_password, open_database, split_table, table_exists
from headrace.batch.job import Format
from headrace.batch.origins.delta import SCHEME, open_delta
from headrace.batch.placing import KEPT
from headrace.batch.reading import Reject
from headrace.batch.targets.files import FileTarget
from headrace.batch.targets.target import Still
from headrace.batch.writing import JOB, Answers, Shape, flat
from headrace.kernel.errors import InvalidInput, StorageUnavailable
from headrace.kernel.places import Places


class _Rejects:
    """The rejected rows of jobs whose answers go to a table."""

    form: Format = "table"
    own: tuple[Path, ...] = ()

    def __init__(self, places: Places) -> None:
        self._places = places

    def _beside(self, job: str) -> FileTarget:
        return FileTarget(self._places, f"{KEPT}{job}/answers.csv", overwrite=False)

    def deliver_rejects(self, job: str, rejects: Iterable[Iterable[Reject]], still: Still) -> str:
        """See `Target`."""
        self._beside(job).deliver_rejects(job, rejects, still)
        return str(self._beside(job).own[1])

    def rejects_there(self, job: str) -> str:
        """See `Target`."""
        return self._beside(job).rejects_there(job)

    def file(self, job: str, which: str) -> Path | None:
        """See `Target`; a table is no file."""
        return self._beside(job).file(job, which) if which == "rejects" else None


def _frames(job: str, parts: Sequence[Path], shape: Shape) -> Iterator[pl.DataFrame]:
    for some in [[part] for part in parts] or [[]]:
        yield shape.rows_of(some).collect().with_columns(pl.lit(job).alias(JOB))


class DeltaTarget(_Rejects):
    """See `Target`. That a job wrote is known by the transaction that Delta keeps for it."""

    def __init__(self, places: Places, destination: str, *, append: bool, overwrite: bool) -> None:
        super().__init__(places)
        self._uri = destination.removeprefix(SCHEME)
        self._append = append
        self._overwrite = overwrite

    def check(self, sources: Iterable[Path]) -> None:
        """See `Target`."""
        if deltalake.DeltaTable.is_deltatable(self._uri) and not self._append and not self._overwrite:
            raise table_exists("the storage", self._uri)

    def holds(self, job: str) -> bool:
        """See `Target`."""
        if not deltalake.DeltaTable.is_deltatable(self._uri):
            return False
        return open_delta(self._uri).transaction_version(job) is not None

    def deliver(self, job: str, answers: Answers, shape: Shape, still: Still) -> None:
        """See `Target`."""
        if self.holds(job):
            return
        still()
        properties = deltalake.CommitProperties(app_transactions=[deltalake.Transaction(job, 1)])
        mode = "overwrite" if self._overwrite else "append" if self._append else "error"
        rows = shape.rows_of(answers.parts).with_columns(pl.lit(job).alias(JOB))
        try:
            deltalake.write_deltalake(
                self._uri,
                _Stream(rows),
                mode=mode,
                schema_mode="overwrite" if self._overwrite else None,
                commit_properties=properties,
            )
        except deltalake.exceptions.DeltaError as error:
            raise self._refused(error) from error
        except OSError as error:
            raise StorageUnavailable(
                f"The table {self._uri} could not be written: {error}.",
                todo="See that there is room, then retry the job: what was scored is kept.",
            ) from error

    def _refused(self, error: Exception) -> Exception:
        if deltalake.DeltaTable.is_deltatable(self._uri) and not self._append and not self._overwrite:
            return table_exists("the storage", self._uri)
        return InvalidInput(
            f"The table {self._uri} could not be written: {str(error).splitlines()[0]}.",
            field="destination",
            expected="a table with the columns of the answers",
            todo="Name another one, or see that it can be written.",
        )

    def first(self, job: str, shape: Shape, rows: int) -> pl.DataFrame:
        """See `Target`."""
        return pl.scan_delta(open_delta(self._uri)).filter(pl.col(JOB) == job).head(rows).collect()


class _Stream:
    """Rows as a stream of Arrow batches, made as they are asked for."""

    def __init__(self, rows: pl.LazyFrame) -> None:
        self._rows = rows

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._rows.collect_batches(maintain_order=True).__arrow_c_stream__(requested_schema)  # type: ignore[attr-defined]


class DatabaseTarget(_Rejects):
    """See `Target`. That a job wrote is known by its rows."""

    def __init__(
        self, places: Places, destination: str, variables: Mapping[str, str], *, append: bool, overwrite: bool
    ) -> None:
        super().__init__(places)
        need_no_password(destination)
        address, self._table = split_table(destination)
        if not self._table:
            raise InvalidInput(
                f"No table is named in {address}.", field="destination", expected="DATABASE#TABLE", todo="Name it."
            )
        self._database = open_database(address, variables)
        self._how = {"append": append, "overwrite": overwrite}

    def check(self, sources: Iterable[Path]) -> None:
        """See `Target`."""
        self._database.check(self._table, **self._how)

    def holds(self, job: str) -> bool:
        """See `Target`."""
        return self._database.wrote(self._table, job)

    def deliver(self, job: str, answers: Answers, shape: Shape, still: Still) -> None:
        """See `Target`."""
        if self.holds(job):
            return
        still()
        self._database.write(self._table, map(flat, _frames(job, answers.parts, shape)), **self._how)

    def first(self, job: str, shape: Shape, rows: int) -> pl.DataFrame:
        """See `Target`."""
        return self._database.first(self._table, job, rows)
