"""Segments: the files in which captures travel from a scoring process to the worker."""

from __future__ import annotations

import contextlib
import fcntl
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_HEADER = struct.Struct("<II")


def framed(content: bytes) -> bytes:
    """A record as it lies in a segment."""
    return _HEADER.pack(len(content), zlib.crc32(content)) + content


def unframed(record: bytes) -> bytes:
    """What `framed` was given."""
    return record[_HEADER.size :]


def read_frames(path: Path) -> Iterator[bytes]:
    """The records of a segment, up to the first that is torn or damaged; none where it was just moved on."""
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
        yield body
        at += _HEADER.size + length


def claim(folder: Path, inbox: Path) -> IO[str]:
    """Make a process's folder; it is its own for as long as the lock that is given back is open."""
    for path in (folder, inbox):
        path.mkdir(parents=True, exist_ok=True)
    draft = folder / "lock.draft"
    lock = draft.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    draft.rename(folder / "lock")
    return lock


def ship_orphans(spool: Path, inbox: Path) -> int:
    """Move the segments of processes that are gone to the inbox; gives their number."""
    shipped = 0
    for folder in sorted(spool.iterdir()) if spool.exists() else ():
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shipped += retire(folder, inbox)
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            continue
    return shipped


def retire(folder: Path, inbox: Path) -> int:
    """Ship a process's segments and remove its folder; the caller holds its lock."""
    shipped = ship(folder, inbox)
    (folder / "lock").unlink()
    folder.rmdir()
    return shipped


def ship(folder: Path, inbox: Path) -> int:
    """Move a folder's segments to the inbox, in their order: a later one never arrives before an earlier one."""
    inbox.mkdir(parents=True, exist_ok=True)
    paths = sorted(folder.glob("*.open"))
    for path in paths:
        path.rename(inbox / f"{folder.name}.{path.stem}.seg")
    return len(paths)


def order(path: Path) -> tuple[str, int]:
    """A segment's scorer and its number there."""
    scorer, number, _ = path.name.split(".")
    return scorer, int(number)


def share(outbox: Path, inbox: Path, put: Callable[[Path, bytes], None]) -> int:
    """Give the segments of this machine's outbox to `put`, in their order, and remove them; gives their number."""
    segments = sorted(outbox.glob("*.seg"), key=order) if outbox.exists() else []
    for path in segments:
        with contextlib.suppress(FileNotFoundError):  # another process of this machine was quicker
            put(inbox / path.name, path.read_bytes())
            path.unlink()
    return len(segments)


def unshipped(spool: Path, inbox: Path) -> Iterator[Path]:
    """Every segment that is not yet in the table, open ones among them."""
    yield from sorted(inbox.glob("*.seg")) if inbox.exists() else ()
    yield from sorted(spool.glob("*/*.open")) if spool.exists() else ()
