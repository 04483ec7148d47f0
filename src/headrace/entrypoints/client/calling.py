"""The client itself, twice: for ordinary and for asynchronous code. Both keep their connections and one set of rules.

A call has a deadline. Within it, what may succeed when it is tried again (no connection, 429, 502, 503, 504) is tried
again, after the time that the server names or a growing pause with some chance in it. When the deadline passes, or
nothing is left to try, the declared fallback is the answer; without one an error is raised. A request that the server
refuses for what it says is raised at once: a fallback would hide a mistake.
"""

from __future__ import annotations

import asyncio
import random
import time
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from headrace.entrypoints.client.answers import (
    RETRIED,
    Answer,
    Rows,
    fallback_answer,
    read_reply,
    refusal,
    request_body,
)
from headrace.kernel.errors import DeadlinePassed, HeadraceError, InvalidInput, MissingExtra, Unavailable
from headrace.kernel.identifiers import check_name

try:
    import httpx

    from headrace.entrypoints.client.deadlines import bounded_transport, until
except ImportError as missing:
    raise MissingExtra(
        "The client needs httpx, which is not installed.", todo="Install it: pip install 'headrace[client]'."
    ) from missing

NO_FALLBACK: Any = object()
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
SLACK = 0.001
LONGEST_DEADLINE = 86_400.0


class _Attempts:
    """The attempts of one call: how much time is left, and whether and when to try again."""

    def __init__(self, model: str, deadline: float, retries: int) -> None:
        self._model = model
        self._deadline = deadline
        self.until = time.monotonic() + deadline
        self._left = retries
        self._pause = FIRST_PAUSE
        self.last: HeadraceError | None = None

    def headers(self) -> dict[str, str]:
        """The time that is left, for the server."""
        return {"headrace-deadline": f"{1000 * self.remaining():.3f}"}

    def remaining(self) -> float:
        """Seconds until the deadline.

        Raises:
            DeadlinePassed: none.
        """
        left = self.until - time.monotonic()
        if left < SLACK:
            raise self.passed()
        return left

    def passed(self) -> DeadlinePassed:
        """The error of a deadline that passed, with what went wrong before."""
        why = f" Before that: {self.last.text}" if self.last is not None else ""
        return DeadlinePassed(
            f"{self._model!r} did not answer within {1000 * self._deadline:g} ms.{why}",
            todo="Allow more time, or declare a fallback.",
        )

    def again(self, error: HeadraceError, named: str | None) -> float:
        """The pause before the next attempt.

        Args:
            named: the seconds that the server asked to wait.

        Raises:
            HeadraceError: there is no next attempt.
        """
        self.last = error
        if self._left <= 0:
            raise error
        self._left -= 1
        pause = self._pause * random.uniform(0.5, 1.5)  # noqa: S311 - so that callers do not come back all at once
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if named is not None and named.replace(".", "", 1).isdigit():
            pause = max(pause, float(named))
        if pause >= self.remaining():
            raise error
        return pause


