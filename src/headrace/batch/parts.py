"""What chunks give: their answers in the format of the result, and the rejects and counts of each.

Chunks are kept in their order, so that those which are done are always the first ones. The answers of a chunk are
written first; its mark, which says that they are there, last and at one go. What has a mark is there whole and is
never written again.

Where the result is a text and the workspace a folder, the answers are one file that grows and that is the result in the
end. Elsewhere each chunk has a file of its own, of which the result is made.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from headrace.batch.figures import Figures
from headrace.batch.job import Chunk, Counts
from headrace.batch.reading import Reject
from headrace.batch.writing import Answers
from headrace.kernel.errors import NotTrusted
from headrace.kernel.objects import Objects
from headrace.kernel.records import Record

PIECE = 1 << 20


class Mark(Record, frozen=True, kw_only=True):
    """The mark of a part: its counts, its rejects, and the size and CRC-32 of its answers."""

    counts: Counts
    rejects: list[Reject]
    size: int
    checksum: int
    figures: Figures = Figures()


class Part(Record, frozen=True, kw_only=True):
    """What a chunk gave besides its answers. `captured` are its rows for the predictions table, as an Arrow file, and
    nothing where none are wanted."""

    counts: Counts
    rejects: list[Reject] = []
    captured: bytes = b""
    figures: Figures = Figures()


class First(NamedTuple):
    """A file that begins with answers, and a header where `headed`; `size` bytes of it are sure to be there."""

    file: Path
    headed: bool
    size: int


class Parts:
    """The parts of one job, in the folder that they share.

    Args:
        header: what the result begins with, where it can be one file that grows; None where it cannot.
    """

    def __init__(self, objects: Objects, folder: Path, chunks: Sequence[Chunk], header: bytes | None) -> None:
        self._objects = objects
        self._folder = folder
        self._chunks = chunks
        self._header = None if objects.remote else header
        self._whole = folder / "answers"

    @cached_property
    def marks(self) -> list[Mark]:
        """The marks of the chunks that are done."""
        found = list(self._found())
        self._found_done = len(found)
        return found

    @property
    def counts(self) -> Counts:
        """The rows of the chunks that are done."""
        counts = [mark.counts for mark in self.marks]
        return Counts(scored=sum(one.scored for one in counts), rejected=sum(one.rejected for one in counts))

    @property
    def left(self) -> Sequence[Chunk]:
        """The chunks that are not done."""
        return self._chunks[len(self.marks) :]

    def _found(self) -> Iterator[Mark]:
        there = self._whole.stat().st_size if self._whole.exists() else -1
        end = len(self._header or b"")
        for chunk in self._chunks:
            path = self._objects.need(self._path(chunk, "mark"))
            if not path.exists():
                return
            mark = msgspec.msgpack.decode(path.read_bytes(), type=Mark)
            end += mark.size
            if self._header is not None and end > there:  # of a release that kept each part in a file
                return
            yield mark

    def put(self, chunk: Chunk, part: Part, answers: IO[bytes]) -> None:
        """Keep what the next chunk gave.

        Args:
            answers: a file that holds nothing else.

        Raises:
            StorageUnavailable: there is no room; nothing of it counts.
        """
        answers.seek(0)
        size, checksum = _measured(answers)
        answers.seek(0)
        if self._header is None:
            self._objects.put(self._path(chunk, "answers"), answers.read())
        else:
            self._objects.write_at(self._whole, self._starts(len(self.marks))[-1], answers, self._header)
        if part.captured:
            self._objects.put(self.captured_path(chunk), part.captured)
        mark = Mark(counts=part.counts, rejects=part.rejects, size=size, checksum=checksum, figures=part.figures)
        self._objects.put(self._path(chunk, "mark"), msgspec.msgpack.encode(mark))
        self.marks.append(mark)

    def answers(self, threads: int) -> Answers:
        """The answers of all chunks. Those that were not written just now are verified, in so many threads.

        Raises:
            NotTrusted: some are not what was written; from there on they count no more.
        """
        found = self._found_done if self.marks else 0
        with ThreadPoolExecutor(threads) as pool:
            sound = list(pool.map(self._is_sound, range(found), self._starts(found)))
        if not all(sound):
            first = sound.index(False)
            for chunk in self._chunks[first:]:
                self._objects.discard(self._path(chunk, "mark"))  # so that the next try scores it again
            raise NotTrusted(f"The part {first} of the job is damaged.", todo="Retry the job: it is scored again.")
        if self._header is not None:
            return Answers([self._whole], whole=True)
        scored = [chunk for chunk, mark in zip(self._chunks, self.marks, strict=True) if mark.counts.scored]
        return Answers([self._objects.need(self._path(chunk, "answers")) for chunk in scored])

    def _is_sound(self, place: int, start: int) -> bool:
        mark = self.marks[place]
        path = self._whole
        if self._header is None:
            path, start = self._objects.need(self._path(self._chunks[place], "answers")), 0
        if not path.exists():
            return mark.size == 0
        with path.open("rb") as file:
            file.seek(start)
            return _measured(file, mark.size) == (mark.size, mark.checksum)

    def _starts(self, count: int) -> list[int]:
        """Where in the one file the answers of so many chunks begin, and where they end."""
        sizes = (mark.size for mark in self.marks[:count])
        return list(accumulate(sizes, initial=len(self._header or b"")))

    def first(self) -> First | None:
        """Where the first answers are, if there are any yet."""
        if not self.marks or not self.marks[0].counts.scored:
            return None
        if self._header is None:
            return First(self._objects.need(self._path(self._chunks[0], "answers")), False, self.marks[0].size)
        return First(self._whole, True, self._starts(1)[-1])

    def captured_path(self, chunk: Chunk) -> Path:
        """Where the rows of a chunk for the predictions table lie."""
        return self._path(chunk, "captured")

    def _path(self, chunk: Chunk, what: str) -> Path:
        return self._folder / f"{chunk.number:08d}.{what}"


def _measured(file: IO[bytes], most: int = sys.maxsize) -> tuple[int, int]:
    """The size and the CRC-32 of what comes next in a file, of at most so many bytes."""
    size = checksum = 0
    while piece := file.read(min(PIECE, most - size)):
        size, checksum = size + len(piece), zlib.crc32(piece, checksum)
    return size, checksum
