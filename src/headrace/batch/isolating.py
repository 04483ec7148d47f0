"""Finding the rows at which something raises, by halves, so that the others are worked at together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from headrace.kernel.errors import HeadraceError, InvalidInput

Made = TypeVar("Made")
NOT_OF_A_ROW = (MemoryError, OSError, ImportError)
EXHAUSTED = ("bad_alloc", "can't start new thread", "out of memory", "Failed to allocate")
"""What libraries say when the machine has no more to give."""


def isolated(rows: int, work: Callable[[slice], Made]) -> tuple[list[tuple[slice, Made]], list[tuple[int, Exception]]]:
    """What `work` makes of the rows in their order, in parts, and the rows at which it raises.

    An error that says nothing about a row (something that is needed is not there) is raised.
    """
    good: list[tuple[slice, Made]] = []
    bad: list[tuple[int, Exception]] = []
    waiting = [slice(0, rows)] if rows else []
    while waiting:
        part = waiting.pop()
        try:
            good.append((part, work(part)))
        except Exception as error:  # a model may raise anything at a row
            if not _of_a_row(error):
                raise
            if part.stop - part.start == 1:
                bad.append((part.start, error))
                continue
            middle = (part.start + part.stop) // 2
            waiting += [slice(middle, part.stop), slice(part.start, middle)]
    return good, bad


def _of_a_row(error: Exception) -> bool:
    """Whether an error may be that of a row: not one of memory, files, libraries, or of ours."""
    if isinstance(error, HeadraceError):
        return isinstance(error, InvalidInput)
    said = str(error)
    return not isinstance(error, NOT_OF_A_ROW) and not any(words in said for words in EXHAUSTED)
