"""What engines with machines of their own have in common: what is sent there, and what is done with it.

An order, the bundle and a chunk give a part, and nothing else has to be known there: neither the workspace nor, where
machines do not see the driver's files, the source. The driver keeps the parts, so a machine that is lost costs the
chunks that it worked at.
"""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
MOST_OPEN = 3
THEIRS = ("ray.", "pyspark.", "py4j.", "org.")
"""How the names of errors begin that only say that there was one."""
NAMED = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b.*")
_OPEN: dict[str, tuple[Scorer, Columns, tempfile.TemporaryDirectory[str]]] = {}
"""The last few bundles that this process opened; a process scores many chunks."""


class Sent(NamedTuple):
    """A bundle that travels: its digest, and what gives its files as a tar where it has arrived."""

    digest: str
    files: Callable[[], bytes]


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
        folder = tempfile.TemporaryDirectory(prefix="headrace-")
        with tarfile.open(fileobj=io.BytesIO(sent.files())) as archive:
            archive.extractall(folder.name, filter="data")
        path = Path(folder.name)
        _OPEN[sent.digest] = (open_bundle(path, sent.digest), stored_golden(path).columns, folder)
        while len(_OPEN) > MOST_OPEN:
            del _OPEN[next(iter(_OPEN))]
    scorer, golden, _ = _OPEN[sent.digest]
    return scorer, golden


def scored_there(sent: Sent, order: Order, chunk: Chunk, content: bytes | None) -> bytes:
    """The part of a chunk as MessagePack, or the document of an error; see `returned`.

    Args:
        content: the chunk's excerpt, where this machine may not see the source.
    """
    try:
        scorer, golden = unpacked(sent)
        if content is None:
            return b"P" + msgspec.msgpack.encode(Scoring(order, scorer, lambda: golden).part(chunk))
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            path = Path(folder) / "excerpt"
            path.write_bytes(content)
            plan, here = placed(order.plan, chunk, path)
            part = Scoring(order._replace(plan=plan), scorer, lambda: golden).part(here)
            return b"P" + msgspec.msgpack.encode(part)
    except HeadraceError as error:
        return b"E" + msgspec.msgpack.encode(error.document())


def returned(said: bytes) -> Part:
    """The part that a machine of the cluster sent back.

    Raises:
        HeadraceError: what it refused.
    """
    if said[:1] == b"E":
        raise rebuilt(msgspec.msgpack.decode(said[1:]))
    return msgspec.msgpack.decode(memoryview(said)[1:], type=Part)


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


def kept(chunks: Sequence[Chunk], said: Iterator[tuple[int, bytes]], keep: Keep) -> Iterator[tuple[Chunk, Counts]]:
    """Keep the parts that come back, each with its chunk's number."""
    by_number = {chunk.number: chunk for chunk in chunks}
    for number, answer in said:
        part = returned(answer)
        keep(by_number[number], part)
        yield by_number[number], part.counts


def waves(chunks: Sequence[Chunk], size: int) -> Iterator[Sequence[Chunk]]:
    """So many chunks at a time."""
    return (chunks[start : start + size] for start in range(0, len(chunks), size))
