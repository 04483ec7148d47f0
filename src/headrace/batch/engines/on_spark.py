"""Spark: chunks are rows of a data frame, and `mapInArrow` has executors score them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from headrace.batch.engines.remote import Sent, scored_there, signals_kept
from headrace.batch.excerpts import excerpt
from headrace.batch.job import Chunk
from headrace.batch.scoring import Order
from headrace.batch.sources import need
from headrace.kernel.errors import InvalidInput, Unavailable

_OURS: list[str] = []
"""The address of the session that was begun here, and not by whoever called."""


class SparkCluster:
    """The Spark session that there is, or a new one: at `address` (a master, or ``sc://`` of Spark Connect), or of this
    machine's cores. The bundle goes to each executor once. See `batch.engines.remote.Cluster`."""

    name = "Spark"

    def __init__(self, address: str, threads: int, files: bytes, digest: str, order: Order) -> None:
        self._spark = session(address, threads)
        self._order = order
        files_there, self._free = shared(self._spark, files)
        self._bundle = Sent(digest, files_there)
        self.cores = cores_of(self._spark)

    def said(self, wave: Sequence[Chunk]) -> Iterator[tuple[int, bytes]]:
        """See `Cluster`."""
        spark, work = self._spark, _worker(self._bundle, self._order, wave)
        if master_of(spark).startswith("local"):
            rows = spark.range(0, len(wave), 1, len(wave)).selectExpr("id", "CAST(NULL AS BINARY) AS content")
        else:
            contents = [(place, excerpt(self._order.plan, chunk)) for place, chunk in enumerate(wave)]
            rows = spark.createDataFrame(contents, "id long, content binary").repartition(len(wave), "id")
        found = rows.mapInArrow(work, "number long, said binary").collect()
        return ((row["number"], bytes(row["said"])) for row in found)

    def close(self) -> None:
        """See `Cluster`."""
        self._free()


def _worker(bundle: Sent, order: Order, wave: Sequence[Chunk]) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """What an executor does with batches of chunks."""

    def work(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow

        for batch in batches:
            for row in batch.to_pylist():
                chunk = wave[row["id"]]
                said = scored_there(bundle, order, chunk, row["content"])
                yield pyarrow.RecordBatch.from_pydict({"number": [chunk.number], "said": [said]})

    return work


def session(address: str | None, threads: int) -> Any:
    """The Spark session.

    Args:
        address: None for whichever session is active, or else one of this machine's cores.

    Raises:
        MissingExtra: Spark's Python package, or Arrow's, is not installed.
        InvalidInput: whoever called has a session, and names another place.
        Unavailable: it cannot be begun, as without Java.
    """
    sql = need("pyspark.sql", "The engine spark", "spark")
    need("pyarrow", "The engine spark", "spark")
    active = sql.SparkSession.getActiveSession()
    if active is not None and _OURS and address not in (None, *_OURS):
        active.stop()
        active = None
    if active is None:
        _OURS[:] = [address or ""]
        return _begin(sql, address or "", threads)
    if address and not _OURS and address != master_of(active):
        raise InvalidInput(
            f"A Spark session is active already, so there can be none at {address}.",
            field="engine",
            expected="spark, which takes the session that is active",
            todo="Leave the address out, or stop the session before.",
        )
    return active


def _begin(sql: Any, address: str, threads: int) -> Any:
    builder = sql.SparkSession.builder.appName("headrace")
    if address.startswith("sc://"):
        builder = builder.remote(address)
    elif address or threads:
        builder = builder.master(address or f"local[{threads}]")
    try:
        with signals_kept():
            spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    except Exception as error:  # Py4J's, Java's and Spark's own have nothing in common
        raise Unavailable(
            f"No Spark session begins{f' at {address}' if address else ''}: {type(error).__name__}: {error}.",
            todo="See that Java is there (JAVA_HOME), and the address is right.",
        ) from error
    if master_of(spark).startswith("local") and spark.sparkContext.pythonExec == "python3":
        spark.sparkContext.pythonExec = sys.executable  # whatever python3 is, it need not have what this one has
    return spark


def shared(spark: Any, files: bytes) -> tuple[Callable[[], bytes], Callable[[], None]]:
    """What gives a bundle on every executor, and what frees it; Spark Connect has no broadcasts: it goes with tasks."""
    if not hasattr(spark, "_jsc"):
        return lambda: files, lambda: None
    broadcast = spark.sparkContext.broadcast(files)
    return lambda: broadcast.value, broadcast.destroy


def master_of(spark: Any) -> str:
    """Where a session's work is done; empty where that is not known."""
    return spark.sparkContext.master if hasattr(spark, "_jsc") else ""


def cores_of(spark: Any) -> int:
    """How many tasks a session does at once, as far as it says so."""
    return max(1, spark.sparkContext.defaultParallelism) if hasattr(spark, "_jsc") else 8
