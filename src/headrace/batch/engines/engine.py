"""The port of engines."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import IO, Protocol

from headrace.batch.job import Chunk, Counts
from headrace.batch.parts import Part
from headrace.batch.scoring import Order

Keep = Callable[[Chunk, Part, IO[bytes]], None]
"""Keeps what a chunk gave, with the file of its answers."""


class Engine(Protocol):
    """Has every chunk scored, wherever that happens. `turn` is how many seconds it should at least be let work
    before it is stopped for a while, because beginning again costs it something."""

    turn: float

    def scored(self, chunks: Sequence[Chunk], order: Order, keep: Keep) -> Generator[tuple[Chunk, Counts]]:
        """Each chunk once its part is kept, one after the other in their order; closed early, it leaves the rest.

        Args:
            keep: keeps a part, on this machine.

        Raises:
            Unavailable: the engine, or a library of it, is not there.
        """
        ...
