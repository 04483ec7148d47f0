"""The composition root: it wires the rooms of one workspace and gives each verb its way in."""

from __future__ import annotations

import errno
import time
from pathlib import Path

from headrace import settings
from headrace.kernel.clock import Clock, utc_now
from headrace.kernel.errors import StorageUnavailable
from headrace.workspace.verbs import Workspace

__all__ = ["Workspace", "open"]


def open(url: str | Path | None = None, *, clock: Clock = utc_now) -> Workspace:  # noqa: A001
    """The workspace at `url`, made where there is none; by default ``./.headrace`` or ``HEADRACE_WORKSPACE``.

    Args:
        url: a folder (SQLite and files), or ``postgresql://USER@HOST/DATABASE?objects=s3://BUCKET/PREFIX``.

    Raises:
        InvalidInput: it is an address of neither kind.
        StorageUnavailable: the folder cannot be made or written.
        WorkspaceTooNew: a later Headrace wrote it.
    """
    places = settings.workspace_places(url)
    root = places.root
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".probe-{time.monotonic_ns()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise StorageUnavailable(
            f"The workspace {root} cannot be written: {error.strerror}.",
            todo="Free some room on the disk."
            if full
            else "Give write permission, or name another folder with --workspace.",
        ) from error
    return Workspace(places, clock)
