"""What engines with machines of their own have in common: what is sent there, and what is done with it.

An order, the bundle and a chunk give a part, and nothing else has to be known there: neither the workspace nor, where
machines do not see the driver's files, the source. The driver keeps the parts, so a machine that is lost costs the
chunks that it worked at.
"""

from __future__ import annotations

import io
import re
import signal
import tarfile
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from headrace.batch.engines.engine import Keep
from headrace.batch.excerpts import placed
from headrace.batch.job import Chunk, Counts
from headrace.batch.parts import Part
from headrace.batch.scoring import Order, Scoring
from headrace.compiler.golden import stored_golden
from headrace.kernel.errors import HeadraceError, Unavailable, rebuilt
from headrace.kernel.ports import Columns, Scorer
from headrace.runtimes.opening import open_bundle

TURN = 60.0
EACH = 4
"""Chunks a core at a time."""
BUDGET = 512 << 20
"""Bytes that the parts of a wave may have, as far as can be told: they wait in memory until they are kept."""
MOST_OPEN = 3
THEIRS = ("ray.", "pyspark.", "py4j.", "org.")
"""How the names of errors begin that only say that there was one."""
NAMED = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b.*")
_OPEN: dict[str, tuple[Scorer, Columns]] = {}
"""The last few bundles that this process opened; a process scores many chunks."""


class Sent(NamedTuple):
    """A bundle that travels: its digest, and what gives its files as a tar where it has arrived."""

    digest: str
    files: Callable[[], bytes]


class Cluster(Protocol):
    """Machines that score, and how many of their tasks run at once."""

    name: str
    cores: int

    def said(self, wave: Sequence[Chunk]) -> Iterator[tuple[int, bytes]]:
        """What `scored_there` says of each chunk, with its number."""
        ...

    def close(self) -> None:
        """Free what the job had there."""
        ...


class ElsewhereEngine:
    """Scores chunks on a cluster. See `batch.engines.engine.Engine`.

    Args:
        begin: connects to the cluster, and gives it a bundle and an order.
    """

    turn = TURN

    def __init__(self, begin: Callable[[bytes, str, Order], Cluster], name: str, bundle: Path, digest: str) -> None:
        self._begin = begin
        self._name = name
        self._bundle = bundle
        self._digest = digest

    def scored(self, chunks: Sequence[Chunk], order: Order, keep: Keep) -> Generator[tuple[Chunk, Counts]]:
        """See `Engine`. The parts of a wave are all kept before it is told of, so that a pause drops none."""
        with _explained(self._name):
            cluster = self._begin(packed(self._bundle), self._digest, order)
        try:
            size = wave_size(order, chunks, cluster.cores)
            for start in range(0, len(chunks), size):
                with _explained(self._name):
                    done = _kept(cluster, chunks[start : start + size], keep)
                yield from done
        finally:
            with suppress(Exception):  # a cluster that is gone has nothing to free
                cluster.close()


def wave_size(order: Order, chunks: Sequence[Chunk], cores: int) -> int:
    """How many chunks go to a cluster at a time: some for each core, as far as their parts fit into the budget."""
    blocks = sum(len(one.blocks) for one in order.plan.inputs)
    largest = max((chunk.last - chunk.first for chunk in chunks), default=1) / max(blocks, 1)
    row = 150 + 25 * len(order.shape.answers)
    estimate = int(largest * (order.plan.rows * row + 2 * order.plan.size))
    return max(1, min(EACH * cores, BUDGET // max(estimate, 1)))


def _kept(cluster: Cluster, wave: Sequence[Chunk], keep: Keep) -> list[tuple[Chunk, Counts]]:
    waiting: dict[int, bytes] = {}
    done: list[tuple[Chunk, Counts]] = []
    for number, answer in cluster.said(wave):
        waiting[number] = answer
        while len(done) < len(wave) and (said := waiting.pop(wave[len(done)].number, None)) is not None:
            chunk = wave[len(done)]
            part, answers = returned(said)
            keep(chunk, part, io.BytesIO(answers))
            done.append((chunk, part.counts))
    return done


@contextmanager
def _explained(name: str) -> Generator[None]:
    """Whatever a cluster raises as an error of ours."""
    try:
        yield
    except HeadraceError:
        raise
    except Exception as error:  # Py4J's, Java's, Spark's and Ray's have nothing in common
        raise failed(name, error) from error


@contextmanager
def signals_kept() -> Generator[None]:
    """Ray and Spark take over the signals of a process that connects; they are its own again afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def packed(folder: Path) -> bytes:
    """The files of a bundle as a tar."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.add(folder, arcname=".")
    return written.getvalue()


def unpacked(sent: Sent) -> tuple[Scorer, Columns]:
    """The scorer of a bundle that was sent, and its golden rows; every byte is verified, and it is opened once.

    Raises:
        NotTrusted: it is not what its digest says.
        MissingExtra: a library of it is not installed here.
    """
    if sent.digest not in _OPEN:
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            with tarfile.open(fileobj=io.BytesIO(sent.files())) as archive:
                archive.extractall(folder, filter="data")
            path = Path(folder)
            _OPEN[sent.digest] = (open_bundle(path, sent.digest), stored_golden(path).columns)
        while len(_OPEN) > MOST_OPEN:
            del _OPEN[next(iter(_OPEN))]
    return _OPEN[sent.digest]


def scored_there(sent: Sent, order: Order, chunk: Chunk, content: bytes | None) -> bytes:
    """The part of a chunk as MessagePack, or the document of an error; see `returned`.

    Args:
        content: the chunk's excerpt, where this machine may not see the source.
    """
    try:
        scorer, golden = unpacked(sent)
        if content is None:
            return _sent_back(Scoring(order, scorer, lambda: golden), chunk)
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            path = Path(folder) / "excerpt"
            path.write_bytes(content)
            plan, here = placed(order.plan, chunk, path)
            return _sent_back(Scoring(order._replace(plan=plan), scorer, lambda: golden), here)
    except HeadraceError as error:
        return b"E" + msgspec.msgpack.encode(error.document())


def _sent_back(scoring: Scoring, chunk: Chunk) -> bytes:
    written = io.BytesIO()
    part = scoring.part(chunk, written)
    return b"P" + msgspec.msgpack.encode((part, written.getvalue()))


def returned(said: bytes) -> tuple[Part, bytes]:
    """The part that a machine of the cluster sent back, and its answers.

    Raises:
        HeadraceError: what it refused.
    """
    if said[:1] == b"E":
        raise rebuilt(msgspec.msgpack.decode(said[1:]))
    return msgspec.msgpack.decode(memoryview(said)[1:], type=tuple[Part, bytes])


def failed(engine: str, error: Exception) -> Unavailable:
    """What a cluster raised, but for what it says of its own inside."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if NAMED.match(line)]
    own = [line for line in named if not line.startswith(THEIRS)]
    return Unavailable(
        f"{engine} did not score the chunks: {(own or named or lines or [type(error).__name__])[-1]}",
        todo="What was scored is kept. See that its machines have this release of Headrace and the model's libraries, "
        "then start the job again.",
    )
