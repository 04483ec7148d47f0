"""The ASGI callable: one request in, one reply out, and a captured prediction behind it."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from headrace.kernel.errors import Fault, HeadraceError, InvalidInput, NotFound, Overloaded, TooLarge, WrongMethod
from headrace.kernel.routes import Key
from headrace.serving.answering import Answering, Noted, Question
from headrace.serving.batching import passed
from headrace.serving.bodies import Headers, Reader, Receive
from headrace.serving.counters import Counters
from headrace.serving.endpoints import Active, Endpoints, State
from headrace.serving.guard import Guard
from headrace.serving.limits import Limits
from headrace.serving.paths import Paths, Target, View
from headrace.serving.replies import Reply, encode_json

Send = Callable[[dict[str, Any]], Awaitable[None]]
OVERSIZED = "headrace.oversized"
"""Set in the scope of a request whose head is larger than the limit, by the protocol around this callable."""
SEEN = "headrace"
"""Where a request's scope says what became of it, for access logs and traces around this callable."""


class Seen(msgspec.Struct, frozen=True):
    """What became of a request."""

    consumer: str
    noted: Noted | None
    error: HeadraceError | None


class ScoringApp:
    """The scoring server's ASGI callable.

    Args:
        single: the model that paths without a model mean; None where it is the only one that answers, if it is.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        answering: Answering,
        counters: Counters,
        guard: Guard,
        limits: Limits,
        paths: Paths,
        status_of: Callable[[HeadraceError], int],
        single: str | None = None,
    ) -> None:
        self.endpoints = endpoints
        self.answering = answering
        self.counters = counters
        self.guard = guard
        self.limits = limits
        self.paths = paths
        self._status_of = status_of
        self._single = single
        self._reader = Reader(limits)
        self.draining = False
        """Whether replies ask their clients to connect anew, because this process will end."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI 3: HTTP only."""
        counters = self.counters
        counters.running += 1
        headers: Headers = dict(scope["headers"])
        key: Key | None = None
        noted: Noted | None = None
        error: HeadraceError | None = None
        target: Target | None = None
        try:
            state = self.endpoints.state
            target = self._target(scope)
            if OVERSIZED in scope:
                raise TooLarge("The head of the request is too large.", expected="32 kB", todo="Send fewer headers.")
            key = self.guard.admit(state.keys, headers, target.path.scope)
            if target.path.dialect is not None:
                reply, noted = await self._predict(target, state, headers, key, receive)
            else:
                reply = await self._page(target, state)
        except HeadraceError as refused:
            error = _freed(refused)
            reply = self._refusal(error, target, key)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as fault:  # polars panics with one that is no Exception
            traceback.print_exception(fault)
            error = Fault(f"{type(fault).__name__}: {fault}", todo="Please report this.")
            reply = self._refusal(error, target, key)
        finally:
            counters.running -= 1
        scope[SEEN] = Seen(key.consumer if key is not None else "", noted, error)
        told = heading(reply, noted, headers)
        if self.draining:
            told.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": told})
        await send({"type": "http.response.body", "body": reply.body if scope["method"] != "HEAD" else b""})
        if noted is not None:
            self.answering.note_later(noted)

    def _target(self, scope: dict[str, Any]) -> Target:
        found = self.paths.find(scope["method"], scope["path"])
        if isinstance(found, Target):
            return found
        if not found:
            raise NotFound(f"There is nothing at {scope['path'][:200]!r}.", todo="See /docs for what there is.")
        right = ", ".join(found)
        raise WrongMethod(
            f"{scope['method']} is not for this path.", expected=right, todo=f"Send a {found[0]} request."
        )

    async def _predict(
        self, target: Target, state: State, headers: Headers, key: Key | None, receive: Receive
    ) -> tuple[Reply, Noted]:
        began = time.perf_counter()
        if self.counters.running > self.limits.concurrent:
            raise Overloaded(f"{self.counters.running} requests are running.", todo="Try again in a second.")
        if key is not None:
            self.guard.spend(key)
        active = self.asked_for(target, state)
        body = await self._reader.read(headers, receive)
        seconds = self.limits.seconds
        asked = headers.get(b"headrace-deadline")
        if asked is not None:
            given = deadline_of(asked)
            seconds = min(seconds, given - (time.perf_counter() - began))
            if seconds <= 0:
                raise passed(given)
        assert target.path.dialect is not None
        return await self.answering.answer(Question(state, active, target.path.dialect, body, key, seconds))

    async def _page(self, target: Target, state: State) -> Reply:
        assert target.path.page is not None
        if not target.path.about:
            return target.path.page(View(state, target, None, None))
        active = self.asked_for(target, state)
        loaded = active.live.loaded or await self.answering.load(active.live)
        return target.path.page(View(state, target, active, loaded))

    def asked_for(self, target: Target, state: State) -> Active:
        """The endpoint that a path means.

        Raises:
            NotFound: there is none, or the path names none and there are several.
        """
        model, number, endpoints = target.model or self._only(state), target.version, self.endpoints
        return endpoints.active(model, state) if number is None else endpoints.version(model, number, state)

    def _only(self, state: State) -> str:
        """The model that a path without a model means.

        Raises:
            NotFound: there are several, or none.
        """
        if self._single is not None:
            return self._single
        if len(state.active) == 1:
            return next(iter(state.active))
        raise NotFound(
            f"This path names no model; these answer here: {', '.join(sorted(state.active)) or 'none'}.",
            expected="a server of one model, or a path under /models/MODEL/",
            todo="Name the model in the path, or start the server with --model NAME.",
        )

    def _refusal(self, error: HeadraceError, target: Target | None, key: Key | None) -> Reply:
        self.counters.errors[error.kind] += 1
        if key is not None:
            self.counters.refused[key.consumer] += 1
        content = error.document()
        dialect = target.path.dialect if target is not None else None
        body = encode_json(dialect.failed(content) if dialect is not None else content)
        status = self._status_of(error)
        if isinstance(error, WrongMethod):
            return Reply(status, body, ((b"allow", str(error.expected).encode()),))
        if status in (429, 503):
            return Reply(status, body, ((b"retry-after", b"1"),))
        if status == 401:
            return Reply(status, body, ((b"www-authenticate", b'Bearer realm="headrace"'),))
        return Reply(status, body)


def heading(reply: Reply, noted: Noted | None, asked: Headers) -> list[tuple[bytes, bytes]]:
    """The fields of a reply's head."""
    told = [(b"content-type", reply.kind), (b"content-length", b"%d" % len(reply.body)), *reply.headers]
    if noted is not None:
        told.append((b"headrace-generation", b"%d" % noted.state.generation))
    named = asked.get(b"x-request-id")
    if named is not None:
        told.append((b"x-request-id", named[:200]))
    return told


def _freed(error: HeadraceError) -> HeadraceError:
    """The error without the frames in which it was raised: they hold the body, and the scope holds the error."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def deadline_of(asked: bytes) -> float:
    """The header ``headrace-deadline``: milliseconds from the request's arrival, in seconds.

    Raises:
        InvalidInput: it is not a number of these.
    """
    try:
        milliseconds = float(asked)
    except ValueError:
        milliseconds = 0.0
    if not 0 < milliseconds < 1e9:
        raise InvalidInput(
            f"headrace-deadline is {asked[:50].decode('latin-1')!r}.",
            expected="milliseconds, above 0",
            todo="Correct it.",
        )
    return milliseconds / 1000
