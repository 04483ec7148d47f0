"""Moving a file that is whole to where it belongs, exactly once, and over nothing that was not to be overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from headrace.kernel.errors import Conflict
from headrace.kernel.places import Places

KEPT = "kept:"


def placed(places: Places, destination: str) -> Path:
    """Where a destination lies on this machine: a path, or ``kept:ID/NAME`` among the workspace's own files."""
    return places.results / destination.removeprefix(KEPT) if destination.startswith(KEPT) else Path(destination)


def rejects_path(path: Path) -> Path:
    """Where the rejected rows of a result lie: beside it."""
    return path.with_name(f"{path.name}.rejects.csv")


def note_path(places: Places, job: str, what: str) -> Path:
    """Where the identity is noted of a file (``result`` or ``rejects``) that a job moved to its place."""
    return places.jobs / job / f"{what}.placed"


def place(draft: Path, destination: Path, *, overwrite: bool) -> None:
    """Move a file to its place.

    Raises:
        Conflict: something stands there.
    """
    if overwrite:
        draft.replace(destination)
        return
    try:
        os.link(draft, destination)
    except FileExistsError as error:
        raise exists(str(destination)) from error
    except OSError:  # a disk that knows no links
        if destination.exists():
            raise exists(str(destination)) from None
        draft.rename(destination)


def exists(destination: str) -> Conflict:
    """The destination is there already."""
    return Conflict(
        f"{destination} exists already.",
        field="destination",
        expected="a destination that is free",
        todo="Name another one, or say --overwrite.",
    )


def identity_of(file: Path) -> bytes:
    """What a file is known by wherever it is moved within its disk."""
    found = file.stat()
    return msgspec.json.encode((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


def is_ours(note: Path, destination: Path) -> bool:
    """Whether what stands at the destination is the file whose identity was noted."""
    return note.exists() and destination.exists() and note.read_bytes() == identity_of(destination)
