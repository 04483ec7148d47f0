"""What every dialect consists of."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import numpy as np

from headrace.kernel.errors import InvalidInput
from headrace.kernel.ports import AnswerArrays, Answers
from headrace.kernel.routes import Rule
from headrace.serving.bodies import Body
from headrace.serving.decoding import Rows
from headrace.serving.endpoints import Loaded
from headrace.serving.replies import Reply


class Asked(msgspec.Struct, frozen=True):
    """The rows of a request, and what the dialect must remember for its reply."""

    rows: Rows
    note: Any = None


class Answered(msgspec.Struct, frozen=True):
    """The answers to a request, and what they are answers to. `answers` are arrays where the rows were."""

    loaded: Loaded
    rule: Rule
    id: str
    answers: Answers | AnswerArrays
    note: Any = None

    def lists(self) -> Answers:
        """The answers as Python values."""
        return self.answers.lists() if isinstance(self.answers, AnswerArrays) else self.answers

    def plain(self) -> list[Any]:
        """One value for each row: the prediction, or the list of probabilities where the model's policy says so."""
        answers = self.lists()
        if self.rule.answer == "probability" and answers.probabilities is not None:
            return answers.probabilities
        return answers.predictions


class Dialect(Protocol):
    """One protocol's way to ask and to be answered."""

    name: str

    def decode(self, body: Body, loaded: Loaded) -> Asked: ...

    def encode(self, answered: Answered) -> Reply: ...

    def failed(self, document: dict[str, Any]) -> dict[str, Any]: ...


class FrameCodec(Protocol):
    """A format of whole tables, such as Arrow: decoded to columns and encoded from arrays."""

    kind: bytes

    def decode(self, content: bytes, loaded: Loaded) -> Rows: ...

    def encode(self, answered: Answered) -> bytes: ...


Codecs = dict[bytes, FrameCodec]
"""By content type."""


def row_objects(loaded: Loaded, rows: Any) -> Rows:
    """Rows given as objects by name, as lists in the order of the features, or as plain values of a single feature.

    Raises:
        InvalidInput: they are none of these.
        SchemaViolation: a value breaks the schema.
    """
    names = loaded.features
    if not isinstance(rows, list):
        raise _no_rows(rows, names)
    if rows:
        loaded.decoder.count(len(rows))
    if rows and all(isinstance(row, dict) for row in rows):
        return loaded.decoder.convert([_flat(row) for row in rows])
    if rows and all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return loaded.decoder.convert([dict(zip(names, row, strict=True)) for row in rows])
    if len(names) == 1 and not any(isinstance(row, dict | list) for row in rows):
        return loaded.decoder.convert([{names[0]: value} for value in rows])
    raise _no_rows(rows, names)


def column_objects(loaded: Loaded, columns: dict[str, Any]) -> Rows:
    """Rows given as columns: a list of values for each name, all of one length; ``[n, 1]`` counts as ``[n]``.

    Raises:
        InvalidInput: the columns are not lists of one length.
        SchemaViolation: a value breaks the schema.
    """
    lists = {name: _column(name, values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) != 1:
        raise InvalidInput(
            f"The columns have the lengths {lengths}.",
            expected="a list for each column, all of one length",
            todo="Send one value for each row and column; null for what is not known.",
        )
    loaded.decoder.count(max(lengths.values()))
    names = list(lists)
    return loaded.decoder.convert([dict(zip(names, row, strict=True)) for row in zip(*lists.values(), strict=True)])


def refuse_twice(names: list[str]) -> None:
    """Refuse a table with two columns of one name.

    Raises:
        InvalidInput: it has.
    """
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"The column {twice!r} is there twice.", expected="each once", todo="Leave one of them out.")


def _column(name: str, values: Any) -> list[Any]:
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, list):
        return [values]
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row in which a value may stand alone in a list, as tensors of shape [1] do."""
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in row.items()}


def _no_rows(rows: Any, names: list[str]) -> InvalidInput:
    found, place = f"The rows are {type(rows).__name__}", None
    if isinstance(rows, list):
        kind = dict if rows and isinstance(rows[0], dict) else list
        good = (isinstance(row, kind) and (kind is dict or len(row) == len(names)) for row in rows)
        place = next((at for at, is_good in enumerate(good) if not is_good), None)
        found = "There are no rows" if place is None else f"Row {place} is {_shown(rows[place])}"
    return InvalidInput(
        f"{found}, which cannot be read.",
        row=place,
        expected=f"a list of objects by name, or of lists of {len(names)} values in the order {', '.join(names[:20])}",
        todo="Send one of these.",
    )


def _shown(row: Any) -> str:
    return f"a list of {len(row)}" if isinstance(row, list) else type(row).__name__
