"""The predictions and outcomes tables: appended by the worker alone, each segment exactly once."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import deltalake
import msgspec
import polars as pl
from polars.exceptions import PanicException

from headrace.data.frames import to_polars
from headrace.data.predicted import MOMENT, PREDICTIONS
from headrace.kernel.clock import Clock, utc_now
from headrace.kernel.database import Database
from headrace.kernel.digests import canonical
from headrace.kernel.errors import InvalidInput, StorageUnavailable
from headrace.kernel.identifiers import new_id
from headrace.kernel.objects import Objects
from headrace.kernel.places import Places
from headrace.monitoring.keys import HashedKeys, hashed_keys
from headrace.serving.capture import Captured, read_segment
from headrace.serving.segments import order, share, ship_orphans, unshipped

OUTCOMES = {
    "prediction_id": pl.String,
    "key": pl.String,
    "outcome": pl.String,
    "time": MOMENT,
    "date": pl.String,
    "arrived": MOMENT,
}
MOST_SEGMENTS = 500
MOST_ROWS = 50_000
"""Of batch jobs, that one turn takes."""


class Tables:
    """The two tables of a workspace and their inboxes."""

    def __init__(self, places: Places, database: Database, clock: Clock = utc_now) -> None:
        self._places = places
        self._objects = places.objects
        self._database = database
        self._clock = clock
        self._handles: dict[Path, deltalake.DeltaTable] = {}
        self._begins: dict[Path, Any] = {}

    def ingest(self) -> pl.DataFrame:
        """Take what lies in the inboxes into the tables, and give the new predictions' model and moment.

        A segment that was taken before a crash, and not yet removed, is known by its transaction and left out.

        Raises:
            StorageUnavailable: a table cannot be written; the inboxes keep what they have.
        """
        with self._alone():
            ship_orphans(self._places.spool, self._places.predictions_outbox)
            if self._objects.remote:
                share(self._places.predictions_outbox, self._places.predictions_inbox, self._objects.put)
            self._ingest_outcomes()
            return self._ingest_predictions()

    def _ingest_predictions(self) -> pl.DataFrame:
        inbox = self._objects.gather(self._places.predictions_inbox)
        segments = sorted(inbox.glob("*.seg"), key=order)[:MOST_SEGMENTS]
        of_jobs = sorted(inbox.glob("*.arrow"), key=order)
        if not segments and not of_jobs:
            return pl.DataFrame(schema=PREDICTIONS)
        table = self._handle(self._places.predictions)
        known = {scorer: table.transaction_version(scorer) if table else None for scorer, _ in map(order, segments)}
        fresh = [path for path in segments if order(path)[1] > (known[order(path)[0]] or 0)]
        newest = dict(map(order, fresh))
        rows = _rows_of_jobs(of_jobs, lambda job: (table.transaction_version(job) if table else None) or 0)
        newest |= rows.newest
        frame = pl.concat([_rows(record for path in fresh for record in read_segment(path)), *rows.frames])
        transactions = [deltalake.Transaction(scorer, number) for scorer, number in newest.items()]
        if frame.height:
            self._append(self._places.predictions, frame, ["model", "date"], transactions)
        for path in (*segments, *rows.over):
            self._objects.discard(path)
        return frame

    def accept_outcomes(self, table: Any, now: datetime) -> int:
        """Keep outcomes durably until the worker takes them; gives their number.

        Args:
            table: rows with `prediction_id` or key columns, `outcome`, and `time` (now where absent).

        Raises:
            InvalidInput: a column is absent.
            StorageUnavailable: they cannot be written.
        """
        frame = _outcome_rows(to_polars(table), now, hashed_keys(self._places))
        path = self._places.outcomes_inbox / f"{new_id()}.arrow"
        written = io.BytesIO()
        frame.write_ipc(written)
        try:
            self._objects.put(path, written.getvalue())
        except StorageUnavailable as error:
            raise StorageUnavailable(
                f"The outcomes could not be kept: {error.text}",
                todo="See that the disk has room, then send them again; nothing was kept.",
            ) from error
        return frame.height

    def predictions(self, model: str, start: datetime, end: datetime) -> pl.DataFrame:
        """The predictions of a model whose moment lies from `start` up to `end`."""
        scan = self._scan(self._places.predictions, PREDICTIONS)
        days = pl.col("date").is_between(pl.lit(f"{start:%Y-%m-%d}"), pl.lit(f"{end:%Y-%m-%d}"))
        wanted = scan.filter(pl.col("model") == model, days)
        found = wanted.filter(pl.col("moment") >= start, pl.col("moment") < end).collect()
        return hashed_keys(self._places).joined(found)

    def outcomes(self, start: datetime, end: datetime, late: tuple[datetime, datetime] | None = None) -> pl.DataFrame:
        """The outcomes whose time lies from `start` up to `end`; of several for one prediction, the last.

        Args:
            late: (since, not before): also those of an earlier time, not before the second moment, that arrived since
                the first; so what comes after its window was closed is judged in the next one.
        """
        scan = self._scan(self._places.outcomes, OUTCOMES)
        since, earliest = late or (datetime.max, start)  # noqa: DTZ901
        days = pl.col("date").is_between(pl.lit(f"{earliest:%Y-%m-%d}"), pl.lit(f"{end:%Y-%m-%d}"))
        known = (pl.col("time") >= start) | (pl.col("arrived") > since)
        wanted = scan.filter(days, known, pl.col("time") >= earliest, pl.col("time") < end)
        return wanted.sort("time").unique(["prediction_id", "key"], keep="last", maintain_order=True).collect()

    def find(self, prediction: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows of one prediction, those not yet shipped among them, and its outcomes."""
        shipped = self._scan(self._places.predictions, PREDICTIONS).filter(pl.col("id") == prediction).collect()
        if not shipped.height:
            request = prediction.rsplit(".", 1)[0]
            waiting = [r for p in waiting_segments(self._places) for r in read_segment(p)]
            rows = [_rows(r for r in waiting if r.id == request), *self._waiting_rows(prediction, request)]
            shipped = pl.concat(rows).filter(pl.col("id") == prediction)
        shipped = hashed_keys(self._places).joined(shipped)
        keys = shipped["key"].to_list() if shipped.height else []
        by_id = (pl.col("prediction_id") == prediction) | pl.col("key").is_in([k for k in keys if k != "{}"])
        known = [self._scan(self._places.outcomes, OUTCOMES).filter(by_id).collect(), *self._waiting_outcomes(by_id)]
        return shipped, pl.concat(known, how="diagonal").unique(["prediction_id", "key", "time"], maintain_order=True)

    def _waiting_rows(self, prediction: str, job: str) -> list[pl.DataFrame]:
        """The rows of a batch job that the worker has not yet taken."""
        found = []
        inbox = self._objects.gather(self._places.predictions_inbox)
        for path in (one for one in sorted(inbox.glob("*.arrow")) if order(one)[0] == job):
            with contextlib.suppress(FileNotFoundError):
                found.append(pl.read_ipc(path.read_bytes()).filter(pl.col("id") == prediction))
        return found

    def _waiting_outcomes(self, wanted: pl.Expr) -> list[pl.DataFrame]:
        """Outcomes that the worker has not yet taken; one that it takes meanwhile is in the table by the next look."""
        found = []
        for path in sorted(self._objects.gather(self._places.outcomes_inbox).glob("*.arrow")):
            with contextlib.suppress(FileNotFoundError):
                found.append(pl.read_ipc(path).filter(wanted))
        return found

    def compact(self) -> None:
        """Rewrite many small files as few, and let the log be read from a checkpoint."""
        with self._alone():
            for path in (self._places.predictions, self._places.outcomes):
                table = self._handle(path)
                if table is not None:
                    table.optimize.compact()
                    table.create_checkpoint()

    def erase(self, matches: Callable[[dict[str, Any]], bool]) -> tuple[int, int]:
        """Erase the predictions whose key `matches`, and their outcomes, from the disk too; gives how many of each."""
        with self._alone():
            scan, outcomes = (
                self._scan(self._places.predictions, PREDICTIONS),
                self._scan(self._places.outcomes, OUTCOMES),
            )
            keys = _matching(scan, matches)
            ids = scan.filter(pl.col("key").is_in(keys)).select("id").collect()["id"].to_list() if keys else []
            theirs = pl.col("key").is_in(_matching(outcomes, matches)) | pl.col("prediction_id").is_in(ids)
            # Outcomes first: once a prediction is gone, nobody finds those that know it by its id alone.
            told = self._without(self._places.outcomes, outcomes, ["date"], theirs.fill_null(False))
            return self._without(self._places.predictions, scan, ["model", "date"], pl.col("key").is_in(keys)), told

    def expire(self, model: str, before: datetime) -> int:
        """Erase the predictions of a model that were captured before a moment; gives how many."""
        with self._alone():
            scan = self._scan(self._places.predictions, PREDICTIONS)
            old = (pl.col("model") == model) & (pl.col("time") < before)
            return self._without(self._places.predictions, scan, ["model", "date"], old)

    def _without(self, path: Path, scan: pl.LazyFrame, partition: list[str], gone: pl.Expr) -> int:
        """Write the partitions that hold rows to be erased anew without them; gives how many rows that were.

        No condition of Delta's names their values, because the table's log would keep it.
        """
        table = self._handle(path)
        if table is None:
            return 0
        there = [field.name for field in table.schema().fields]
        held = scan.filter(gone).group_by(partition).len().collect()
        try:
            for values in held.select(partition).iter_rows(named=True):
                here = pl.all_horizontal(pl.col(name) == value for name, value in values.items())
                rest = scan.filter(here, ~gone).select(there).collect()
                place = " AND ".join(f"{name} = {_quoted(str(value))}" for name, value in values.items())
                deltalake.write_deltalake(self._objects.table(path), rest, mode="overwrite", predicate=place)
            erase_history(self._objects, path)
        except (OSError, deltalake.exceptions.DeltaError) as error:
            raise StorageUnavailable(
                f"Rows of {path} could not be erased: {error}.", todo="See that the disk may be written; do it again."
            ) from error
        return int(held["len"].sum())

    def problems(self) -> list[str]:
        """What is wrong with the two tables, in words; every row is read."""
        found = []
        for path, schema in ((self._places.predictions, PREDICTIONS), (self._places.outcomes, OUTCOMES)):
            try:
                self._scan(path, schema).select(pl.all().len()).collect()
                self._scan(path, schema).select(pl.all().null_count()).collect()
            except (deltalake.exceptions.DeltaError, pl.exceptions.PolarsError, PanicException, OSError) as error:
                found.append(f"the table {path.parent.name} cannot be read: {str(error).splitlines()[0]}")
        return found

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Let nobody write to the tables within the block."""
        with self._alone():
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, whatever processes believe of their duties."""
        with self._database.locked(self._places.predictions_inbox.parent / "writer.lock"):
            yield

    def _ingest_outcomes(self) -> None:
        paths = sorted(self._objects.gather(self._places.outcomes_inbox).glob("*.arrow"))
        if not paths:
            return
        frame = pl.concat([pl.read_ipc(path) for path in paths])
        frame = frame.with_columns(arrived=pl.lit(self._clock().replace(tzinfo=None)).cast(MOMENT))
        self._append(self._places.outcomes, frame, ["date"], [])
        for path in paths:
            self._objects.discard(path)

    def _append(self, path: Path, frame: pl.DataFrame, partition: list[str], transactions: list[Any]) -> None:
        properties = deltalake.CommitProperties(app_transactions=transactions)
        try:
            path.mkdir(parents=True, exist_ok=True)
            deltalake.write_deltalake(
                self._objects.table(path),
                frame,
                mode="append",
                schema_mode="merge",
                partition_by=partition,
                commit_properties=properties,
            )
        except (OSError, deltalake.exceptions.DeltaError) as error:
            raise StorageUnavailable(
                f"The table {path} could not be written: {error}.",
                todo="See that the disk has room; what waits in the inbox is kept and taken later.",
            ) from error

    def _handle(self, path: Path) -> deltalake.DeltaTable | None:
        """The table at `path` as it is now; opened anew where its log begins elsewhere than when it was opened."""
        log = path / "_delta_log"
        if not self._objects.exists(log):
            return None
        stamp = self._objects.stamp(log / "_last_checkpoint")
        if path in self._handles and self._begins[path] == stamp:
            self._handles[path].update_incremental()
        else:
            self._handles[path], self._begins[path] = deltalake.DeltaTable(self._objects.table(path)), stamp
        return self._handles[path]

    def _scan(self, path: Path, schema: dict[str, Any]) -> pl.LazyFrame:
        table = self._handle(path)
        if table is None:
            return pl.LazyFrame(schema=schema)
        scan = pl.scan_delta(table)
        there = {field.name for field in table.schema().fields}
        return scan.with_columns([pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in there])


