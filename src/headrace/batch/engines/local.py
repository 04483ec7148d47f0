"""Threads of this process: what they spend their time in (parsing, the graph, writing) holds no lock of Python's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from headrace.batch.job import Chunk, Counts


class LocalEngine:
    """Scores chunks in `threads` threads. See `batch.engines.engine.Engine`."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def scored(self, chunks: Iterable[Chunk], score: Callable[[Chunk], Counts]) -> Generator[tuple[Chunk, Counts]]:
        """Each chunk once it is scored, in the order in which that happens; no more are begun than threads work at."""
        left = iter(chunks)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="chunk") as pool:
            under_way: dict[Future[Counts], Chunk] = {}
            try:
                while True:
                    for chunk in islice(left, self._threads - len(under_way)):
                        under_way[pool.submit(score, chunk)] = chunk
                    if not under_way:
                        return
                    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                        yield under_way.pop(future), future.result()
            finally:
                pool.shutdown(cancel_futures=True)
