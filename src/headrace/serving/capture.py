"""Capture: every prediction into a bounded buffer, often to a local segment, and segments to the inbox.

A segment is a row of records, each a length, a CRC-32 and answers in msgpack; a torn tail is ignored. In the default
mode the buffer is written every 50 ms, and when it is full, drops and counts: a reply never waits. In the durable mode
a reply waits for the group of records to be synchronised to the disk, and is refused where that fails. What a killed
process left is shipped by whoever finds it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import msgspec

from headrace.kernel.errors import StorageUnavailable
from headrace.kernel.identifiers import new_id
from headrace.kernel.schema import Scalar
from headrace.serving.counters import Counters
from headrace.serving.segments import claim, framed, read_frames, retire, ship, ship_orphans

Mode = Literal["default", "durable", "off"]
WRITE_SECONDS = 0.05
DURABLE_SECONDS = 2.0
ROLL_SECONDS = 0.5
ROLL_BYTES = 8_000_000
MOST_BYTES = 64 << 20


class Captured(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One request as it was answered. `features` and `keys` are columns of `rows` values, `moments` the time column.

    A large request is several of these; `first` is then the number of its first row within the request.
    """

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
    consumer: str = ""
    first: int = 0


def parted(whole: Captured, rows: int) -> list[Captured]:
    """A large request as several records of at most `rows` rows."""
    parts = []
    for first in range(0, whole.rows, rows):
        part = slice(first, first + rows)
        parts.append(
            msgspec.structs.replace(
                whole,
                first=first,
                rows=min(rows, whole.rows - first),
                features={name: values[part] for name, values in whole.features.items()},
                keys={name: values[part] for name, values in whole.keys.items()},
                moments=whole.moments[part],
                predictions=whole.predictions[part],
                probabilities=None if whole.probabilities is None else whole.probabilities[part],
            )
        )
    return parts


class Capture:
    """The buffer of one scoring process and the thread that empties it."""

    def __init__(self, spool: Path, inbox: Path, counters: Counters, mode: Mode = "default") -> None:
        self.scorer = new_id()
        self.mode = mode
        self._spool = spool
        self._folder = spool / self.scorer
        self._inbox = inbox
        self._counters = counters
        self._guard = threading.Lock()
        self._records: list[bytes] = []
        self._rows = 0
        self._bytes = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._wake = threading.Event()
        self._stopping = False
        self._encode = msgspec.msgpack.Encoder().encode
        self._number = 0
        self._file: IO[bytes] | None = None
        self._opened = 0.0
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)

    def start(self) -> None:
        """Take what dead processes left, and begin to write."""
        self._lock = claim(self._folder, self._inbox)
        ship_orphans(self._spool, self._inbox)
        self._thread.start()

    def add(self, captured: list[Captured]) -> bool:
        """Keep answers, as one record; those that cannot be encoded, or find the buffer full, are dropped and counted.

        Returns:
            Whether all were kept.
        """
        try:
            record = framed(self._encode(captured))
        except (TypeError, ValueError, OverflowError):
            if len(captured) > 1:
                return sum(self.add([one]) for one in captured) == len(captured)
            self._counters.dropped_captures += captured[0].rows
            return False
        return self._put([record], sum(one.rows for one in captured), None)

    def _put(self, records: list[bytes], rows: int, future: asyncio.Future[None] | None) -> bool:
        """Whether there was room for the records; `future` is settled when they are written."""
        size = sum(map(len, records))
        with self._guard:
            if self._bytes + size > MOST_BYTES:
                self._counters.dropped_captures += rows
                return False
            self._records += records
            self._bytes += size
            self._rows += rows
            if future is not None:
                self._waiting.append(future)
        return True

    async def keep(self, captured: list[Captured]) -> None:
        """Keep the answers of one request, and wait until they are on the disk.

        Raises:
            StorageUnavailable: they are not, or not in time.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        rows = sum(one.rows for one in captured)
        try:
            records = [framed(self._encode([one])) for one in captured]
        except (TypeError, ValueError, OverflowError) as error:
            self._counters.dropped_captures += rows
            raise _not_kept(f"it cannot be encoded ({error})") from error
        if not self._put(records, rows, future):
            raise _not_kept("the buffer is full")
        self._wake.set()
        try:
            async with asyncio.timeout(DURABLE_SECONDS):
                await future
        except TimeoutError as error:
            raise _not_kept(f"the disk took longer than {DURABLE_SECONDS:g} s") from error

    def stop(self) -> None:
        """Write and ship what is buffered."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        retire(self._folder, self._inbox)
        self._lock.close()

    def _work(self) -> None:
        while not self._stopping:
            self._wake.wait(WRITE_SECONDS)
            self._wake.clear()
            self._flush(roll=False)
        self._flush(roll=True)

    def _flush(self, roll: bool) -> None:
        """Write what is buffered. What cannot be written is dropped and counted; the thread goes on."""
        with self._guard:
            records, self._records = self._records, []
            waiting, self._waiting = self._waiting, []
            rows, self._rows, self._bytes = self._rows, 0, 0
        fault: OSError | None = None
        try:
            self._write(records, roll)
            self._counters.captured += rows
        except OSError as error:
            fault = error
            self._counters.dropped_captures += rows
            self._file = None
        for future in waiting:
            future.get_loop().call_soon_threadsafe(_settle, future, fault)

    def _write(self, records: list[bytes], roll: bool) -> None:
        if records and self._file is None:
            ship(self._folder, self._inbox)
            self._number += 1
            self._file = (self._folder / f"{self._number:010d}.open").open("wb")
            self._opened = time.monotonic()
            if self.mode == "durable":
                _synchronise(self._folder)
        if self._file is None:
            return
        if records:
            self._file.write(b"".join(records))
            self._file.flush()
            if self.mode == "durable":
                os.fdatasync(self._file.fileno())
        old = time.monotonic() - self._opened >= ROLL_SECONDS or self._file.tell() >= ROLL_BYTES
        if roll or old:
            self._file.close()
            self._file = None
            ship(self._folder, self._inbox)


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle(future: asyncio.Future[None], fault: OSError | None) -> None:
    if future.done():
        return
    if fault is None:
        future.set_result(None)
    else:
        future.set_exception(_not_kept(str(fault.strerror or fault)))


def _not_kept(why: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"The prediction could not be written down: {why}. It is not answered, because capture is durable.",
        todo="See that the disk has room and keeps up, or serve with --capture default.",
    )


def read_segment(path: Path) -> Iterator[Captured]:
    """The captures in a segment, up to the first that is torn or damaged."""
    decoder = msgspec.msgpack.Decoder(list[Captured])
    for content in read_frames(path):
        yield from decoder.decode(content)
