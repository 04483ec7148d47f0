"""Natural batching: a call takes whatever queued while the last one ran. It adds no delay of its own.

How a request is answered is gated on the measured cost of a call. Where calls are cheap, a request that is alone is
answered at once, and one in a crowd with all that arrived in the same turn of the event loop. Past `INLINE_SECONDS`
the model runs in a thread of its own, so that health checks and other models stay quick. Where a batch raises, its
requests run one by one, and then row by row, so that only the row at fault is rejected.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from headrace.kernel.errors import DeadlinePassed, HeadraceError, Overloaded, SchemaViolation
from headrace.kernel.ports import AnswerArrays, Answers, Columns, Scorer
from headrace.serving.counters import Counters
from headrace.serving.decoding import Rows

INLINE_SECONDS = 0.001
INLINE_ROWS = 64
MOST_ROWS = 10_000
SMOOTHING = 0.2
LOOK_EVERY = 16


Settle = Callable[[Answers | BaseException], None]
"""Takes the answers to some rows, or what the model raised at them. It raises nothing."""


class _Waiting(msgspec.Struct, frozen=True):
    columns: Columns
    rows: int
    settle: Settle
    gone: Callable[[], bool] | None


class Batcher:
    """The queue before one scorer."""

    def __init__(self, scorer: Scorer, counters: Counters) -> None:
        self.scorer = scorer
        self._counters = counters
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._running = False
        self._seconds = INLINE_SECONDS
        self._crowded = True
        self._alone = 0

    @property
    def cheap(self) -> bool:
        """Whether a call takes so little time that it needs no thread, and none is running in one."""
        return self._seconds < INLINE_SECONDS and not self._running

    def at_once(self, rows: Rows) -> bool:
        """Whether to answer without a queue: calls are cheap, and nothing else arrived in the last turns."""
        if self._crowded or self._busy or self._seconds >= INLINE_SECONDS or rows.count > INLINE_ROWS or rows.bulk:
            return False
        self._alone += 1
        return self._alone % LOOK_EVERY != 0

    def single(self, columns: Columns, rows: int) -> Answers:
        """The answers to these rows, here and now.

        Raises:
            SchemaViolation: the model raised at a row.
        """
        started = time.perf_counter()
        try:
            answers = self.scorer.answer(columns, rows)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # polars panics with one that is no Exception
            raise self._blame(columns, rows, error) from error
        self._seconds += SMOOTHING * (time.perf_counter() - started - self._seconds)
        self._counters.batch_rows.add(rows)
        return answers

    async def answer(self, columns: Columns, rows: int, seconds: float) -> Answers:
        """The scorer's answers to these rows, whatever else is in the batch.

        Args:
            seconds: the longest to wait.

        Raises:
            SchemaViolation: the model raised at a row; the row is named.
            DeadlinePassed: the time was over before the answers were there.
        """
        future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()

        def settle(result: Answers | BaseException) -> None:
            if future.done():
                return
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.ask(columns, rows, settle, future.done)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError as error:
            raise passed(seconds) from error

    def ask(self, columns: Columns, rows: int, settle: Settle, gone: Callable[[], bool] | None = None) -> None:
        """Put rows into the next batch.

        Args:
            settle: called with the answers, in the thread of the event loop.
            gone: whether nobody waits for the answers any more; then `settle` is not called. Without it the caller
                waits without a limit of time, and is told `Overloaded` where the batch does not run at once.
        """
        self._waiting.append(_Waiting(columns, rows, settle, gone))
        self._counters.waiting += rows
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._next)

    async def arrays(self, columns: Columns, rows: int) -> AnswerArrays:
        """The answers to many rows as arrays, in the model's thread.

        Raises:
            SchemaViolation: the model raised at a row.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread(), self._bulk, columns, rows)

    def _next(self) -> None:
        """Take one batch; here where calls are cheap, else in the thread."""
        self._crowded = len(self._waiting) > 1
        inline = bool(self._waiting) and self.cheap and self._waiting[0].rows <= INLINE_ROWS
        batch = self._take(INLINE_ROWS if inline else MOST_ROWS)
        if inline:
            self._settle(batch, self._run(batch) if batch else [])
        elif batch := self._without_hasty(batch):
            self._running = True
            running = asyncio.get_running_loop().run_in_executor(self._thread(), self._run, batch)
            running.add_done_callback(lambda done: self._ended(batch, done))
            return
        self._busy = bool(self._waiting)
        if self._busy:
            asyncio.get_running_loop().call_soon(self._next)

    def _ended(self, batch: list[_Waiting], done: asyncio.Future[list[Answers | BaseException]]) -> None:
        self._running = False
        error = done.exception()
        self._settle(batch, done.result() if error is None else [error] * len(batch))
        self._next()

    def _settle(self, batch: list[_Waiting], results: list[Answers | BaseException]) -> None:
        for waiting, result in zip(batch, results, strict=True):
            try:
                waiting.settle(result)
            except Exception:  # a mistake of ours at one caller, which must not reach the others
                traceback.print_exc()

    def _without_hasty(self, batch: list[_Waiting]) -> list[_Waiting]:
        """The batch without those that wait no longer than a turn; they are told so, here and in the queue."""
        hasty = [waiting for waiting in (*batch, *self._waiting) if waiting.gone is None]
        if hasty:
            batch = [waiting for waiting in batch if waiting.gone is not None]
            self._counters.waiting -= sum(waiting.rows for waiting in self._waiting if waiting.gone is None)
            self._waiting = [waiting for waiting in self._waiting if waiting.gone is not None]
            self._settle(hasty, [Overloaded("A large batch is running.", todo="Wait.")] * len(hasty))
        return batch

    def _take(self, most: int) -> list[_Waiting]:
        """The next batch, of `most` rows or one request; what nobody waits for any more is left out."""
        batch: list[_Waiting] = []
        taken, rows = 0, 0
        for waiting in self._waiting:
            if batch and rows + waiting.rows > most:
                break
            taken += 1
            self._counters.waiting -= waiting.rows
            if waiting.gone is None or not waiting.gone():
                batch.append(waiting)
                rows += waiting.rows
        self._waiting = self._waiting[taken:]
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
            return [self._blame(batch[0].columns, batch[0].rows, error)]
        if rows <= INLINE_ROWS:
            self._seconds += SMOOTHING * (time.perf_counter() - started - self._seconds)
        self._counters.batch_rows.add(rows)
        return [answers] if len(batch) == 1 else _parted(answers, batch)

    def _bulk(self, columns: Columns, rows: int) -> AnswerArrays:
        try:
            answers = self.scorer.arrays(columns, rows)
        except (HeadraceError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise self._blame(columns, rows, error) from error
        self._counters.batch_rows.add(rows)
        return answers

    def _blame(self, columns: Columns, rows: int, error: BaseException) -> BaseException:
        if isinstance(error, HeadraceError):
            return error
        for row in range(rows):
            try:
                self.scorer.answer({name: values[row : row + 1] for name, values in columns.items()}, 1)
            except BaseException as one:
                return _raised(row, one)
        return _raised(None, error)

    def _thread(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        return self._pool


def passed(seconds: float) -> DeadlinePassed:
    """The error of an answer that took too long."""
    return DeadlinePassed(
        f"The answer was not there within {seconds * 1000:g} ms.",
        todo="Allow more time, send fewer rows, or look at the model's latency in 'headrace status'.",
    )


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


def _parted(answers: Answers, batch: list[_Waiting]) -> list[Answers | BaseException]:
    parts: list[Answers | BaseException] = []
    start = 0
    for waiting in batch:
        end = start + waiting.rows
        probabilities = None if answers.probabilities is None else answers.probabilities[start:end]
        parts.append(Answers(answers.predictions[start:end], probabilities))
        start = end
    return parts
