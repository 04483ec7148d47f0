"""Capture: every prediction into a bounded buffer, every 100 ms to a local segment, and segments to the inbox.

A segment is a row of records, each a length, a CRC-32 and a msgpack document; a torn tail is ignored. A full buffer
drops and counts: a reply never waits. What a killed process left is shipped by whoever finds it.
"""

from __future__ import annotations

import fcntl
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from headrace.kernel.identifiers import new_id
from headrace.kernel.schema import Scalar
from headrace.serving.counters import Counters

WRITE_SECONDS = 0.1
ROLL_SECONDS = 0.5
ROLL_BYTES = 8_000_000
MOST_BUFFERED = 20_000
_HEADER = struct.Struct("<II")


class Captured(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One request as it was answered. `features` and `keys` are columns of `rows` values, `moments` the time column."""

    id: str
    time: float
    model: str
    version: int
    route: str
    generation: int
    latency: float
    rows: int
    features: dict[str, list[Scalar]]
    keys: dict[str, list[Scalar]]
    moments: list[Scalar]
    predictions: list[Scalar]
    probabilities: list[list[float]] | None
    error: str = ""


class Capture:
    """The buffer of one scoring process and the thread that empties it."""

    def __init__(self, spool: Path, inbox: Path, counters: Counters) -> None:
        self.scorer = new_id()
        self._spool = spool
        self._folder = spool / self.scorer
        self._inbox = inbox
        self._counters = counters
        self._buffer: list[Captured] = []
        self._stopping = threading.Event()
        self._encoder = msgspec.msgpack.Encoder()
        self._number = 0
        self._file: IO[bytes] | None = None
        self._opened = 0.0
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)

    def start(self) -> None:
        """Take what dead processes left, and begin to write."""
        for folder in (self._folder, self._inbox):
            folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / "lock.draft"
        self._lock = draft.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        draft.rename(self._folder / "lock")
        ship_orphans(self._spool, self._inbox)
        self._thread.start()

    def add(self, captured: Captured) -> None:
        """Keep one answer; dropped and counted where the buffer is full."""
        if len(self._buffer) >= MOST_BUFFERED:
            self._counters.dropped_captures += captured.rows
            return
        self._buffer.append(captured)

    def stop(self) -> None:
        """Write and ship what is buffered."""
        self._stopping.set()
        self._thread.join()
        _retire(self._folder, self._inbox)
        self._lock.close()

    def _work(self) -> None:
        while not self._stopping.wait(WRITE_SECONDS):
            self._flush(roll=False)
        self._flush(roll=True)

    def _flush(self, roll: bool) -> None:
        """Write what is buffered. What cannot be encoded or written is dropped and counted; the thread goes on."""
        buffered, self._buffer = self._buffer, []
        records = [(captured.rows, self._record(captured)) for captured in buffered]
        whole = [(rows, record) for rows, record in records if record is not None]
        rows = sum(rows for rows, _ in whole)
        self._counters.dropped_captures += sum(captured.rows for captured in buffered) - rows
        try:
            self._write([record for _, record in whole], roll)
            self._counters.captured += rows
        except OSError:
            self._counters.dropped_captures += rows
            self._file = None

    def _record(self, captured: Captured) -> bytes | None:
        try:
            return framed(self._encoder.encode(captured))
        except (TypeError, ValueError, OverflowError):
            return None

    def _write(self, records: list[bytes], roll: bool) -> None:
        if records and self._file is None:
            _ship(self._folder, self._inbox)
            self._number += 1
            self._file = (self._folder / f"{self._number:010d}.open").open("wb")
            self._opened = time.monotonic()
        if self._file is None:
            return
        self._file.write(b"".join(records))
        self._file.flush()
        old = time.monotonic() - self._opened >= ROLL_SECONDS or self._file.tell() >= ROLL_BYTES
        if roll or old:
            self._file.close()
            self._file = None
            _ship(self._folder, self._inbox)


def framed(content: bytes) -> bytes:
    """A record as it lies in a segment."""
    return _HEADER.pack(len(content), zlib.crc32(content)) + content


def read_segment(path: Path) -> Iterator[Captured]:
    """The records of a segment, up to the first that is torn or damaged; none where it was just moved on."""
    decoder = msgspec.msgpack.Decoder(Captured)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    at = 0
    while at + _HEADER.size <= len(content):
        length, crc = _HEADER.unpack_from(content, at)
        body = content[at + _HEADER.size : at + _HEADER.size + length]
        if len(body) < length or zlib.crc32(body) != crc:
            return
        yield decoder.decode(body)
        at += _HEADER.size + length


def ship_orphans(spool: Path, inbox: Path) -> int:
    """Move the segments of processes that are gone to the inbox; gives their number."""
    shipped = 0
    for folder in sorted(spool.iterdir()) if spool.exists() else ():
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shipped += _retire(folder, inbox)
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            continue
    return shipped


def _retire(folder: Path, inbox: Path) -> int:
    """Ship a process's segments and remove its folder; the caller holds its lock."""
    shipped = _ship(folder, inbox)
    (folder / "lock").unlink()
    folder.rmdir()
    return shipped


def _ship(folder: Path, inbox: Path) -> int:
    """Move a folder's segments to the inbox, in their order: a later one never arrives before an earlier one."""
    inbox.mkdir(parents=True, exist_ok=True)
    paths = sorted(folder.glob("*.open"))
    for path in paths:
        path.rename(inbox / f"{folder.name}.{path.stem}.seg")
    return len(paths)


def unshipped(spool: Path, inbox: Path) -> Iterator[Path]:
    """Every segment that is not yet in the table, open ones among them."""
    yield from sorted(inbox.glob("*.seg")) if inbox.exists() else ()
    yield from sorted(spool.glob("*/*.open")) if spool.exists() else ()
