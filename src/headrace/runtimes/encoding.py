"""The encoding stage: rows of the schema become one matrix of doubles, by dict look-up and nothing else."""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from headrace.kernel.errors import SchemaViolation
from headrace.kernel.ports import Coded, Columns
from headrace.runtimes.plan import Encoder, Lookup, Number, Words

_NAN = math.nan
FEW = 4
"""Up to as many rows are encoded row by row: below it a call of numpy for each column costs more."""


class Encoding:
    """The encoders of a plan, ready to run."""

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self._encoders = [_RUNNING[type(encoder)](encoder) for encoder in encoders]
        self.width = sum(encoder.width for encoder in self._encoders)
        plain = [isinstance(e, _NumberEncoder) and e.plain for e in self._encoders]
        first = plain.index(False) if False in plain else len(plain)
        self._first = [encoder.column for encoder in self._encoders[:first]]
        self._rest = [(encoder.column, encoder.extend) for encoder in self._encoders[first:]]

    def encode(self, columns: Columns, rows: int, first: int = 0) -> np.ndarray:
        """`rows` rows of columns as doubles of shape [rows, width].

        Args:
            columns: lists, arrays of numbers, or `Coded` texts.
            first: the number of the first row, for errors.

        Raises:
            SchemaViolation: a value that the model refuses; names the row and the field.
        """
        if 0 < rows <= FEW:
            try:
                return np.array([self._row(columns, row) for row in range(rows)], dtype=np.float64)
            except SchemaViolation:
                pass  # column by column it is met again, and its row is known
        matrix = np.empty((rows, self.width))
        place = len(self._first)
        if place:
            matrix[:, :place] = np.array([columns[name] for name in self._first], dtype=np.float64).T
        for encoder in self._encoders[place:]:
            encoder.fill(matrix[:, place : place + encoder.width], columns[encoder.column], first)
            place += encoder.width
        return matrix

    def _row(self, columns: Columns, place: int) -> list[float]:
        row = [_NAN if (value := columns[name][place]) is None else value for name in self._first]
        for name, extend in self._rest:
            extend(row, columns[name][place])
        return row


class _NumberEncoder:
    width = 1

    def __init__(self, encoder: Number) -> None:
        self.column = encoder.column
        self._dtype = encoder.round
        self._round = _ROUND.get(encoder.round)
        self._least = -math.inf if encoder.least is None else encoder.least
        self._most = math.inf if encoder.most is None else encoder.most
        self._limited = encoder.least is not None or encoder.most is not None
        self.plain = self._round is None and not self._limited

    def extend(self, row: list[float], value: Any) -> None:
        """Append one value."""
        if value is None:
            value = math.nan
        elif self._round is not None:
            value = self._round(value)
        elif self._limited and not self._least <= value <= self._most:
            raise self._outside(0, value)
        row.append(value)

    def fill(self, matrix: np.ndarray, values: Any, first: int) -> None:
        """Write the column into `matrix`, of shape [n, 1]."""
        numbers = np.asarray(values, dtype=np.float64)
        if self._dtype:
            with np.errstate(over="ignore"):
                numbers = numbers.astype(self._dtype).astype(np.float64)
        outside = (numbers < self._least) | (numbers > self._most) if self._limited else None
        if outside is not None and outside.any():
            row = int(outside.argmax())
            raise self._outside(first + row, values[row])
        matrix[:, 0] = numbers

    def _outside(self, row: int, value: Any) -> SchemaViolation:
        return refused(row, self.column, value, f"its column holds {self._least:g} to {self._most:g}")


def _half(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float16(value))


_ROUND: dict[str, Callable[[float], float]] = {"float32": lambda value: ctypes.c_float(value).value, "float16": _half}


class _LookupEncoder:
    def __init__(self, encoder: Lookup) -> None:
        self.column = encoder.column
        self.width = encoder.width
        rows = [[math.nan if cell is None else cell for cell in row] for row in encoder.table]
        self._table = np.array(rows, dtype=np.float64).reshape(len(rows), encoder.width)
        self._rows = rows
        self._places: dict[Any, int] = {value: place for place, value in enumerate([*encoder.values, None])}
        self._unseen = len(encoder.values) + 1
        self._refused = encoder.refused
        self._is_refused = np.array([place in encoder.refused for place in range(len(rows))])

    def extend(self, row: list[float], value: Any) -> None:
        """Append the doubles of one value."""
        place = self._places.get(value, self._unseen)
        if place in self._refused:
            raise refused(0, self.column, value, self._refused[place])
        row += self._rows[place]

    def fill(self, matrix: np.ndarray, values: Any, first: int) -> None:
        """Write the column into `matrix`, of shape [n, width]."""
        coded = isinstance(values, Coded)
        places = self._places_of(values.values if coded else values)
        if self._refused and self._is_refused[places].any():
            each = places[values.codes] if coded else places
            row = int(self._is_refused[each].argmax())
            if self._is_refused[each[row]]:
                raise refused(first + row, self.column, values[row], self._refused[int(each[row])])
        found = self._table[places]
        matrix[:] = found[values.codes] if coded else found

    def _places_of(self, values: Any) -> np.ndarray:
        find, unseen = self._places.get, self._unseen
        return np.array([find(value, unseen) for value in values], dtype=np.int64)


class _WordsEncoder:
    def __init__(self, encoder: Words) -> None:
        self.column = encoder.column
        self.width = len(encoder.vocabulary)
        self._it = encoder
        self._terms = _terms(encoder)

    def extend(self, row: list[float], value: Any) -> None:
        """Append the counts of one text."""
        counts = np.empty(self.width)
        self._count(counts, value, 0)
        row += counts.tolist()

    def fill(self, matrix: np.ndarray, values: Any, first: int) -> None:
        """Write the counts into `matrix`, of shape [n, terms]."""
        for row, value in enumerate(values):
            self._count(matrix[row], value, first + row)

    def _count(self, counts: np.ndarray, text: Any, row: int) -> None:
        if text is None:
            raise refused(row, self.column, None, self._it.refuses_null)
        counts[:] = 0.0
        vocabulary = self._it.vocabulary
        for term in self._terms(text):
            place = vocabulary.get(term)
            if place is not None:
                counts[place] = 1.0 if self._it.binary else counts[place] + 1.0


_RUNNING: dict[type, Any] = {Number: _NumberEncoder, Lookup: _LookupEncoder, Words: _WordsEncoder}


def refused(row: int, column: str, value: Any, reason: str) -> SchemaViolation:
    """A value at which the Python model raises."""
    return SchemaViolation(
        f"Row {row}, field {column!r}: the model refuses {'null' if value is None else repr(value)}: {reason}",
        row=row,
        field=column,
        todo="Correct the value, or fit the model with a step that handles it.",
    )


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