class _Common:
    def __init__(self, url: str, key: str | None, deadline: float, retries: int, route_key: str | None) -> None:
        self._url = _address(url)
        self._deadline = deadline
        self._retries = retries
        self._headers = {"content-type": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {_header('key', key)}"
        if route_key is not None:
            self._headers["headrace-route-key"] = _header("route_key", route_key)

    def _path(self, model: str, version: int | None) -> str:
        numbered = "" if version is None else f"/versions/{version}"
        return f"{self._url}/models/{check_name(model)}{numbered}/predict"

    def _attempts(self, model: str, deadline: float | None) -> _Attempts:
        seconds = self._deadline if deadline is None else deadline
        if not 0 <= seconds <= LONGEST_DEADLINE:
            raise InvalidInput(
                f"The deadline is {seconds} s.", expected=f"0 to {LONGEST_DEADLINE:g} seconds", todo="Correct it."
            )
        return _Attempts(model, seconds, self._retries)

    @staticmethod
    def _settled(model: str, rows: int, error: HeadraceError, fallback: Any) -> Answer:
        if fallback is NO_FALLBACK or not isinstance(error, Unavailable):
            raise error
        return fallback_answer(model, rows, fallback)


class Client(_Common):
    """A client for ordinary code. It may be shared by threads, and is a context manager.

    Args:
        url: of the scoring server, such as ``http://127.0.0.1:8000``.
        key: the consumer's key, where the server asks for one.
        deadline: seconds that a call may take, with everything that is tried again.
        retries: how often a failed attempt is tried again.
        route_key: what sticks this caller to one version while a rollout lasts, such as a user's id.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        deadline: float = 10.0,
        retries: int = 3,
        route_key: str | None = None,
    ) -> None:
        super().__init__(url, key, deadline, retries, route_key)
        self._http = httpx.Client(headers=self._headers, transport=bounded_transport())

    def predict(
        self,
        model: str,
        rows: Rows,
        *,
        version: int | None = None,
        deadline: float | None = None,
        fallback: Any = NO_FALLBACK,
    ) -> Answer:
        """The answers to a row, or to several.

        Args:
            fallback: the prediction (a value or a `Prediction`) for each row if there is no answer in time.

        Raises:
            SchemaViolation, InvalidInput, NotFound, KeyNeeded, Refused: the server refused the request for what it is.
            DeadlinePassed, Overloaded, Unavailable: there was no answer in time, and no fallback was declared.
        """
        body, count = request_body(rows)
        attempts = self._attempts(model, deadline)
        path = self._path(model, version)
        try:
            while True:
                left, headers = attempts.remaining(), attempts.headers()
                ends = until.set(attempts.until)
                try:
                    reply = self._http.post(path, content=body, headers=headers, timeout=left)
                except httpx.HTTPError as error:
                    time.sleep(attempts.again(_unreached(error), None))
                    continue
                finally:
                    until.reset(ends)
                if reply.status_code not in RETRIED:
                    return read_reply(reply.status_code, reply.content)
                refused = refusal(reply.status_code, reply.content)
                time.sleep(attempts.again(refused, reply.headers.get("retry-after")))
        except HeadraceError as error:
            return self._settled(model, count, error, fallback)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient(_Common):
    """The same for asynchronous code; see `Client`."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        deadline: float = 10.0,
        retries: int = 3,
        route_key: str | None = None,
    ) -> None:
        super().__init__(url, key, deadline, retries, route_key)
        self._http = httpx.AsyncClient(headers=self._headers)

    async def predict(
        self,
        model: str,
        rows: Rows,
        *,
        version: int | None = None,
        deadline: float | None = None,
        fallback: Any = NO_FALLBACK,
    ) -> Answer:
        """See `Client.predict`."""
        body, count = request_body(rows)
        attempts = self._attempts(model, deadline)
        path = self._path(model, version)
        try:
            try:
                async with asyncio.timeout(attempts.remaining()):
                    return await self._tried(attempts, path, body)
            except TimeoutError as error:
                raise attempts.passed() from error
        except HeadraceError as error:
            return self._settled(model, count, error, fallback)

    async def _tried(self, attempts: _Attempts, path: str, body: bytes) -> Answer:
        while True:
            left, headers = attempts.remaining(), attempts.headers()
            try:
                reply = await self._http.post(path, content=body, headers=headers, timeout=left)
            except httpx.HTTPError as error:
                await asyncio.sleep(attempts.again(_unreached(error), None))
                continue
            if reply.status_code not in RETRIED:
                return read_reply(reply.status_code, reply.content)
            refused = refusal(reply.status_code, reply.content)
            await asyncio.sleep(attempts.again(refused, reply.headers.get("retry-after")))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidInput(f"The address is {url!r}.", expected="http:// or https:// and a host", todo="Name it so.")
    return url.rstrip("/")


def _header(name: str, value: str) -> str:
    if not (value.isascii() and value.isprintable() and value):
        raise InvalidInput(f"{name} is {value[:80]!r}.", expected="printable ASCII characters", todo="Correct it.")
    return value


def _unreached(error: httpx.HTTPError) -> Unavailable:
    return Unavailable(
        f"The server could not be reached: {str(error) or type(error).__name__}.",
        todo="See that it runs, and that the address is right.",
    )
