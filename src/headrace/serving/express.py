"""The express way: a plain request goes from bytes to bytes in one turn of the event loop, without a task of its own.

It takes only what it can answer at once: rows in a small body, a version that is loaded and cheap to call, no canary,
captures that nobody waits for. Everything else is left to the ASGI callable, and so is everything that is to be
refused: it meets the same fault again, and there is one place that words it. A request that was taken and then failed
is handed back as it was.
"""

from __future__ import annotations

import time
from typing import Protocol

import msgspec

from headrace.kernel.identifiers import new_id
from headrace.kernel.ports import Answers
from headrace.kernel.routes import Key
from headrace.serving.answering import Noted, rule_of
from headrace.serving.app import ScoringApp
from headrace.serving.batching import INLINE_ROWS
from headrace.serving.bodies import Body, Headers
from headrace.serving.dialects.dialect import Answered, Asked, Dialect
from headrace.serving.endpoints import Loaded, State
from headrace.serving.paths import Target
from headrace.serving.replies import Reply

_TABLES = b"application/vnd.apache."
"""Whole tables go the ordinary way: here they would be read once to be declined, and there once more."""
_LEFT_ALONE = frozenset((b"content-encoding", b"expect", b"upgrade"))
SHORTEST = 1.0
"""Seconds; what is taken is answered, or handed back, within two turns of the event loop, and none takes as long."""


class Request(Protocol):
    """A POST that is whole."""

    path: str
    headers: Headers
    body: bytes

    def reply(self, reply: Reply, generation: int) -> None:
        """Send an answer."""
        ...

    def hand_back(self) -> None:
        """Let the ASGI callable answer it."""
        ...


class Express:
    """Takes requests from the connections of one process."""

    def __init__(self, app: ScoringApp) -> None:
        self.app = app

    def take(self, request: Request) -> bool:
        """Whether the request is answered here: at once, or with the next batch."""
        try:
            ride = self._ride(request)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # whatever it was, the ASGI callable meets it again, and says it
            return False
        return ride is not None and ride.start()

    def answer(self, ride: _Ride, answers: Answers) -> bool:
        """Whether the answers could be encoded and were sent."""
        request, chosen = ride.request, ride.live
        named = new_id()
        try:
            reply = ride.dialect.encode(Answered(chosen, rule_of(ride.state, chosen), named, answers, ride.asked.note))
        except Exception:  # as above
            return False
        latency = time.perf_counter() - ride.started
        noted = Noted(
            ride.state,
            ride.dialect.name,
            ride.key,
            chosen,
            "live",
            named,
            ride.asked.rows,
            latency,
            answers,
            None,
            time.time(),
        )
        request.reply(reply, ride.state.generation)
        self.app.answering.note_later(noted)
        return True

    def _ride(self, request: Request) -> _Ride | None:
        """What is asked, or None where it is not for here."""
        started = time.perf_counter()
        target = self.app.paths.find("POST", request.path)
        headers = request.headers
        if not isinstance(target, Target) or target.path.dialect is None or not self._is_plain(request):
            return None
        state = self.app.endpoints.state
        key = self.app.guard.admit(state.keys, headers, target.path.scope)
        active = self.app.asked_for(target, state)
        live = active.live.loaded
        if live is None or active.canary is not None or not live.batcher.cheap:
            return None
        asked = target.path.dialect.decode(Body(request.body, headers), live)
        if asked.rows.bulk or asked.rows.count > INLINE_ROWS:
            return None
        if key is not None:
            self.app.guard.spend(key)
        active.live.used = started
        return _Ride(self, request, target.path.dialect, state, key, live, asked, started)

    def _is_plain(self, request: Request) -> bool:
        headers, limits = request.headers, self.app.limits
        if self.app.draining or self.app.answering.durable or self.app.counters.running >= limits.concurrent:
            return False
        if len(request.body) > limits.body or limits.seconds < SHORTEST:
            return False
        if not _LEFT_ALONE.isdisjoint(headers) or headers.get(b"content-type", b"").startswith(_TABLES):
            return False
        deadline, named = headers.get(b"headrace-deadline"), headers.get(b"x-request-id")
        if deadline is not None and not (deadline.isdigit() and 1000 * SHORTEST <= int(deadline[:10]) < 10**9):
            return False
        return named is None or (named.isascii() and named.decode().isprintable())


class _Ride(msgspec.Struct, frozen=True):
    """One request that was taken."""

    express: Express
    request: Request
    dialect: Dialect
    state: State
    key: Key | None
    live: Loaded
    asked: Asked
    started: float

    def start(self) -> bool:
        """Whether it is answered, or will be."""
        rows, batcher = self.asked.rows, self.live.batcher
        if not batcher.at_once(rows):
            self.express.app.counters.running += 1
            batcher.ask(rows.columns, rows.count, self.settle)
            return True
        try:
            answers = batcher.single(rows.columns, rows.count)
        except Exception:  # the ASGI callable meets it again, and says it
            answers = None
        if answers is not None and self.express.answer(self, answers):
            return True
        self._give_back()
        return False

    def settle(self, result: Answers | BaseException) -> None:
        """Send what the batch gave."""
        self.express.app.counters.running -= 1
        if isinstance(result, BaseException) or not self.express.answer(self, result):
            self._give_back()
            self.request.hand_back()

    def _give_back(self) -> None:
        """What it spent of its key's quota: the ASGI callable will spend it."""
        if self.key is not None:
            self.express.app.guard.give_back(self.key)
