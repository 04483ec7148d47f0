"""The files that the processes of a workspace share: a folder, or object storage with a folder here as its cache.

Everything has its path in the workspace's folder. Where the workspace is that folder, sharing a file is writing it.
Where it is object storage (obstore: S3, GCS, Azure), a file is uploaded once it is whole, and taken from there when it
is needed; bundles, code and digests never change once they are there, so what the cache has of them is right, and each
of them is verified wherever it is read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from headrace.kernel.errors import StorageUnavailable
from headrace.kernel.identifiers import new_id


class Objects:
    """The shared files of the workspace whose folder, or cache, is `root`; `url` names object storage."""

    def __init__(self, root: Path, url: str = "") -> None:
        self.root = root
        self.url = url.rstrip("/")
        self._store: Any = _open(self.url) if url else None
        self._seen: dict[Path, tuple[str | None, object]] = {}

    @property
    def remote(self) -> bool:
        """Whether the files lie in object storage."""
        return self._store is not None

    def table(self, path: Path) -> str:
        """Where a Delta table lies, as its library wants it."""
        return str(path) if self._store is None else f"{self.url}/{self._key(path)}"

    def put(self, path: Path, content: bytes, *, private: bool = False) -> None:
        """Write a file whole, or not at all, over what stands there; a `private` one only its owner may read.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        with self._told(path):
            if self._store is not None:
                self._store.put(self._key(path), content)
                return
            write_whole(path, content, private=private)

    def write_at(self, path: Path, place: int, content: IO[bytes], header: bytes = b"") -> None:
        """Write what is left of `content` to a place in a file of this machine, and the header at its beginning if it
        is not there yet, down to the disk. What lies behind stays, so that two who write the same disturb nobody.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        with self._told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as file:
                if place == len(header):
                    file.write(header)
                file.seek(place)
                shutil.copyfileobj(content, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())

    def share(self, path: Path, *, deep: bool = True) -> None:
        """Let the others have a file, or the files of a folder (those of its folders too where `deep`)."""
        if self._store is None:
            return
        with self._told(path):
            files = [path] if path.is_file() else sorted(path.rglob("*") if deep else path.glob("*"))
            for file in files:
                if file.is_file() and not file.name.endswith(".draft"):
                    self._store.put(self._key(file), file)

    def need(self, path: Path) -> Path:
        """The file or folder `path`, taken from where it is shared if it is not here; it never changes once there."""
        if self._store is None or path.exists():
            return path
        return self.fetch(path)

    def fetch(self, path: Path) -> Path:
        """The file or folder `path` as it is shared now."""
        if self._store is None:
            return path
        with self._told(path):
            draft = self.root / "staging" / new_id()
            found = self._keys(path)
            for key in found:
                name = key[len(self._key(path)) :].lstrip("/")
                write_whole(draft / name if name else draft, self._content(key))
            if path.is_dir():
                for file in draft.rglob("*"):
                    if file.is_file():
                        (path / file.relative_to(draft)).parent.mkdir(parents=True, exist_ok=True)
                        file.replace(path / file.relative_to(draft))
                shutil.rmtree(draft, ignore_errors=True)
            elif found:
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    draft.rename(path)
                except OSError:
                    if not path.exists():
                        raise
                    shutil.rmtree(draft, ignore_errors=True)  # another process was quicker
        return path

    def latest(self, path: Path, *, private: bool = False) -> Path:
        """The file `path`, taken again where it changed since this process took it last."""
        if self._store is None:
            return path
        with self._told(path):
            try:
                stamp = self._store.head(self._key(path))["e_tag"]
            except FileNotFoundError:
                path.unlink(missing_ok=True)
                return path
            if self._seen.get(path) != (stamp, _identity(path)):
                write_whole(path, self._content(self._key(path)), private=private)
                self._seen[path] = (stamp, _identity(path))  # another process may put an older one there
        return path

    def gather(self, folder: Path, *, exactly: bool = True) -> Path:
        """The files of `folder` as they are shared now, none of its folders.

        Args:
            exactly: files here that are shared no more are removed, and those that are here are right.
        """
        if self._store is None:
            return folder
        with self._told(folder):
            there = {Path(key).name: key for key in self._keys(folder, deep=False)}
            folder.mkdir(parents=True, exist_ok=True)
            for file in folder.iterdir():
                if exactly and file.is_file() and file.name not in there and file.suffix != ".draft":
                    file.unlink(missing_ok=True)
            for name, key in there.items():
                if not exactly or not (folder / name).exists():
                    with contextlib.suppress(FileNotFoundError):  # it was taken and removed meanwhile
                        write_whole(folder / name, self._content(key))
        return folder

    def agree(self, path: Path, make: Callable[[Path], Any]) -> Path:
        """A private file of which there is one for all: `make` makes it where it is not, and of two makers one wins."""
        if self._store is None:
            make(path)
            return path
        try:
            if not self.exists(path):
                self._offer(path, make)
            return self.latest(path, private=True)
        except StorageUnavailable:
            if not path.exists():
                raise
            return path

    def _offer(self, path: Path, make: Callable[[Path], Any]) -> None:
        """Share a file that is made now, unless there is one already; nobody uses it before it is shared."""
        from obstore.exceptions import AlreadyExistsError

        draft = self.root / "staging" / new_id()
        with self._told(path):
            make(draft)
            try:
                self._store.put(self._key(path), draft, mode="create")
            except AlreadyExistsError:
                pass
            finally:
                draft.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Every shared file, sorted, but what a process is writing or removing."""
        if self._store is None:
            paths = [path for path in self.root.rglob("*") if path.is_file()]
        else:
            with self._told(self.root):
                paths = [self.root / meta["path"] for batch in self._store.list() for meta in batch]
        return sorted(path for path in paths if _lasts(path.relative_to(self.root)))

    def read(self, path: Path) -> bytes:
        """The content of a file as it is shared now."""
        if self._store is None:
            return path.read_bytes()
        with self._told(path):
            return self._content(self._key(path))

    def copy(self, path: Path, target: Objects, place: Path) -> int:
        """Copy a file to `place` of another workspace; gives its size."""
        with self._told(path):
            source = path
            if self._store is not None:
                source = self.root / "staging" / new_id()
                source.parent.mkdir(parents=True, exist_ok=True)
                with source.open("wb") as file:
                    for chunk in self._store.get(self._key(path)).stream():
                        file.write(chunk)
            size = source.stat().st_size
        try:
            target.take(source, place)
        finally:
            if source is not path:
                source.unlink()
        return size

    def take(self, source: Path, place: Path) -> None:
        """Make `place` a copy of the file `source`.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        with self._told(place):
            if self._store is not None:
                self._store.put(self._key(place), source)
                return
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = place.with_name(f"{place.name}.{new_id()}.draft")
            shutil.copy2(source, draft)
            draft.replace(place)

    def children(self, folder: Path) -> list[Path]:
        """What lies in a folder, sorted."""
        if self._store is None:
            return sorted(folder.iterdir()) if folder.is_dir() else []
        with self._told(folder):
            found = self._store.list_with_delimiter(f"{self._key(folder)}/")
            names = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        return sorted({folder / Path(name).name for name in names})

    def stamp(self, path: Path) -> Any:
        """Something that is another whenever the file is; None where there is none."""
        if self._store is None:
            return path.stat().st_mtime_ns if path.exists() else None
        with self._told(path):
            try:
                return self._store.head(self._key(path))["e_tag"]
            except FileNotFoundError:
                return None

    def exists(self, path: Path) -> bool:
        """Whether a file, or anything in a folder, is there."""
        if self._store is None:
            return path.exists()
        with self._told(path):
            return bool(self._metas(path, most=1))

    def size(self, path: Path) -> int:
        """The bytes of a file, or of all files of a folder."""
        if self._store is None:
            files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
            return sum(file.stat().st_size for file in files)
        with self._told(path):
            return sum(int(meta["size"]) for meta in self._metas(path))

    def modified(self, path: Path) -> datetime:
        """When a file, or the newest of a folder's, was written."""
        if self._store is None:
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)
        with self._told(path):
            return max((meta["last_modified"] for meta in self._metas(path)), default=datetime.fromtimestamp(0, UTC))

    def discard(self, path: Path) -> None:
        """Remove a file or folder for all."""
        if self._store is not None:
            with self._told(path):
                keys = self._keys(path)
                if keys:
                    self._store.delete(keys)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _content(self, key: str) -> bytes:
        return bytes(self._store.get(key).bytes())

    def _keys(self, path: Path, *, deep: bool = True) -> list[str]:
        """The objects of a file, or of a folder, by their names."""
        if deep:
            return [str(meta["path"]) for meta in self._metas(path)]
        return [str(meta["path"]) for meta in self._store.list_with_delimiter(f"{self._key(path)}/")["objects"]]

    def _metas(self, path: Path, most: int | None = None) -> list[Any]:
        key = self._key(path)
        found: list[Any] = []
        for batch in self._store.list(f"{key}/"):
            found += batch
            if most is not None and found:
                return found
        if not found:
            try:
                found = [self._store.head(key)]
            except FileNotFoundError:
                return []
        return found

    @contextmanager
    def _told(self, path: Path) -> Generator[None, None, None]:
        """Say in our words what storage refused."""
        try:
            yield
        except OSError as error:
            raise StorageUnavailable(
                f"{path.name} could not be used at {path.parent}: {error.strerror or str(error).splitlines()[0]}.",
                todo="See that the disk has room and the folder may be written.",
            ) from error
        except Exception as error:
            if self._store is None or not type(error).__module__.startswith("obstore"):
                raise
            raise StorageUnavailable(
                f"{self._key(path)} could not be used in {self.url}: {str(error).splitlines()[0]}.",
                todo="See that the storage is reachable, and that its credentials are set and allow it.",
            ) from error


def _identity(path: Path) -> object:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def _lasts(name: Path) -> bool:
    transient = name.parts[0] in ("staging", "trash", "logs") or name.parts[:2] == ("predictions", "spool")
    return not transient and not name.name.endswith((".db", ".db-wal", ".db-shm", ".lock", ".draft"))


def _open(url: str) -> Any:
    from obstore.store import from_url

    try:
        return from_url(url)
    except Exception as error:
        raise StorageUnavailable(
            f"The storage {url} cannot be opened: {error}.",
            expected="s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX",
            todo="Correct the address, and set what it needs in the environment (AWS_REGION, AWS_ENDPOINT_URL, ...).",
        ) from error


def write_whole(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file beside its place, down to the disk, and move it there; a `private` one only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{new_id()}.draft")
    try:
        mode = 0o600 if private else 0o666
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
