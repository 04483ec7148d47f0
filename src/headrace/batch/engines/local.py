"""Threads of this process: what they spend their time in (parsing, the graph, writing) holds no lock of Python's."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO

from headrace.batch.engines.engine import Keep
from headrace.batch.job import Chunk, Counts
from headrace.batch.parts import Part
from headrace.batch.scoring import Order, Scoring
from headrace.kernel.ports import Columns, Scorer


class LocalEngine:
    """Scores chunks in `threads` threads. See `batch.engines.engine.Engine`.

    Args:
        scratch: a folder on the disk where the answers are kept, for files without a name.
    """

    turn = 0.0

    def __init__(self, threads: int, scorer: Scorer, golden: Callable[[], Columns], scratch: Path) -> None:
        self._threads = threads
        self._scorer = scorer
        self._golden = golden
        self._scratch = scratch

    def scored(self, chunks: Sequence[Chunk], order: Order, keep: Keep) -> Generator[tuple[Chunk, Counts]]:
        """See `Engine`; while one part is kept, no more chunks are begun than threads work at."""
        scoring = Scoring(order, self._scorer, self._golden)
        self._scratch.mkdir(parents=True, exist_ok=True)

        def one(chunk: Chunk) -> tuple[Part, IO[bytes]]:
            answers = tempfile.TemporaryFile(dir=self._scratch, buffering=0)  # noqa: SIM115 - whoever keeps it closes it
            try:
                return scoring.part(chunk, answers), answers
            except BaseException:
                answers.close()
                raise

        left = iter(chunks)
        under_way: deque[tuple[Chunk, Future[tuple[Part, IO[bytes]]]]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="chunk") as pool:
            try:
                for chunk in islice(left, self._threads):
                    under_way.append((chunk, pool.submit(one, chunk)))
                while under_way:
                    chunk, future = under_way.popleft()
                    part, answers = future.result()
                    for following in islice(left, 1):
                        under_way.append((following, pool.submit(one, following)))
                    with answers:
                        keep(chunk, part, answers)
                    yield chunk, part.counts
            finally:
                pool.shutdown(cancel_futures=True)
                for _, future in under_way:
                    if not future.cancelled() and future.exception() is None:
                        future.result()[1].close()
