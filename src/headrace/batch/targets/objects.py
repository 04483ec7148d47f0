"""An object in storage; it carries the id of the job that wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl

from headrace.batch.placing import exists
from headrace.batch.reading import Reject
from headrace.batch.sources import write_pieces
from headrace.batch.storage import Bucket, split_url
from headrace.batch.targets.target import Still
from headrace.batch.writing import Answers, Shape, assemble, read_first, result_format, write_rejects
from headrace.kernel.identifiers import new_id
from headrace.kernel.places import Places

REJECTS = ".rejects.csv"


class ObjectTarget:
    """See `Target`. The whole file is made here first, and sent at one go."""

    def __init__(self, places: Places, destination: str, overwrite: bool) -> None:
        self.form = result_format(destination)
        self.own: tuple[Path, ...] = ()
        self._places = places
        self._url = destination
        self._overwrite = overwrite
        folder, self._name = split_url(destination)
        self._bucket = Bucket(folder)

    def check(self, sources: Iterable[Path]) -> None:
        """See `Target`."""
        for name in (self._name, f"{self._name}{REJECTS}"):
            if not self._overwrite and self._bucket.head(name) is not None:
                raise exists(f"{self._bucket.url}/{name}")

    def holds(self, job: str) -> bool:
        """See `Target`."""
        return self._bucket.job_of(self._name) == job

    def deliver(self, job: str, answers: Answers, shape: Shape, still: Still) -> None:
        """See `Target`."""
        self._put(job, self._name, lambda draft: assemble(answers, shape, draft), still)

    def deliver_rejects(self, job: str, rejects: Iterable[Iterable[Reject]], still: Still) -> str:
        """See `Target`."""
        self._put(job, f"{self._name}{REJECTS}", lambda draft: write_rejects(rejects, draft), still)
        return f"{self._url}{REJECTS}"

    def rejects_there(self, job: str) -> str:
        """See `Target`."""
        there = self._bucket.job_of(f"{self._name}{REJECTS}") == job
        return f"{self._url}{REJECTS}" if there else ""

    def first(self, job: str, shape: Shape, rows: int) -> pl.DataFrame:
        """See `Target`."""
        path = self.file(job, "result")
        return pl.DataFrame() if path is None else read_first(path, shape, rows, True)

    def file(self, job: str, which: str) -> Path | None:
        """See `Target`: a copy among the workspace's results."""
        it = self._bucket.head(self._name if which == "result" else f"{self._name}{REJECTS}")
        if it is None or self._bucket.job_of(it.path) != job:
            return None
        copy = self._places.results / job / it.path
        if not copy.exists():
            write_pieces(self._bucket.pieces(it), copy, it.path, None)
        return copy

    def _put(self, job: str, name: str, write: Callable[[Path], None], still: Still) -> None:
        there = self._bucket.job_of(name)
        if there == job:
            return
        if there is not None and not self._overwrite:
            raise exists(f"{self._bucket.url}/{name}")
        self._places.staging.mkdir(parents=True, exist_ok=True)
        draft = self._places.staging / f"{new_id()}.draft"
        try:
            write(draft)
            still()
            self._bucket.put(name, draft, job, overwrite=self._overwrite)
        except FileExistsError as error:
            raise exists(f"{self._bucket.url}/{name}") from error
        finally:
            draft.unlink(missing_ok=True)
