"""The ASGI callable: one request in, one reply out, and a captured prediction behind it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from headrace.kernel.errors import Fault, HeadraceError, InvalidInput, NotFound, Overloaded, TooLarge
from headrace.kernel.identifiers import new_id
from headrace.kernel.ports import Answers
from headrace.kernel.schema import row_schema
from headrace.serving.capture import Capture, Captured
from headrace.serving.counters import Counters
from headrace.serving.decoding import Rows
from headrace.serving.endpoints import Active, Endpoints, Loaded, State
from headrace.serving.openapi import openapi

LARGEST_BODY = 32 << 20
MOST_CONCURRENT = 2048
MOST_SHADOWS = 64
JSON = b"application/json"
_PREDICT = re.compile(r"/models/([^/]+)(?:/versions/([0-9]{1,9}))?/predict\Z")
_SCHEMA = re.compile(r"/models/([^/]+)/schema\Z")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Reply(NamedTuple):
    """A reply as it goes out."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    kind: bytes = JSON


class ScoringApp:
    """The scoring server's ASGI callable.

    Args:
        endpoints: what answers.
        status_of: the HTTP status of an error; the table stands in `entrypoints`.
        single: the model that ``POST /predict`` means, where the process serves one bundle.
        pages: further GET paths, such as ``/metrics``.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        counters: Counters,
        capture: Capture | None,
        status_of: Callable[[HeadraceError], int],
        single: str | None = None,
        pages: dict[str, Callable[[], Reply]] | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._counters = counters
        self._capture = capture
        self._status_of = status_of
        self._single = single
        self._encode = msgspec.json.Encoder().encode
        self._pages = {"/health": self._health, "/ready": self._ready, "/models": self._models, **(pages or {})}
        self._pages["/openapi.json"] = lambda: self._document(openapi(self._endpoints.state))
        self._running = 0
        self._shadows: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI 3: HTTP only."""
        if scope["type"] != "http":
            return
        self._running += 1
        try:
            reply = await self._reply(scope, receive)
        except HeadraceError as error:
            reply = self._refusal(error)
        except Exception as error:
            reply = self._refusal(Fault(f"{type(error).__name__}: {error}", todo="Please report this."))
        finally:
            self._running -= 1
        headers = [
            (b"content-type", reply.kind),
            (b"content-length", str(len(reply.body)).encode()),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: dict[str, Any], receive: Receive) -> Reply:
        path, method = scope["path"], scope["method"]
        page = self._pages.get(path)
        if page is not None:
            return page() if method in ("GET", "HEAD") else self._wrong_method(method, "GET")
        if found := _SCHEMA.match(path):
            return self._document(row_schema(self._endpoints.active(found[1]).live.scorer.schema))
        found = _PREDICT.match(path)
        model = found[1] if found else self._single if path == "/predict" else None
        if model is None:
            raise NotFound(f"There is nothing at {path!r}.", todo="See /openapi.json for what there is.")
        if method != "POST":
            return self._wrong_method(method, "POST")
        if self._running > MOST_CONCURRENT:
            raise Overloaded(f"{self._running} requests are running.", todo="Try again in a second.")
        number = int(found[2]) if found and found[2] else None
        return await self._predict(scope, receive, model, number)

    async def _predict(self, scope: dict[str, Any], receive: Receive, model: str, number: int | None) -> Reply:
        state = self._endpoints.state
        active = self._endpoints.active(model, state) if number is None else await self._numbered(model, number)
        body = await _body(scope, receive)
        started = time.perf_counter()
        request = new_id()
        rows = active.live.decoder.decode(body)
        chosen, route, shadow = active.choose(_route_key(scope, rows, active.live.time_column, request))
        if chosen is not active.live and chosen.scorer.schema != active.live.scorer.schema:
            rows = chosen.decoder.decode(body)
        try:
            answers = await chosen.batcher.answer(rows.columns, rows.count)
        except HeadraceError as error:
            self._note(chosen, route, state, request, rows, started, None, error)
            raise
        content = self._encode(_document(chosen, request, answers))
        self._note(chosen, route, state, request, rows, started, answers, None)
        if shadow is not None:
            self._shadow(shadow, state, request, rows, body)
        return Reply(200, content, ((b"headrace-generation", str(state.generation).encode()),))

    async def _numbered(self, model: str, number: int) -> Active:
        loop = asyncio.get_running_loop()
        return Active(await loop.run_in_executor(None, self._endpoints.version, model, number), None, 0.0, False)

    def _note(
        self,
        chosen: Loaded,
        route: str,
        state: State,
        request: str,
        rows: Rows,
        started: float,
        answers: Answers | None,
        error: HeadraceError | None,
    ) -> None:
        """Count and capture one answer, or one failure to answer."""
        latency = time.perf_counter() - started
        counters = self._counters
        status = 200 if error is None else self._status_of(error)
        counters.requests[chosen.model, chosen.version, route, status] += 1
        counters.rows[chosen.model] += rows.count
        counters.latency[chosen.model].add(latency)
        if rows.unknown:
            counters.unknown_fields[chosen.model] += rows.unknown
        if self._capture is not None:
            time_column = chosen.time_column
            self._capture.add(
                Captured(
                    id=request,
                    time=time.time(),
                    model=chosen.model,
                    version=chosen.version,
                    route=route,
                    generation=state.generation,
                    latency=latency,
                    rows=rows.count,
                    features=rows.columns,
                    keys={name: values for name, values in rows.context.items() if name != time_column},
                    moments=rows.context.get(time_column, []) if time_column else [],
                    predictions=answers.predictions if answers else [],
                    probabilities=answers.probabilities if answers else None,
                    error=error.text if error else "",
                )
            )

    def _shadow(self, shadow: Loaded, state: State, request: str, rows: Rows, body: bytes) -> None:
        """Score a copy by the other arm, after the reply; dropped and counted where too many wait."""
        if len(self._shadows) >= MOST_SHADOWS:
            self._counters.dropped_shadows += rows.count
            return
        task = asyncio.create_task(self._score_shadow(shadow, state, request, rows, body))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _score_shadow(self, shadow: Loaded, state: State, request: str, rows: Rows, body: bytes) -> None:
        started = time.perf_counter()
        try:
            copy = shadow.decoder.decode(body)
            answers = await shadow.batcher.answer(copy.columns, copy.count)
        except HeadraceError as error:
            self._note(shadow, "shadow", state, request, rows, started, None, error)
        else:
            self._note(shadow, "shadow", state, request, copy, started, answers, None)

    def _refusal(self, error: HeadraceError) -> Reply:
        self._counters.errors[error.kind] += 1
        status = self._status_of(error)
        retry = ((b"retry-after", b"1"),) if isinstance(error, Overloaded) else ()
        return Reply(status, self._encode(error.document()), retry)

    def _wrong_method(self, method: str, right: str) -> Reply:
        error = InvalidInput(f"{method} is not for this path.", expected=right, todo=f"Send a {right} request.")
        return Reply(405, self._encode(error.document()), ((b"allow", right.encode()),))

    def _health(self) -> Reply:
        return self._document({"status": "alive"})

    def _ready(self) -> Reply:
        problem, state = self._endpoints.problem, self._endpoints.state
        if problem is not None and not state.active:
            return Reply(503, self._encode(problem.document()))
        if not state.active:
            waiting = Overloaded("No model is live yet.", todo="Promote a version: headrace promote MODEL@N.")
            return Reply(503, self._encode(waiting.document()))
        note = {"problem": problem.document()} if problem else {}
        return self._document({"status": "ready", "generation": state.generation, **note})

    def _models(self) -> Reply:
        state = self._endpoints.state
        found = {
            model: {"live": a.live.version, "canary": a.canary.version if a.canary else None, "share": a.share}
            for model, a in state.active.items()
        }
        return self._document({"generation": state.generation, "models": found})

    def _document(self, value: Any) -> Reply:
        return Reply(200, self._encode(value))


