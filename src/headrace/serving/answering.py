"""From a decoded request to its answers: the version is chosen, the model is asked, and what was said is noted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from headrace.kernel.errors import HeadraceError
from headrace.kernel.identifiers import new_id
from headrace.kernel.ports import AnswerArrays, Answers
from headrace.kernel.routes import CHECKING, Key, Rule
from headrace.serving.batching import passed
from headrace.serving.bodies import Body, Headers
from headrace.serving.capture import Capture, Captured, parted
from headrace.serving.counters import Counters
from headrace.serving.decoding import Rows
from headrace.serving.dialects.dialect import Answered, Asked, Dialect
from headrace.serving.endpoints import Active, Endpoints, Held, Loaded, State
from headrace.serving.protecting import WITHHELD, protected
from headrace.serving.replies import Reply

ORDINARY = Rule()
NOTHING = Answers([], None)
LARGE_BODY = 1 << 18
CAPTURED_ROWS = 10_000
MOST_SHADOWS = 256
NOTE_SECONDS = 0.01


class Question(msgspec.Struct, frozen=True):
    """One request, as far as it is known before its rows are."""

    state: State
    active: Active
    dialect: Dialect
    body: Body
    key: Key | None
    seconds: float


class Noted(msgspec.Struct, frozen=True):
    """What is written down of one answer, or of one failure to answer."""

    state: State
    dialect: str
    key: Key | None
    chosen: Loaded
    route: str
    id: str
    rows: Rows
    latency: float
    answers: Answers | AnswerArrays | None
    error: HeadraceError | None
    time: float


class Answering:
    """The core that all dialects share.

    Args:
        secret: what hashes of captured columns are keyed with.
        status_of: the HTTP status of an error; the table stands in `entrypoints`.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        counters: Counters,
        capture: Capture | None,
        secret: bytes,
        status_of: Callable[[HeadraceError], int],
    ) -> None:
        self._endpoints = endpoints
        self._counters = counters
        self._capture = capture
        self.durable = capture is not None and capture.mode == "durable"
        """Whether replies wait for their captures."""
        self._secret = secret
        self._status_of = status_of
        self._unnoted: list[Noted] = []
        self._shadows: set[asyncio.Task[None]] = set()

    async def answer(self, question: Question) -> tuple[Reply, Noted]:
        """The reply to a question, and what is to be noted once it is sent.

        Raises:
            HeadraceError: there is no answer; what can be noted of it was.
        """
        started = time.perf_counter()
        state, active, dialect, body = question.state, question.active, question.dialect, question.body
        key, seconds = question.key, question.seconds
        request = new_id()
        live = active.live.loaded or await self.load(active.live)
        active.live.used = started
        asked = await self._decoded(dialect, body, live)
        chosen, route, shadow = live, "live", None
        if active.canary is not None:
            held, route, shadow = active.choose(_route_key(body.headers, asked.rows, live.time_column, request))
            if held is not active.live:
                chosen = held.loaded or await self.load(held)
                held.used = started
                if chosen.schema != live.schema:
                    asked = await self._decoded(dialect, body, chosen)
        rows = asked.rows
        try:
            batcher = chosen.batcher
            if batcher.at_once(rows):
                answers: Answers | AnswerArrays = batcher.single(rows.columns, rows.count)
            else:
                answers = await _answers(chosen, rows, seconds)
            reply = dialect.encode(Answered(chosen, rule_of(state, chosen), request, answers, asked.note))
            latency = time.perf_counter() - started
            noted = Noted(state, dialect.name, key, chosen, route, request, rows, latency, answers, None, time.time())
            if self.durable and self._capture is not None and not _checking(key):
                await self._capture.keep(self._captures(noted))
        except HeadraceError as error:
            latency = time.perf_counter() - started
            self.note(Noted(state, dialect.name, key, chosen, route, request, rows, latency, None, error, time.time()))
            raise
        if shadow is not None:
            self._shadow(question, shadow, request, rows)
        return reply, noted

    async def load(self, held: Held) -> Loaded:
        """The version, loaded in a thread, so that others are answered meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(None, self._endpoints.load, held)

    def note_later(self, noted: Noted) -> None:
        """Note it within some milliseconds, with others: together they cost less, and replies do not wait."""
        self._unnoted.append(noted)
        if len(self._unnoted) == 1:
            asyncio.get_running_loop().call_later(NOTE_SECONDS, self.note_all)

    def note_all(self) -> None:
        """Note what waits for it."""
        unnoted, self._unnoted = self._unnoted, []
        self.note(*unnoted)

    def note(self, *all_noted: Noted) -> None:
        """Count and capture answers, or failures to answer."""
        captured: list[Captured] = []
        for noted in all_noted:
            self._count(noted)
            if self._capture is None or (self.durable and noted.error is None and noted.route != "shadow"):
                continue
            if noted.rows.count > CAPTURED_ROWS:
                self._capture_aside(noted)
                continue
            try:
                captured += self._captures(noted)
            except (TypeError, ValueError, OverflowError):
                self._counters.dropped_captures += noted.rows.count
        if captured:
            assert self._capture is not None
            self._capture.add(captured)

    def _count(self, noted: Noted) -> None:
        key, chosen, rows, latency = noted.key, noted.chosen, noted.rows, noted.latency
        status = 200 if noted.error is None else self._status_of(noted.error)
        consumer = key.consumer if key is not None else ""
        counters = self._counters
        series = counters.series[chosen.model, chosen.version, noted.route, noted.dialect, consumer, status]
        series.requests += 1
        series.rows += rows.count
        series.seconds.add(latency)
        if key is not None and key.p99 is not None and latency > key.p99:
            series.slow += 1
        if rows.unknown:
            counters.unknown_fields[chosen.model] += rows.unknown

    def _capture_aside(self, noted: Noted) -> None:
        try:
            asyncio.get_running_loop().run_in_executor(None, self._capture_large, noted)
        except RuntimeError:  # the server has ended, and nobody waits
            self._capture_large(noted)

    def _capture_large(self, noted: Noted) -> None:
        assert self._capture is not None
        try:
            for captured in self._captures(noted):
                self._capture.add([captured])
        except (TypeError, ValueError, OverflowError):
            self._counters.dropped_captures += noted.rows.count

    def _captures(self, noted: Noted) -> list[Captured]:
        """The records of one request: one, unless it is large."""
        state, key, chosen, rows, answers = noted.state, noted.key, noted.chosen, noted.rows, noted.answers
        error = noted.error
        if _checking(key):
            return []
        features, context = rows.columns, rows.context
        if rows.bulk:
            features = {name: _listed(values) for name, values in features.items()}
        text = error.text if error is not None else ""
        rule = rule_of(state, chosen)
        if rule.masked or rule.hashed:
            features, context = (protected(part, rule, self._secret) for part in (features, context))
            text = WITHHELD if error is not None else ""
        given = answers.lists() if isinstance(answers, AnswerArrays) else answers or NOTHING
        moments: list[Any] = []
        if chosen.time_column is not None:
            context = dict(context)
            moments = context.pop(chosen.time_column, [])
        whole = Captured(
            id=noted.id,
            time=noted.time,
            model=chosen.model,
            version=chosen.version,
            route=noted.route,
            generation=state.generation,
            latency=noted.latency,
            rows=rows.count,
            features=features,
            keys=context,
            moments=moments,
            predictions=given.predictions,
            probabilities=given.probabilities,
            error=text,
            consumer=key.consumer if key is not None else "",
        )
        return [whole] if rows.count <= CAPTURED_ROWS else parted(whole, CAPTURED_ROWS)

    async def _decoded(self, dialect: Dialect, body: Body, loaded: Loaded) -> Asked:
        """The rows of a body; a large one is decoded in a thread."""
        if len(body.content) < LARGE_BODY:
            return dialect.decode(body, loaded)
        return await asyncio.get_running_loop().run_in_executor(None, dialect.decode, body, loaded)

    def _shadow(self, question: Question, shadow: Held, request: str, rows: Rows) -> None:
        """Score a copy by the other arm, after the reply; dropped and counted where too many wait."""
        if len(self._shadows) >= MOST_SHADOWS:
            self._counters.dropped_shadows += rows.count
            return
        task = asyncio.create_task(self._score_shadow(question, shadow, request, rows))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _score_shadow(self, question: Question, shadow: Held, request: str, rows: Rows) -> None:
        started = time.perf_counter()
        answers: Answers | AnswerArrays | None = None
        fault: HeadraceError | None = None
        loaded = shadow.loaded
        try:
            loaded = loaded or await self.load(shadow)
            rows = (await self._decoded(question.dialect, question.body, loaded)).rows
            answers = await _answers(loaded, rows, question.seconds)
        except HeadraceError as error:
            fault = error
        if loaded is not None:
            state, dialect, key = question.state, question.dialect.name, question.key
            latency = time.perf_counter() - started
            self.note(Noted(state, dialect, key, loaded, "shadow", request, rows, latency, answers, fault, time.time()))


def _checking(key: Key | None) -> bool:
    """Whether this only asks if what was deployed answers as it should."""
    return key is not None and key.consumer == CHECKING


def rule_of(state: State, chosen: Loaded) -> Rule:
    """What the operators of a model want its answers and captures to be."""
    return state.rules.get(chosen.model, ORDINARY) if state.rules else ORDINARY


async def _answers(chosen: Loaded, rows: Rows, seconds: float) -> Answers | AnswerArrays:
    """The answers to rows: through the queue where they are few or lists, else at one go in a thread."""
    if not rows.bulk:
        return await chosen.batcher.answer(rows.columns, rows.count, seconds)
    try:
        async with asyncio.timeout(seconds):
            return await chosen.batcher.arrays(rows.columns, rows.count)
    except TimeoutError as error:
        raise passed(seconds) from error


def _listed(values: Any) -> list[Any]:
    """A column as it is captured: a list with None for null."""
    if isinstance(values, list):
        return values
    return [None if value != value else value for value in (values.tolist() if hasattr(values, "tolist") else values)]


def _route_key(headers: Headers, rows: Rows, time_column: str | None, request: str) -> str:
    """What sticks a caller to a route: the header ``headrace-route-key``, else the first row's key, else chance."""
    said = headers.get(b"headrace-route-key")
    if said is not None:
        return said.decode("latin-1")
    first = [str(values[0]) for name, values in rows.context.items() if name != time_column and values[0] is not None]
    return "|".join(first) or request
