"""The ports: one for each place where several real technologies stand behind the same words.

Databases are SQLAlchemy's business and object storage is obstore's, so there is none for those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from headrace.kernel.records import Runtime, Task
from headrace.kernel.schema import Scalar, Schema

Columns = dict[str, Any]
"""Rows as columns: for each feature a list, an array of numbers or `Coded` texts, all of one length.

In lists None stands for null, and dates are ISO 8601 texts; in arrays NaN stands for null.
"""


class Coded:
    """Texts as places in a list of distinct values, one of which may be None; reads as a sequence of them."""

    def __init__(self, codes: Any, values: list[str | None]) -> None:
        self.codes = codes
        self.values = values

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Coded(self.codes[place], self.values)
        return self.values[int(self.codes[place])]

    def __iter__(self) -> Iterator[str | None]:
        places: list[int] = self.codes.tolist()
        return (self.values[place] for place in places)


class Answers(msgspec.Struct, frozen=True):
    """What a model says of n rows: `predictions` has n values of the class's own type or numbers, or n lists of them
    where a model gives several answers a row; `probabilities` has n lists with a probability for each class, or is
    None where the model gives none."""

    predictions: list[Any]
    probabilities: list[list[float]] | None


class AnswerArrays(msgspec.Struct, frozen=True):
    """The same as arrays: `predictions` of shape [n] or [n, outputs], `probabilities` of shape [n, classes]."""

    predictions: Any
    probabilities: Any

    def lists(self) -> Answers:
        """The same as Python values."""
        shares = self.probabilities
        return Answers(self.predictions.tolist(), None if shares is None else shares.tolist())


class Scorer(Protocol):
    """A bundle, loaded and able to answer.

    `answer` and `arrays` give the same result for a row whatever rows stand beside it, up to the level that the
    certificate states. They raise whatever the model raises; callers isolate the row.
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

    def arrays(self, columns: Columns, rows: int) -> AnswerArrays: ...