def waiting_segments(places: Places) -> Iterator[Path]:
    """Every segment that is not yet in the table: what is shared, and what this machine has not shared yet."""
    yield from unshipped(places.spool, places.objects.gather(places.predictions_inbox))
    if places.objects.remote:
        yield from unshipped(places.root / "none", places.predictions_outbox)


def erase_history(objects: Objects, path: Path) -> None:
    """Remove every file of a Delta table that its newest state does not need, and the log of what was before.

    The log holds the smallest and largest value of each column of each file that ever was. Whoever has the table open
    opens it anew, because its checkpoint is another one.
    """
    table = deltalake.DeltaTable(objects.table(path))
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    table = deltalake.DeltaTable(objects.table(path))
    table.create_checkpoint()
    kept = f"{table.version():020d}"
    for file in objects.children(path / "_delta_log"):
        if file.name[:20].isdigit() and file.name[:20] < kept:
            objects.discard(file)


class _OfJobs(NamedTuple):
    """Rows of batch jobs that one turn takes: the frames, up to which row of each job, and the files that are over."""

    frames: list[pl.DataFrame]
    newest: dict[str, int]
    over: list[Path]


def _rows_of_jobs(paths: Iterable[Path], known: Callable[[str], int]) -> _OfJobs:
    """The next rows of batch jobs, not many at once, so that live scoring beside the worker is not held up.

    A file is named by its job and by a number that no row in it reaches; `known` gives up to which row a job's are in
    the table.
    """
    taken, left = _OfJobs([], {}, []), MOST_ROWS
    for path in paths:
        job, end = order(path)
        since = taken.newest.get(job) or known(job)
        if end <= since:
            taken.over.append(path)
            continue
        if left <= 0:
            break
        frame = pl.read_ipc(path.read_bytes()).filter(pl.col("row") >= since)
        part = frame.head(left)
        taken.frames.append(part)
        left -= part.height
        whole = part.height == frame.height
        taken.newest[job] = end if whole else int(part["row"][-1]) + 1
        if whole:
            taken.over.append(path)
    return taken


