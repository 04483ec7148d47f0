"""Writing bundles: everything into a staging folder, then one rename to the folder named by the digest."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from headrace.kernel.digests import digest_bytes, digest_file
from headrace.kernel.errors import StorageUnavailable
from headrace.kernel.identifiers import new_id
from headrace.runtimes.bundle import MANIFEST, Manifest

SMALLEST_SHARED = 4096
"""Bytes from which on a file is shared between bundles: less than a block saves nothing."""


class Draft:
    """A bundle in the making, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}

    def put(self, name: str, content: bytes) -> None:
        """Add a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def put_tree(self, name: str, source: Path) -> None:
        """Add a folder."""
        shutil.copytree(source, self.folder / name)

    def seal(self, manifest: Manifest) -> str:
        """Write the manifest over all files and give the digest; a later seal replaces an earlier one."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        files = {path.relative_to(self.folder).as_posix(): digest_file(path) for path in paths}
        self.files = files
        content = msgspec.json.encode(msgspec.structs.replace(manifest, files=files), order="sorted")
        self.put(MANIFEST, content)
        return digest_bytes(content)


def share_files(draft: Draft, earlier: Iterable[Path]) -> int:
    """Let a sealed draft share the files that it has in common with earlier bundles; gives how many bytes are saved.

    A file is shared by a hard link, once it was read again: what is damaged there is not taken over. Where there are no
    links, the draft keeps its own.
    """
    wanted = {digest: name for name, digest in draft.files.items() if _size(draft.folder / name) >= SMALLEST_SHARED}
    saved = 0
    for bundle in earlier:
        for name, digest in _listed(bundle).items():
            if digest in wanted and _link(bundle / name, draft.folder / wanted[digest], digest):
                saved += _size(draft.folder / wanted.pop(digest))
    return saved


def _link(theirs: Path, ours: Path, digest: str) -> bool:
    """Put a link to `theirs` in the place of `ours`; whether it was done."""
    link = ours.with_name(f"{ours.name}.link")
    try:
        if theirs.is_symlink() or digest_file(theirs) != digest:
            return False
        os.link(theirs, link)
        link.replace(ours)
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            link.unlink(missing_ok=True)
    return True


def _listed(bundle: Path) -> dict[str, str]:
    """The files of a bundle with their digests; none of one that cannot be read."""
    try:
        return msgspec.json.decode((bundle / MANIFEST).read_bytes(), type=Manifest).files
    except (OSError, msgspec.MsgspecError):
        return {}


def _size(path: Path) -> int:
    return path.stat().st_size


@contextmanager
def drafting(staging: Path) -> Iterator[Draft]:
    """A draft whose folder is gone afterwards, unless it was kept.

    Raises:
        StorageUnavailable: the disk is full or may not be written; nothing is left.
    """
    folder = staging / new_id()
    try:
        folder.mkdir(parents=True)
        yield Draft(folder)
    except OSError as error:
        raise StorageUnavailable(
            f"The bundle could not be written to {folder}: {error.strerror or error}.",
            todo="See that the disk has room and the folder may be written; nothing was registered.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(draft: Draft, bundles: Path, digest: str) -> Path:
    """Move a sealed draft to its place; a bundle of the same digest that stands there is the same bundle."""
    target = bundles / digest
    bundles.mkdir(parents=True, exist_ok=True)
    for path in draft.folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if not target.exists():
        draft.folder.rename(target)
    _sync_folder(bundles)
    return target


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
