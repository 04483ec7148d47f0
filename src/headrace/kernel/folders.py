"""Folders that people name for what they want written."""

from __future__ import annotations

from pathlib import Path

from headrace.kernel.errors import Conflict


def need_empty(folder: Path) -> None:
    """See that nothing would be written over.

    Raises:
        Conflict: something stands at `folder`, other than an empty folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(
            f"Something stands at {folder}.", expected="a folder that is empty or new", todo="Name another one."
        )
