"""A file of this machine, or one among the workspace's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl

from headrace.batch.placing import KEPT, exists, identity_of, is_ours, note_path, place, placed, rejects_path
from headrace.batch.reading import Reject
from headrace.batch.targets.target import Still
from headrace.batch.writing import Answers, Shape, assemble, read_first, result_format, write_rejects
from headrace.kernel.errors import InvalidInput
from headrace.kernel.identifiers import new_id
from headrace.kernel.places import Places


class FileTarget:
    """See `Target`. The identity of a file is noted before it is moved to its place; so whoever goes on after a crash
    knows whether what stands there is the job's."""

    def __init__(self, places: Places, destination: str, overwrite: bool) -> None:
        self.form = result_format(destination)
        self._places = places
        self._objects = places.objects
        self._destination = destination
        self._overwrite = overwrite
        self._path = placed(places, destination)
        self.own = (self._path, rejects_path(self._path))

    @property
    def _kept(self) -> bool:
        """Whether the result lies in the workspace, because it was given no other place."""
        return self._destination.startswith(KEPT)

    def check(self, sources: Iterable[Path]) -> None:
        """See `Target`."""
        folder = self._path.parent
        if not folder.is_dir() and not self._kept:
            raise InvalidInput(
                f"There is no folder {folder}.",
                field="destination",
                expected="a folder that exists",
                todo="Make it first.",
            )
        if self._path.is_dir():
            raise InvalidInput(
                f"{self._destination} is a folder.", field="destination", expected="a file", todo="Name one in it."
            )
        if self._path.resolve() in [path.resolve() for path in sources]:
            raise InvalidInput(
                "The source is its own destination.", field="destination", expected="another file", todo="Name one."
            )
        for path in self.own:
            if path.exists() and not self._overwrite:
                raise exists(str(path))

    def holds(self, job: str) -> bool:
        """See `Target`."""
        return self._is_there(job, "result")

    def _is_there(self, job: str, which: str) -> bool:
        path = self.own[which == "rejects"]
        return is_ours(self._objects.latest(note_path(self._places, job, which)), path)

    def deliver(self, job: str, answers: Answers, shape: Shape, still: Still) -> None:
        """See `Target`."""
        self._put(job, "result", lambda draft: assemble(answers, shape, draft), still)

    def deliver_rejects(self, job: str, rejects: Iterable[Iterable[Reject]], still: Still) -> str:
        """See `Target`."""
        self._put(job, "rejects", lambda draft: write_rejects(rejects, draft), still)
        return "the job's rejects" if self._kept else str(self.own[1])

    def rejects_there(self, job: str) -> str:
        """See `Target`."""
        return str(self.own[1]) if self._is_there(job, "rejects") else ""

    def first(self, job: str, shape: Shape, rows: int) -> pl.DataFrame:
        """See `Target`."""
        return read_first(self._objects.need(self._path) if self._kept else self._path, shape, rows, True)

    def file(self, job: str, which: str) -> Path | None:
        """See `Target`; a file that was moved or changed is not the job's."""
        path = self.own[which == "rejects"]
        if self._kept:
            self._objects.need(path)
        return path if path.exists() and (self._kept or self._is_there(job, which)) else None

    def _put(self, job: str, which: str, write: Callable[[Path], None], still: Still) -> None:
        """Write a file, and move it to its place when it is whole; one that was moved before a crash stays.

        Raises:
            Conflict: something else stands there.
        """
        if self._is_there(job, which):
            return
        path = self.own[which == "rejects"]
        if path.exists() and not self._overwrite:
            raise exists(str(path))
        if self._kept:
            path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{job}.{which}.*.draft"):  # by a process that was killed
            left.unlink(missing_ok=True)
        draft = path.with_name(f".{job}.{which}.{new_id()}.draft")
        try:
            write(draft)
            still()
            self._objects.put(note_path(self._places, job, which), identity_of(draft))
            place(draft, path, overwrite=self._overwrite)
        finally:
            draft.unlink(missing_ok=True)
        if self._kept:
            self._objects.share(path)