async def _body(scope: dict[str, Any], receive: Receive) -> bytes:
    kind = next((value for name, value in scope["headers"] if name == b"content-encoding"), b"")
    if kind not in (b"", b"identity"):
        raise InvalidInput(
            f"The body is encoded as {kind.decode()!r}.", expected="plain JSON", todo="Send it unencoded."
        )
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("The client went away before its request was whole.", todo="Send it again.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise TooLarge(
                f"The body is larger than {LARGEST_BODY} bytes.",
                todo="Send fewer rows at a time, or score a file.",
            )
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _route_key(scope: dict[str, Any], rows: Rows, time_column: str | None, request: str) -> str:
    """What sticks a caller to a route: the header ``headrace-key``, else the first row's key, else chance."""
    for name, value in scope["headers"]:
        if name == b"headrace-key":
            return value.decode("latin-1")
    first = [str(values[0]) for name, values in rows.context.items() if name != time_column and values[0] is not None]
    return "|".join(first) or request


def _document(chosen: Loaded, request: str, answers: Answers) -> dict[str, Any]:
    if answers.probabilities is None:
        predictions: list[dict[str, Any]] = [{"prediction": value} for value in answers.predictions]
    else:
        names = chosen.class_names
        predictions = [
            {"prediction": value, "probabilities": dict(zip(names, row, strict=True))}
            for value, row in zip(answers.predictions, answers.probabilities, strict=True)
        ]
    return {"model": chosen.model, "version": chosen.version, "id": request, "predictions": predictions}
