"""Object storage as people name it: ``s3://BUCKET/PATH``, ``gs://``, ``az://``; credentials come from the environment
as the libraries of each storage know them (AWS_…, GOOGLE_…, AZURE_…)."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from headrace.batch.stamps import changed
from headrace.kernel.errors import HeadraceError, InvalidInput, StorageUnavailable

SCHEMES = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://")
WILD = re.compile(r"[*?\[]")
JOB = "headrace-job"
"""The attribute of an object that names the job that wrote it."""
SINGLE = 64 << 20
"""Larger objects are sent in parts."""


class Object(NamedTuple):
    """An object: its path below the place that was asked for, its size, and what changes when it does."""

    path: str
    size: int
    tag: str


def is_remote(place: str) -> bool:
    """Whether a source or destination lies in object storage."""
    return place.startswith(SCHEMES)


class Bucket:
    """A place in object storage below which objects lie."""

    def __init__(self, url: str) -> None:
        from obstore.store import from_url

        self.url = url.rstrip("/")
        with self._told():
            self._store: Any = from_url(self.url)

    def list(self) -> list[Object]:
        """Every object below the place, sorted by path."""
        with self._told():
            found = [meta for batch in self._store.list() for meta in batch]
        return sorted(_object(meta) for meta in found if meta["size"])

    def head(self, path: str) -> Object | None:
        """The object at a path, if there is one."""
        with self._told():
            try:
                return _object(self._store.head(path))
            except FileNotFoundError:
                return None

    def job_of(self, path: str) -> str | None:
        """The job that wrote the object at a path; empty for another's, None where there is none."""
        with self._told():
            try:
                return str(self._store.get(path).attributes.get(JOB, ""))
            except FileNotFoundError:
                return None

    def pieces(self, it: Object) -> Iterator[bytes]:
        """The content of an object, as it was when it was found.

        Raises:
            Conflict: it is another one by now.
        """
        from obstore.exceptions import PreconditionError

        with self._told():
            try:
                yield from map(bytes, self._store.get(it.path, options={"if_match": it.tag}).stream())
            except (PreconditionError, FileNotFoundError) as error:
                raise changed(f"{self.url}/{it.path}") from error

    def put(self, path: str, file: Path, job: str, *, overwrite: bool) -> None:
        """Send a file to a path; it is there whole or not at all.

        Raises:
            FileExistsError: something is there, and must not be overwritten.
        """
        from obstore.exceptions import AlreadyExistsError

        once = not overwrite and file.stat().st_size < SINGLE
        with self._told():
            try:
                mode = {"mode": "create"} if once else {}
                self._store.put(path, file, attributes={JOB: job}, use_multipart=not once, **mode)
            except AlreadyExistsError as error:
                raise FileExistsError(path) from error

    @contextmanager
    def _told(self) -> Generator[None]:
        """Say in our words what storage refused."""
        try:
            yield
        except (HeadraceError, FileExistsError):
            raise
        except Exception as error:  # obstore's errors have no root but this
            raise StorageUnavailable(
                f"{self.url} could not be used: {str(error).splitlines()[0]}.",
                todo="See that it is reachable, and that its credentials are set and allow it.",
            ) from error


def _object(meta: Any) -> Object:
    return Object(str(meta["path"]), int(meta["size"]), str(meta["e_tag"] or meta["last_modified"]))


def split_url(url: str) -> tuple[str, str]:
    """The folder of an object, and its name.

    Raises:
        InvalidInput: it names no object.
    """
    folder, _, name = url.rpartition("/")
    if not name or folder.count("/") < 2:
        raise InvalidInput(f"{url!r} names no object.", expected="s3://BUCKET/PATH", todo="Correct it.")
    return folder, name


def matching(pattern: str, paths: list[Object]) -> list[Object]:
    """Those objects whose path a glob matches; ``*`` stays within a folder and ``**`` does not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    translated = "".join(known.get(part, part if part.startswith("[") else re.escape(part)) for part in parts)
    wanted = re.compile(translated + r"\Z")
    return [one for one in paths if wanted.match(one.path)]
