"""The encoding stage: rows of the schema become one matrix of doubles, by dict look-up and nothing else."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from headrace.kernel.errors import SchemaViolation
from headrace.kernel.ports import Columns
from headrace.runtimes.plan import Category, Encoder, Number, Words

FEW_ROWS = 8


class Encoding:
    """The encoders of a plan, ready to run."""

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self._encoders = [_RUNNING[type(encoder)](encoder) for encoder in encoders]
        self.width = sum(encoder.width for encoder in self._encoders)
        self._scalars = [(e.column, e.scalar) for e in self._encoders if e.width == 1]
        self._plain = len(self._scalars) == len(self._encoders)

    def encode(self, columns: Columns, rows: int) -> np.ndarray:
        """`rows` rows of columns (lists, or arrays of numbers) as doubles of shape [rows, width].

        Raises:
            SchemaViolation: a value that the model refuses; names the row and the field.
        """
        if rows == 1 and self._plain:
            return np.array([[scalar(columns[name][0], 0) for name, scalar in self._scalars]], dtype=np.float64)
        matrix = np.empty((rows, self.width))
        place = 0
        for encoder in self._encoders:
            encoder.fill(matrix[:, place : place + encoder.width], columns[encoder.column])
            place += encoder.width
        return matrix


class _NumberEncoder:
    width = 1

    def __init__(self, encoder: Number) -> None:
        self.column = encoder.column
        self._reason = encoder.refuses_null
        self.scalar = self._checked if self._reason else _number

    def _checked(self, value: Any, row: int) -> float:
        if value is None or value != value:
            raise refused(row, self.column, None, self._reason)
        return value

    def fill(self, matrix: np.ndarray, values: Any) -> None:
        """Write the column into `matrix`, of shape [n, 1]."""
        matrix[:, 0] = np.asarray(values, dtype=np.float64)
        if self._reason and np.isnan(matrix[:, 0]).any():
            raise refused(int(np.isnan(matrix[:, 0]).argmax()), self.column, None, self._reason)


class _CategoryEncoder:
    width = 1

    def __init__(self, encoder: Category) -> None:
        self.column = encoder.column
        self._codes: dict[Any, float] = {value: float(code) for code, value in enumerate(encoder.values)}
        self._codes[None] = float(len(encoder.values))
        self._unseen = float(len(encoder.values) + 1)
        self._refused = {float(code): text for code, text in encoder.refused.items()}
        self.scalar = self._checked if self._refused else self._code

    def _code(self, value: Any, _row: int) -> float:
        return self._codes.get(value, self._unseen)

    def _checked(self, value: Any, row: int) -> float:
        code = self._codes.get(value, self._unseen)
        if code in self._refused:
            raise refused(row, self.column, value, self._refused[code])
        return code

    def fill(self, matrix: np.ndarray, values: Any) -> None:
        """Write the column into `matrix`, of shape [n, 1]."""
        codes, unseen = self._codes, self._unseen
        matrix[:, 0] = [codes.get(value, unseen) for value in values]
        if self._refused:
            for row, value in enumerate(values):
                self._checked(value, row)


class _WordsEncoder:
    def __init__(self, encoder: Words) -> None:
        self.column = encoder.column
        self.width = len(encoder.vocabulary)
        self._it = encoder
        self._terms = _terms(encoder)

    def scalar(self, value: Any, row: int) -> float:
        """The count of the one term there is."""
        matrix = np.empty((1, self.width))
        self._count(matrix[0], value, row)
        return float(matrix[0, 0])

    def fill(self, matrix: np.ndarray, values: Any) -> None:
        """Write the counts into `matrix`, of shape [n, terms]."""
        for row, value in enumerate(values):
            self._count(matrix[row], value, row)

    def _count(self, counts: np.ndarray, text: Any, row: int) -> None:
        if text is None:
            raise refused(row, self.column, None, self._it.refuses_null)
        counts[:] = 0.0
        vocabulary = self._it.vocabulary
        for term in self._terms(text):
            place = vocabulary.get(term)
            if place is not None:
                counts[place] = 1.0 if self._it.binary else counts[place] + 1.0


_RUNNING: dict[type, Any] = {Number: _NumberEncoder, Category: _CategoryEncoder, Words: _WordsEncoder}


def refused(row: int, column: str, value: Any, reason: str) -> SchemaViolation:
    """A value at which the Python model raises."""
    return SchemaViolation(
        f"Row {row}, field {column!r}: the model refuses {'null' if value is None else repr(value)}: {reason}",
        row=row,
        field=column,
        todo="Correct the value, or fit the model with a step that handles it.",
    )


def _number(value: Any, _row: int) -> float:
    return math.nan if value is None else value


def _terms(it: Words) -> Callable[[str], Iterator[str]]:
    find = re.compile(it.pattern).findall
    stop = frozenset(it.stop)
    clean = _STRIP[it.strip]

    def terms(text: str) -> Iterator[str]:
        text = clean(text.lower() if it.lowercase else text)
        if it.analyzer == "word":
            words = [word for word in find(text) if word not in stop]
            return _runs(words, it.shortest, it.longest, " ".join)
        text = re.sub(r"\s\s+", " ", text)
        if it.analyzer == "char":
            return _runs(text, it.shortest, it.longest, str)
        return _bounded_runs(text, it.shortest, it.longest)

    return terms


def _runs(parts: Any, shortest: int, longest: int, join: Callable[[Any], str]) -> Iterator[str]:
    for length in range(shortest, min(longest, len(parts)) + 1):
        for start in range(len(parts) - length + 1):
            yield join(parts[start : start + length])


def _bounded_runs(text: str, shortest: int, longest: int) -> Iterator[str]:
    for word in text.split():
        padded = f" {word} "
        for length in range(shortest, longest + 1):
            yield padded[:length]
            start = 0
            while start + length < len(padded):
                start += 1
                yield padded[start : start + length]
            if start == 0:
                break


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ASCII", "ignore").decode("ASCII")


def _unicode(text: str) -> str:
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


_STRIP: dict[str, Callable[[str], str]] = {"": str, "ascii": _ascii, "unicode": _unicode}
