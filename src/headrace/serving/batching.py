"""Natural batching: a call takes whatever queued while the last one ran. It adds no delay of its own.

A scorer whose calls are quick runs in the event loop; one past `INLINE_SECONDS` runs in a thread of its own, so
that health checks stay quick. Where a batch raises, its requests run one by one, and then row by row, so that only
the row at fault is rejected.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from headrace.kernel.errors import HeadraceError, SchemaViolation
from headrace.kernel.ports import Answers, Columns, Scorer
from headrace.serving.counters import Counters

INLINE_SECONDS = 0.001
MOST_ROWS = 10_000
SMOOTHING = 0.2


class _Waiting(NamedTuple):
    columns: Columns
    rows: int
    future: asyncio.Future[Answers]


class Batcher:
    """The queue before one scorer."""

    def __init__(self, scorer: Scorer, counters: Counters, pool: ThreadPoolExecutor) -> None:
        self.scorer = scorer
        self._counters = counters
        self._pool = pool
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._seconds = INLINE_SECONDS

    async def answer(self, columns: Columns, rows: int) -> Answers:
        """The scorer's answers to these rows, whatever else is in the batch.

        Raises:
            SchemaViolation: the model raised at a row; the row is named.
        """
        future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(columns, rows, future))
        if not self._busy:
            self._busy = True
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = self._take()
                if self._seconds < INLINE_SECONDS:
                    results = self._run(batch)
                else:
                    results = await loop.run_in_executor(self._pool, self._run, batch)
                for waiting, result in zip(batch, results, strict=True):
                    if waiting.future.cancelled():
                        continue
                    if isinstance(result, BaseException):
                        waiting.future.set_exception(result)
                    else:
                        waiting.future.set_result(result)
        finally:
            self._busy = False

    def _take(self) -> list[_Waiting]:
        taken, rows = 0, 0
        for waiting in self._waiting:
            if taken and rows + waiting.rows > MOST_ROWS:
                break
            taken, rows = taken + 1, rows + waiting.rows
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch

    def _run(self, batch: list[_Waiting]) -> list[Answers | BaseException]:
        started = time.perf_counter()
        rows = sum(waiting.rows for waiting in batch)
        try:
            answers = self.scorer.answer(_merged(batch), rows)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if len(batch) > 1:
                return [result for waiting in batch for result in self._run([waiting])]
            return [self._blame(batch[0], error)]
        self._seconds += SMOOTHING * (time.perf_counter() - started - self._seconds)
        self._counters.batch_rows.add(rows)
        return list(_parted(answers, batch))

    def _blame(self, waiting: _Waiting, error: BaseException) -> BaseException:
        if isinstance(error, HeadraceError):
            return error
        for row in range(waiting.rows):
            try:
                self.scorer.answer({name: values[row : row + 1] for name, values in waiting.columns.items()}, 1)
            except BaseException as one:
                return _raised(row, one)
        return _raised(None, error)


def _raised(row: int | None, error: BaseException) -> SchemaViolation:
    return SchemaViolation(
        f"The model raised {type(error).__name__} at {'these rows' if row is None else f'row {row}'}: {error}.",
        row=row,
        todo="Correct the row; the model's own predict raises at it in every form.",
    )


def _merged(batch: list[_Waiting]) -> Columns:
    if len(batch) == 1:
        return batch[0].columns
    return {name: [v for waiting in batch for v in waiting.columns[name]] for name in batch[0].columns}


def _parted(answers: Answers, batch: list[_Waiting]) -> list[Answers]:
    parts, start = [], 0
    for waiting in batch:
        end = start + waiting.rows
        probabilities = None if answers.probabilities is None else answers.probabilities[start:end]
        parts.append(Answers(answers.predictions[start:end], probabilities))
        start = end
    return parts
