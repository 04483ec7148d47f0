"""Files of this machine: by path, folder or glob."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from headrace.batch.origins.found import Found, partition_of
from headrace.batch.sources import FORMATS, ending, format_of
from headrace.batch.stamps import stamp
from headrace.kernel.errors import NothingThere


def find_files(source: str) -> list[Path]:
    """The files of a source in the order of their names: a path, a folder with all below it, or a glob.

    Raises:
        InvalidInput: there is none, or one whose ending is unknown.
    """
    path = Path(source)
    if path.is_dir():
        found = [one for one in path.rglob("*") if one.is_file() and not _hidden(one.relative_to(path)) and _known(one)]
    elif path.exists():
        found = [path]
    else:
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        with suppress(ValueError, NotImplementedError, OSError):
            found = [one for one in anchor.glob(str(path.relative_to(path.anchor))) if one.is_file()]
            if found:
                return sorted(found)
        raise NothingThere(
            f"There is nothing at {source!r}.",
            field="source",
            expected="a file, a folder with files, or a glob that finds some",
            todo="Correct the source.",
        )
    for one in found:
        format_of(one)
    if not found:
        raise no_files(source)
    return sorted(found)


def no_files(source: str) -> NothingThere:
    """A folder, or a prefix, is empty."""
    return NothingThere(
        f"The folder {source!r} holds no file that can be scored.",
        field="source",
        expected=f"files that end in {', '.join(FORMATS)}",
        todo="Correct the source.",
    )


def local_files(source: str, without: Iterable[Path] = ()) -> list[Found]:
    """The files of a source but for those that a job itself writes beside them.

    Raises:
        InvalidInput: there is none, or one whose ending is unknown.
    """
    ours = list(without) if Path(source).is_dir() else []
    paths = [path for path in find_files(source) if path not in ours]
    if not paths:
        raise no_files(source)
    root = Path(source)
    names = [path.relative_to(root).as_posix() if root.is_dir() else path.name for path in paths]
    return [
        Found(name, path, (str(path), *stamp(path)), partition=partition_of(name if root.is_dir() else str(path)))
        for name, path in zip(names, paths, strict=True)
    ]


def lies_within(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a path leads into one of these folders, whatever links are on the way."""
    real = path.resolve()
    return any(real.is_relative_to(folder) for folder in folders)


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _known(path: Path) -> bool:
    return ending(path)[0] in FORMATS
