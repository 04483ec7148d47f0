"""The port of engines."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Protocol

from headrace.batch.job import Chunk, Counts


class Engine(Protocol):
    """Has every chunk scored, wherever that happens; the parts are kept by whoever scores."""

    def scored(self, chunks: Iterable[Chunk], score: Callable[[Chunk], Counts]) -> Generator[tuple[Chunk, Counts]]: ...
