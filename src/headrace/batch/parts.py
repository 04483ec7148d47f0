"""What a chunk gives: its answers in the format of the result, and its rejects and counts.

The answers are written first; the second file, the mark that the part is there, last and at one go. So a part is there
whole or not at all, and one that is there is never written again.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import msgspec

from headrace.batch.figures import Figures
from headrace.batch.job import Chunk, Counts
from headrace.batch.reading import Reject
from headrace.kernel.errors import NotTrusted
from headrace.kernel.objects import Objects
from headrace.kernel.records import Record


class Mark(Record, frozen=True, kw_only=True):
    """The mark of a part: its counts, its rejects, and the size and CRC-32 of its answers."""

    counts: Counts
    rejects: list[Reject]
    size: int
    checksum: int
    figures: Figures = Figures()


class Part(Record, frozen=True, kw_only=True):
    """What a chunk gave. `answers` are in the format of the result; `captured` are its rows for the predictions table,
    as an Arrow file, and nothing where none are wanted."""

    counts: Counts
    rejects: list[Reject] = []
    answers: bytes = b""
    captured: bytes = b""
    figures: Figures = Figures()


class Parts:
    """The parts of one job, in the folder that they share."""

    def __init__(self, objects: Objects, folder: Path) -> None:
        self._objects = objects
        self._folder = folder

    def put(self, chunk: Chunk, part: Part) -> None:
        """Keep what a chunk gave.

        Raises:
            StorageUnavailable: there is no room; nothing of it counts.
        """
        self._objects.put(self.answers_path(chunk), part.answers)
        if part.captured:
            self._objects.put(self.captured_path(chunk), part.captured)
        mark = Mark(
            counts=part.counts,
            rejects=part.rejects,
            size=len(part.answers),
            checksum=zlib.crc32(part.answers),
            figures=part.figures,
        )
        self._objects.put(self._mark_path(chunk), msgspec.msgpack.encode(mark))

    def mark(self, chunk: Chunk) -> Mark | None:
        """The mark of a part that is there."""
        path = self._objects.need(self._mark_path(chunk))
        return msgspec.msgpack.decode(path.read_bytes(), type=Mark) if path.exists() else None

    def answers(self, chunk: Chunk) -> Path:
        """The file with the answers of a part that is there.

        Raises:
            NotTrusted: it is not what was written; it counts no more.
        """
        mark = self.mark(chunk)
        path = self._objects.need(self.answers_path(chunk))
        content = path.read_bytes() if path.exists() else b""
        if mark is None or len(content) != mark.size or zlib.crc32(content) != mark.checksum:
            self._objects.discard(self._mark_path(chunk))  # so that the next try scores it again
            raise NotTrusted(f"The part {path.name} of the job is damaged.", todo="Retry the job: it is scored again.")
        return path

    def answers_path(self, chunk: Chunk) -> Path:
        """Where the answers of a chunk lie."""
        return self._folder / f"{chunk.number:08d}.answers"

    def captured_path(self, chunk: Chunk) -> Path:
        """Where the rows of a chunk for the predictions table lie."""
        return self._folder / f"{chunk.number:08d}.captured"

    def _mark_path(self, chunk: Chunk) -> Path:
        return self._folder / f"{chunk.number:08d}.mark"
