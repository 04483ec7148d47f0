"""Where the records of a text end: at the ends of lines that stand outside of quotation marks.

A quotation mark opens a field only at its start and closes one only at its end, as RFC 4180 has it. One that stands
within a field (5" pipe) opens nothing, so that it cannot swallow the lines after it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NEWLINE, RETURN = 10, 13
PIECE = 1 << 18


class Marks(NamedTuple):
    """The quotation mark and the delimiter as bytes; `quote` is -1 where nothing is quoted."""

    quote: int
    delimiter: int


def marks(quote: str, delimiter: str) -> Marks:
    """Marks of a dialect."""
    return Marks(ord(quote) if quote else -1, ord(delimiter))


def record_ends(text: np.ndarray, it: Marks, *, whole: bool = True) -> np.ndarray:
    """The places of the newlines that end a record.

    Args:
        text: bytes, uint8 of shape (n,), from the beginning of a record.
        whole: whether nothing comes after it, so that a mark that is not closed in it opened nothing.
    """
    ends = np.flatnonzero(text == NEWLINE)
    return ends[_outside(text, ends, it, whole)]


def counted(text: np.ndarray, byte: int) -> int:
    """How often a byte stands in a text, uint8 of shape (n,); without a mask as long as the text."""
    pieces = (text[start : start + PIECE] for start in range(0, len(text), PIECE))
    return sum(int(np.count_nonzero(piece == byte)) for piece in pieces)


def delimiters(text: np.ndarray, it: Marks) -> np.ndarray:
    """The places of the delimiters that stand outside of quotation marks, in a text after which nothing comes."""
    found = np.flatnonzero(text == it.delimiter)
    return found[_outside(text, found, it, True)]


def _outside(text: np.ndarray, places: np.ndarray, it: Marks, whole: bool) -> np.ndarray:
    """Which places stand outside of quotation marks."""
    turns = _turns(text, it)
    turns = turns[:-1] if whole and len(turns) % 2 else turns
    return np.searchsorted(turns, places) % 2 == 0 if len(turns) else np.ones(len(places), dtype=bool)


def _turns(text: np.ndarray, it: Marks) -> np.ndarray:
    """The places of the quotation marks that open and close fields, in turn."""
    if it.quote < 0:
        return np.empty(0, dtype=np.int64)
    found = np.flatnonzero(text == it.quote)
    if not len(found):
        return found
    before = np.where(found > 0, text[found - 1], NEWLINE)
    opens = (before == it.delimiter) | (before == NEWLINE) | (before == RETURN)
    doubles = np.append(False, np.diff(found) == 1)
    regular = (opens | doubles)[::2].all()  # each mark that should open a field does, or doubles the one before it
    return found if regular else _walked(found, opens)


def _walked(found: np.ndarray, opens: np.ndarray) -> np.ndarray:
    """The turns, mark by mark."""
    turns: list[int] = []
    places, starts = found.tolist(), opens.tolist()
    inside, i = False, 0
    while i < len(places):
        if not inside:
            if starts[i]:
                turns.append(places[i])
                inside = True
        elif i + 1 < len(places) and places[i + 1] == places[i] + 1:
            i += 1  # two marks are one within a field
        else:
            turns.append(places[i])
            inside = False
        i += 1
    return np.array(turns, dtype=np.int64)
