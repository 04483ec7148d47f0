"""The ports: one for each place where several real technologies stand behind the same words.

Databases are SQLAlchemy's business and object storage is obstore's, so there is none for those.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from headrace.kernel.records import Runtime, Task
from headrace.kernel.schema import Scalar, Schema

Columns = dict[str, list[Scalar]]
"""Rows as columns: a list for each feature, all of one length; dates as ISO 8601 texts."""


class Answers(NamedTuple):
    """What a model says of n rows: `predictions` has n values of the class's own type or numbers, or n lists of them
    where a model gives several answers a row; `probabilities` has n lists with a probability for each class, or is
    None where the model gives none."""

    predictions: list[Any]
    probabilities: list[list[float]] | None


class Scorer(Protocol):
    """A bundle, loaded and able to answer.

    `answer` gives the same result for a row whatever rows stand beside it, up to the level that the
    certificate states. It raises whatever the model raises; callers isolate the row.
    """

    @property
    def schema(self) -> Schema: ...

    @property
    def task(self) -> Task: ...

    @property
    def classes(self) -> tuple[Scalar, ...]: ...

    @property
    def runtime(self) -> Runtime: ...

    def answer(self, columns: Columns, rows: int) -> Answers: ...
