"""Spark: chunks are rows of a data frame, and `mapInArrow` has executors score them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from headrace.batch.engines.engine import Keep
from headrace.batch.engines.remote import TURN, Sent, failed, kept, packed, scored_there, waves
from headrace.batch.excerpts import excerpt
from headrace.batch.job import Chunk, Counts
from headrace.batch.scoring import Order
from headrace.batch.sources import need
from headrace.kernel.errors import Unavailable

EACH = 4
"""Chunks a core at a time; what they give is collected at once, in the driver's memory."""


class SparkEngine:
    """Scores chunks in the Spark session that there is, or a new one: at `address` (a master, or ``sc://`` of Spark
    Connect), or of this machine's cores. See `batch.engines.engine.Engine`."""

    turn = TURN

    def __init__(self, bundle: Path, digest: str, address: str, threads: int) -> None:
        self._bundle = bundle
        self._digest = digest
        self._address = address
        self._threads = threads

    def scored(self, chunks: Sequence[Chunk], order: Order, keep: Keep) -> Generator[tuple[Chunk, Counts]]:
        """See `Engine`. The bundle goes to each executor once, as a broadcast."""
        spark = session(self._address, self._threads)
        bundle = Sent(self._digest, shared(spark, packed(self._bundle)))
        near = master_of(spark).startswith("local")
        for wave in waves(chunks, EACH * cores_of(spark)):
            work = _worker(bundle, order, wave)
            if near:
                rows = spark.range(0, len(wave), 1, len(wave)).selectExpr("id", "CAST(NULL AS BINARY) AS content")
            else:
                contents = [(place, excerpt(order.plan, chunk)) for place, chunk in enumerate(wave)]
                rows = spark.createDataFrame(contents, "id long, content binary").repartition(len(wave), "id")
            found = _collected(rows.mapInArrow(work, "number long, said binary"))
            yield from kept(wave, ((row["number"], bytes(row["said"])) for row in found), keep)


def _worker(
    bundle: Callable[[], Sent], order: Order, wave: Sequence[Chunk]
) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """What an executor does with batches of chunks."""

    def work(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow

        for batch in batches:
            for row in batch.to_pylist():
                chunk = wave[row["id"]]
                said = scored_there(bundle, order, chunk, row["content"])
                yield pyarrow.RecordBatch.from_pydict({"number": [chunk.number], "said": [said]})

    return work


def _collected(rows: Any) -> list[Any]:
    try:
        return rows.collect()
    except Exception as error:  # Py4J's, Java's and Spark's own have nothing in common
        raise failed("Spark", error) from error


def session(address: str, threads: int) -> Any:
    """The Spark session.

    Raises:
        MissingExtra: Spark's Python package, or Arrow's, is not installed.
        Unavailable: it cannot be begun, as without Java.
    """
    sql = need("pyspark.sql", "The engine spark", "spark")
    need("pyarrow", "The engine spark", "spark")
    active = sql.SparkSession.getActiveSession()
    if active is not None:
        return active
    builder = sql.SparkSession.builder.appName("headrace")
    if address.startswith("sc://"):
        builder = builder.remote(address)
    elif address or threads:
        builder = builder.master(address or f"local[{threads}]")
    try:
        spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    except Exception as error:  # Py4J's, Java's and Spark's own have nothing in common
        raise Unavailable(
            f"No Spark session begins{f' at {address}' if address else ''}: {type(error).__name__}: {error}.",
            todo="See that Java is there (JAVA_HOME), and the address is right.",
        ) from error
    if master_of(spark).startswith("local") and spark.sparkContext.pythonExec == "python3":
        spark.sparkContext.pythonExec = sys.executable  # whatever python3 is, it need not have what this one has
    return spark


def shared(spark: Any, files: bytes) -> Callable[[], bytes]:
    """A bundle on its way to every executor; Spark Connect has no broadcasts, and sends it with each task."""
    if not hasattr(spark, "_jsc"):
        return lambda: files
    broadcast = spark.sparkContext.broadcast(files)
    return lambda: broadcast.value


def master_of(spark: Any) -> str:
    """Where a session's work is done; empty where that is not known."""
    return spark.sparkContext.master if hasattr(spark, "_jsc") else ""


def cores_of(spark: Any) -> int:
    """How many tasks a session does at once, as far as it says so."""
    return max(1, spark.sparkContext.defaultParallelism) if hasattr(spark, "_jsc") else 8
