"""Moving a whole workspace: everything is copied, then verified, and only then does the copy become a workspace.

The database is copied by SQLite's own backup, so that a running system does no harm; files are copied after it, which
never change once they are there. The copy is made beside its place and renamed last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from headrace.kernel.errors import NotTrusted, StorageUnavailable
from headrace.kernel.folders import need_empty
from headrace.kernel.places import Places
from headrace.kernel.records import Copied

SKIPPED = ("staging", "trash", "logs")
Progress = Callable[[int, int], None]
"""How many files are copied, and of how many."""
Check = Callable[[Path], list[str]]


def copy_workspace(source: Places, target: Path, check: Check, progress: Progress | None = None) -> Copied:
    """Copy a workspace to the new folder `target`. A copy that was interrupted goes on where it stopped.

    Args:
        check: opens the copy, and gives what is wrong with it.

    Raises:
        Conflict: something stands at `target`.
        NotTrusted: a file is not the same after it was copied, or the copy is not whole.
        StorageUnavailable: the copy cannot be written; the source is untouched, and `target` is not there.
    """
    need_empty(target)
    draft = target.with_name(f".{target.name}.copying")
    try:
        found = _copy(source.root, draft, progress or (lambda _done, _of: None))
        problems = check(draft)
        if problems:
            raise NotTrusted(
                f"The copy is not whole: {'; '.join(problems[:5])}.",
                todo=f"See that the source is whole ('headrace workspace verify'), remove {draft}, and copy again.",
            )
        if target.exists():
            target.rmdir()
        draft.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise StorageUnavailable(
            f"The copy {draft} could not be written: {getattr(error, 'strerror', None) or error}.",
            todo="See that the disk has room, and copy again: it goes on where it stopped.",
        ) from error
    return Copied(files=found[0], size=found[1], folder=str(target))


def _copy(root: Path, draft: Path, progress: Progress) -> tuple[int, int]:
    """Copy all of it; gives how many files of how many bytes. The signed head goes first: it may lag the chain."""
    draft.mkdir(parents=True, exist_ok=True)
    head = Path(Places(root).audit_head.name)
    if (root / head).exists():
        _copy_file(root / head, draft / head)
    for name in (Places(root).database_file.name, Places(root).durable_file.name):
        if (root / name).exists():
            _copy_database(root / name, draft / name)
    names = [name for name in _names(root) if name != head]
    for stale in set(_names(draft)) - {head, *names}:
        (draft / stale).unlink()  # of an earlier attempt; the source has it no more
    size = 0
    for number, name in enumerate(names, start=1):
        size += _copy_file(root / name, draft / name)
        progress(number, len(names))
    return len(names), size


def _names(root: Path) -> Iterator[Path]:
    """The files of a workspace but its databases and what is in the making."""
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        if here == Path():
            folders[:] = [name for name in folders if name not in SKIPPED]
        folders.sort()
        for name in sorted(files):
            if not name.endswith((".db", ".db-wal", ".db-shm", ".lock", ".draft")):
                yield here / name


def _copy_database(source: Path, target: Path) -> None:
    draft = target.with_name(f"{target.name}.draft")
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(draft)) as there:
        here.backup(there)
    _sync(draft)
    draft.replace(target)


def _copy_file(source: Path, target: Path) -> int:
    """Copy a file and read it back; gives its size. What an earlier attempt copied whole is kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.draft")
    if source.suffix == ".open":
        shutil.copy2(source, target)  # a segment that grows: whoever reads it stops where it is torn
        return target.stat().st_size
    try:
        expected = _digest(source)
    except FileNotFoundError:
        return 0  # it was shipped or freed meanwhile; what refers to it was copied before and does not
    if not (target.exists() and _digest(target) == expected):
        shutil.copy2(source, draft)
        _sync(draft)
        if _digest(draft) != expected:
            raise NotTrusted(f"{source} changed while it was copied, or the disk did not keep it.", todo="Copy again.")
        draft.replace(target)
    return target.stat().st_size


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
