"""What tells that a file is still the one that it was."""

from __future__ import annotations

from pathlib import Path

from headrace.kernel.errors import Conflict


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does: its size, and the moment of its last change in ns.

    Raises:
        Conflict: it is gone.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise Conflict(
            f"The source {path} is gone: {error.strerror}.",
            todo="Put it back and retry the job: what was scored is kept.",
        ) from error
    return found.st_size, found.st_mtime_ns


def changed(name: str) -> Conflict:
    """The source is another one than it was."""
    return Conflict(
        f"The source {name} changed while it was read.",
        expected="a file that stays as it is until the job is done",
        todo="Score it again when it is whole; nothing was written to the destination.",
    )
