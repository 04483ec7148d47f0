"""Threads of this process: what they spend their time in (parsing, the graph, writing) holds no lock of Python's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from headrace.batch.engines.engine import Keep
from headrace.batch.job import Chunk, Counts
from headrace.batch.scoring import Order, Scoring
from headrace.kernel.ports import Columns, Scorer


class LocalEngine:
    """Scores chunks in `threads` threads. See `batch.engines.engine.Engine`."""

    turn = 0.0

    def __init__(self, threads: int, scorer: Scorer, golden: Callable[[], Columns]) -> None:
        self._threads = threads
        self._scorer = scorer
        self._golden = golden

    def scored(self, chunks: Sequence[Chunk], order: Order, keep: Keep) -> Generator[tuple[Chunk, Counts]]:
        """See `Engine`; no more chunks are begun than threads work at."""
        scoring = Scoring(order, self._scorer, self._golden)

        def one(chunk: Chunk) -> Counts:
            part = scoring.part(chunk)
            keep(chunk, part)
            return part.counts

        left = iter(chunks)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="chunk") as pool:
            under_way: dict[Future[Counts], Chunk] = {}
            try:
                while True:
                    for chunk in islice(left, self._threads - len(under_way)):
                        under_way[pool.submit(one, chunk)] = chunk
                    if not under_way:
                        return
                    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                        yield under_way.pop(future), future.result()
            finally:
                pool.shutdown(cancel_futures=True)