def _matching(scan: pl.LazyFrame, matches: Callable[[dict[str, Any]], bool]) -> list[str]:
    keys = scan.select("key").unique().collect()["key"].to_list()
    return [key for key in keys if key not in (None, "{}") and matches(msgspec.json.decode(key))]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _rows(records: Iterable[Captured]) -> pl.DataFrame:
    rows = [row for record in records for row in _record_rows(record)]
    frame = pl.DataFrame(rows, schema={**PREDICTIONS, "time": pl.Float64, "moment": pl.String}, orient="row")
    moment = pl.col("moment").str.to_datetime(time_unit="us", strict=False)
    arrival = pl.from_epoch((pl.col("time") * 1e6).cast(pl.Int64), time_unit="us")
    frame = frame.with_columns(time=arrival, moment=moment.fill_null(arrival))
    return frame.with_columns(date=pl.col("moment").dt.strftime("%Y-%m-%d"))


def _record_rows(it: Captured) -> Iterable[tuple[Any, ...]]:
    for i in range(it.rows):
        features = msgspec.json.encode({name: values[i] for name, values in it.features.items()}).decode()
        key = canonical({name: values[i] for name, values in it.keys.items() if values[i] is not None}).decode()
        prediction = it.predictions[i] if it.predictions else None
        yield (
            f"{it.id}.{it.first + i}",
            it.id,
            it.first + i,
            it.model,
            it.version,
            it.route,
            it.generation,
            it.time,
            it.moments[i] if it.moments else None,
            "",
            key,
            features,
            msgspec.json.encode(prediction).decode(),
            score_of(prediction, it.probabilities[i] if it.probabilities else None),
            it.latency,
            it.error,
            it.consumer,
        )


