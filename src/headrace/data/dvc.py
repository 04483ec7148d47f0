"""Files and folders that DVC tracks (``NAME.dvc`` beside them): taken where they have DVC's hash, refused otherwise.

The hash of a folder is the MD5 of its listing, a JSON list of the MD5 and path of each file. DVC keeps them in
its cache; what is not checked out is taken from there.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
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
        """The tracked files that a path or glob names, whether they are checked out or not."""
        wanted = self._root / pattern
        found = []
        for pointer in self._pointers(pattern, wanted):
            for path in self.files(pointer):
                inside = wanted == self._root or wanted in path.parents
                if inside or (len(path.parts) == len(wanted.parts) and path.match(str(wanted))):
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
            pointer = at.with_name(at.name + SUFFIX)
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

    def _pointers(self, pattern: str, wanted: Path) -> list[Path]:
        """The pointers of what a pattern names, of the folders above it, and those in the folder that it names."""
        above = [one for at in wanted.parents if at.name and (one := at.with_name(at.name + SUFFIX)).is_file()]
        beside = [Path(self._root, one) for one in glob.glob(pattern + SUFFIX, root_dir=self._root)]  # noqa: PTH207
        inside = sorted(wanted.rglob("*" + SUFFIX)) if wanted.is_dir() else []
        return [*above, *(one for one in (*beside, *inside) if one.is_file())]

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


def _listed(place: Path) -> bytes:
    """The listing of a folder as DVC writes it."""
    files = sorted((path.relative_to(place).as_posix(), path) for path in place.rglob("*") if path.is_file())
    return json.dumps([{"md5": _md5(path.read_bytes()), "relpath": name} for name, path in files]).encode()


def _cached(folder: Path, md5: str) -> Path | None:
    for root in (folder, *folder.parents):
        kept = root / ".dvc" / "cache"
        for place in (kept / "files" / "md5" / md5[:2] / md5[2:], kept / md5[:2] / md5[2:]):
            if place.exists():
                return place
    return None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
