"""Files and folders that DVC tracks (``NAME.dvc`` beside them): taken where they have DVC's hash, refused otherwise.

The hash of a folder is the MD5 of its listing, a JSON list of the MD5 and path of each file. DVC keeps them in
its cache; what is not checked out is taken from there.
"""

from __future__ import annotations

import configparser
import glob
import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath
from typing import NamedTuple

import msgspec
import yaml

from headrace.kernel.errors import InvalidInput, NotTrusted

SUFFIX = ".dvc"
FOLDER = ".dir"


class _Output(msgspec.Struct):
    md5: str
    path: str


class _Pointer(msgspec.Struct):
    outs: tuple[_Output, ...]


class _Listed(msgspec.Struct):
    md5: str
    relpath: str


class Tracked(NamedTuple):
    """A file that DVC tracks: where it would be checked out, its hash, and the folder whose pointer has it, if any."""

    path: Path
    md5: str
    folder: str = ""


class Tracker:
    """What DVC tracks below a folder; each pointer is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.files = cache(self._files)

    def named(self, pattern: str) -> list[Path]:
        """The tracked files that a path or glob names, or that lie in a folder which it names, checked out or not.

        As among other files, names that begin with a dot or an underscore are passed over; so is what belongs
        to a Delta table.
        """
        wanted = PurePath(self.name(self._root / pattern))
        depth = len(wanted.parts)
        found = []
        for pointer in self._pointers(pattern):
            files = self.files(pointer)
            tables = {at.parent for path in files for at in path.parents if at.name == "_delta_log"}
            for path in files:
                parts = PurePath(self.name(path)).parts
                there = not depth or (len(parts) >= depth and PurePath(*parts[:depth]).match(str(wanted)))
                hidden = any(part.startswith((".", "_")) for part in parts[depth:])
                if there and not hidden and tables.isdisjoint(path.parents):
                    found.append(path)
        return found

    def of(self, path: Path) -> Tracked | None:
        """What DVC says of a file; None where it does not track it.

        Raises:
            InvalidInput: a pointer is none, or what it tracks is neither here nor in the cache.
            NotTrusted: the file is not in the folder that DVC tracks.
        """
        for at in (path, *path.parents):
            if not at.name:
                break
            pointer = _pointer(at)
            if pointer.is_file():
                found = self.files(pointer)
                if path not in found:
                    raise NotTrusted(
                        f"{self.name(path)} is not in the folder as DVC tracks it ({self.name(pointer)}).",
                        expected="the files that were there when it was added",
                        todo="Track what is there ('dvc add'), or remove the file.",
                    )
                return found[path]
            if at == self._root:
                break
        return None

    def content(self, tracked: Tracked) -> bytes:
        """The bytes of a file, from its place or the cache.

        Raises:
            InvalidInput: it is in neither.
            NotTrusted: it has another hash.
        """
        place = tracked.path if tracked.path.exists() else _cached(tracked.path.parent, tracked.md5)
        if place is None:
            raise InvalidInput(
                f"{self.name(tracked.path)} is not here, and DVC tracks it.",
                expected="a file, here or in DVC's cache",
                todo="Get it: dvc pull.",
            )
        content = place.read_bytes()
        if _md5(content) != tracked.md5:
            raise NotTrusted(
                f"{self.name(tracked.path)} is not the file that DVC tracks (md5 {tracked.md5}).",
                expected="the file as it was when it was added",
                todo="Get it again ('dvc checkout'), or track what is there ('dvc add').",
            )
        return content

    def name(self, path: Path) -> str:
        """A path as people know it."""
        return os.path.relpath(path, self._root)

    def _pointers(self, pattern: str) -> list[Path]:
        """The pointers of what a pattern names, of the folders above it, and those in the folders that it names."""
        above = [_pointer(at) for at in (self._root / pattern).parents if at.name]
        parts = PurePath(pattern).parts
        prefixes = [str(PurePath(*parts[:n])) + SUFFIX for n in range(1, len(parts) + 1)]
        beside = [Path(self._root, one) for each in prefixes for one in glob.glob(each, root_dir=self._root)]  # noqa: PTH207
        named = [Path(self._root, one) for one in glob.glob(pattern, root_dir=self._root)]  # noqa: PTH207
        literal = [_pointer(self._root / pattern)] if PurePath(pattern).name else []
        inside = [one for folder in named if folder.is_dir() for one in sorted(folder.rglob("*" + SUFFIX))]
        found = (*above, *literal, *beside, *(_pointer(one) for one in named if one.name), *inside)
        return list(dict.fromkeys(one for one in found if one.is_file()))

    def _files(self, pointer: Path) -> dict[Path, Tracked]:
        """The files behind a pointer by where they would be checked out."""
        try:
            (out,) = msgspec.convert(yaml.safe_load(pointer.read_text()), _Pointer).outs
        except (yaml.YAMLError, msgspec.ValidationError, ValueError) as error:
            raise InvalidInput(
                f"{pointer} is no file of DVC's with one output: {str(error).splitlines()[0]}.",
                expected="what 'dvc add FILE' writes",
                todo="Track the file again.",
            ) from error
        place = pointer.parent / out.path
        if not out.md5.endswith(FOLDER):
            return {place: Tracked(place, out.md5)}
        return {
            place / one.relpath: Tracked(place / one.relpath, one.md5, out.md5) for one in self._listing(place, out)
        }

    def _listing(self, place: Path, out: _Output) -> list[_Listed]:
        kept = _cached(place.parent, out.md5)
        if kept is None and not place.is_dir():
            raise InvalidInput(
                f"The folder {self.name(place)} is not here, and DVC tracks it.",
                expected="the folder, or its listing in DVC's cache",
                todo="Get it: dvc pull.",
            )
        content = kept.read_bytes() if kept is not None else _listed(place)
        if _md5(content) + FOLDER != out.md5:
            raise NotTrusted(
                f"The folder {self.name(place)} is not the one that DVC tracks (md5 {out.md5}).",
                expected="the files as they were when they were added",
                todo="Get them again ('dvc checkout'), or track what is there ('dvc add').",
            )
        found = msgspec.json.decode(content, type=list[_Listed])
        for one in found:
            if PurePath(one.relpath).is_absolute() or ".." in PurePath(one.relpath).parts:
                raise NotTrusted(
                    f"The listing of {self.name(place)} leads out of it: {one.relpath!r}.",
                    expected="paths within the folder",
                    todo="Track the folder again.",
                )
        return found


def _pointer(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _listed(place: Path) -> bytes:
    """The listing of a folder as DVC writes it."""
    files = sorted((path.relative_to(place).as_posix(), path) for path in place.rglob("*") if path.is_file())
    return json.dumps([{"md5": _md5_of(path), "relpath": name} for name, path in files]).encode()


def _cached(folder: Path, md5: str) -> Path | None:
    """A file in the cache of the project that a folder belongs to: the one that its config names, or its own."""
    for root in (folder, *folder.parents):
        for kept in _caches(root / ".dvc"):
            for place in (kept / "files" / "md5" / md5[:2] / md5[2:], kept / md5[:2] / md5[2:]):
                if place.exists():
                    return place
    return None


def _caches(home: Path) -> Iterator[Path]:
    for name in ("config.local", "config"):
        parser = configparser.ConfigParser()
        try:
            parser.read(home / name)
        except (configparser.Error, UnicodeDecodeError):
            continue
        if parser.has_option("cache", "dir"):
            yield home / parser.get("cache", "dir", raw=True)
    yield home / "cache"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