def score_of(prediction: Any, probabilities: list[float] | None) -> float | None:
    """One number for a prediction: the second class's probability of two, the largest of more, or the number itself."""
    if probabilities is not None:
        return probabilities[1] if len(probabilities) == 2 else max(probabilities)
    return float(prediction) if isinstance(prediction, int | float) and not isinstance(prediction, bool) else None


def _outcome_rows(frame: pl.DataFrame, now: datetime, hashes: HashedKeys) -> pl.DataFrame:
    keys = [name for name in frame.columns if name not in ("prediction_id", "outcome", "time")]
    if "outcome" not in frame.columns or not ("prediction_id" in frame.columns or keys):
        raise InvalidInput(
            f"The outcomes have the columns {', '.join(frame.columns)}.",
            expected="prediction_id or key columns, and outcome; time is optional",
            todo="Name the columns so.",
        )
    size = frame.height
    time = frame["time"] if "time" in frame.columns else pl.Series([now] * size)
    if time.dtype == pl.String:
        time = time.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    if isinstance(time.dtype, pl.Datetime) and time.dtype.time_zone:
        time = time.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if (time.dtype != pl.Date and not isinstance(time.dtype, pl.Datetime)) or time.null_count():
        raise InvalidInput(
            "A time of the outcomes cannot be read.", field="time", expected="ISO 8601", todo="Correct it."
        )
    plain = [msgspec.json.encode(value).decode() for value in frame["outcome"].to_list()]
    unnamed = "prediction_id" not in frame.columns or frame["prediction_id"].null_count() > 0
    if unnamed and not keys:
        raise InvalidInput(
            "A row of the outcomes has neither a prediction_id nor key columns.",
            field="prediction_id",
            expected="the id of a prediction, or its key",
            todo="Add it, or leave the row out; nothing was kept.",
        )
    named = [hashes.of(row) for row in frame.select(keys).iter_rows(named=True)]
    ids = frame["prediction_id"].cast(pl.String) if "prediction_id" in frame.columns else pl.Series([None] * size)
    return pl.DataFrame(
        {"prediction_id": ids, "key": named if keys else ["{}"] * size, "outcome": plain, "time": time}
    ).select(
        pl.col("prediction_id").cast(pl.String),
        "key",
        "outcome",
        pl.col("time").cast(MOMENT),
        date=pl.col("time").dt.strftime("%Y-%m-%d"),
    )
