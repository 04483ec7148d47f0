"""The port of targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import polars as pl

from headrace.batch.job import Format
from headrace.batch.reading import Reject
from headrace.batch.writing import Answers, Shape

Still = Callable[[], None]
"""Raises where the job is no longer this process's to end."""


class Target(Protocol):
    """A place for the answers of one job."""

    form: Format
    own: tuple[Path, ...]
    """Files of this machine that the job writes, and that are no part of its source."""

    def check(self, sources: Iterable[Path]) -> None:
        """See that a new job can put its answers there.

        Raises:
            Conflict: something is there.
            InvalidInput: it never could.
        """
        ...

    def holds(self, job: str) -> bool:
        """Whether what a job put there is still there."""
        ...

    def deliver(self, job: str, answers: Answers, shape: Shape, still: Still) -> None:
        """Put the answers there, unless the job did so before a crash."""
        ...

    def deliver_rejects(self, job: str, rejects: Iterable[Iterable[Reject]], still: Still) -> str:
        """Put the rejected rows beside them; gives where, for people."""
        ...

    def rejects_there(self, job: str) -> str:
        """Where the rejected rows of a job lie, if it put them there."""
        ...

    def first(self, job: str, shape: Shape, rows: int) -> pl.DataFrame:
        """The first answers of a job that put them there."""
        ...

    def file(self, job: str, which: str) -> Path | None:
        """The ``result`` or the ``rejects`` of a job as a file here, if there is such a one."""
        ...
