"""Who may open the console and call the management API: people who signed in, and applications with their keys."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.access.sessions import PREFIX
from headrace.entrypoints.console.oidc import Provider
from headrace.entrypoints.http.api import refusal
from headrace.entrypoints.http.callers import CALLER, COOKIE, Caller, check_role, of_key, of_person
from headrace.entrypoints.scoring.listening import LOOPBACK
from headrace.entrypoints.scoring.polling import read_routes
from headrace.kernel.callers import Person
from headrace.kernel.errors import HeadraceError, KeyNeeded, NotFound, Refused, StorageUnavailable, TooLarge
from headrace.kernel.routes import Key
from headrace.serving.guard import Asked, Guard, shown_key
from headrace.workspace import Workspace

FOLLOW_SECONDS = 1.0
LARGEST_OPEN = 64 << 10
"""Bytes of a body on a route that is open to everybody."""
LARGEST_BODY = 32 << 20
Problem = Callable[[Request, HeadraceError], Awaitable[Response]]
Table = list[tuple[BaseRoute, Asked]]
"""Every route with the scope that it asks for."""
HEADERS = [
    (b"content-security-policy", b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]


def scope_of(table: Table, request: Scope) -> Asked:
    """The scope that a request needs: that of the route to which it will be given, by the routes' own judgement.

    A request for which there is no route needs any key.

    Raises:
        NotFound: a number in the path is none.
    """
    try:
        return next((asked for route, asked in table if route.matches(request)[0] is Match.FULL), "any")
    except ValueError as error:
        raise NotFound("There is nothing at this path.", todo="Begin at /.") from error


class Limited:
    """What a caller sends, up to so many bytes.

    Raises:
        TooLarge: there are more.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._seen = 0

    async def check(self, headers: dict[bytes, bytes]) -> None:
        """Refuse what says of itself that it is too large; up to a limit it is still read, as many clients hear nothing
        before they have sent all."""
        said = headers.get(b"content-length", b"0")
        size = int(said) if said.isdigit() and len(said) < 20 else 0
        more = self._most < size <= LARGEST_BODY
        while more:
            more = bool((await self._receive()).get("more_body"))
        self._count(size)

    async def __call__(self) -> Message:
        """The next part."""
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        self._count(self._seen)
        return message

    def _count(self, size: int) -> None:
        if size > self._most:
            raise TooLarge(
                f"The body has {size} bytes or more.", expected=f"at most {self._most}", todo="Send less at once."
            )


class Guarded:
    """Asks callers who they are: people by their session or a token of the identity provider, applications by a key.

    Once there is anybody who can sign in, everybody must, on this machine too.

    Args:
        table: the routes of `app`.
        required: whether a caller must say who it is, whoever there is.
        provider: at which people may sign in too.
        problem: draws a page that says why somebody who is known was refused.
    """

    def __init__(
        self, app: ASGIApp, table: Table, ws: Workspace, required: bool, provider: Provider | None, problem: Problem
    ) -> None:
        self._app = app
        self._problem = problem
        self._table = table
        self._ws = ws
        self._places = ws.places
        self._routes = ws.places.routes
        self._required = required or provider is not None
        self._provider = provider
        self._people = ws.people_store.any()
        self._asked = float("-inf")
        self._asking = asyncio.Lock()
        self._guard = Guard(required)
        self._seen: tuple[int, int] = (0, 0)
        self._keys: dict[str, Key] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        scope[CALLER] = None
        try:
            asked = scope_of(self._table, scope)
            limited = Limited(receive, LARGEST_OPEN if asked is None else LARGEST_BODY)
            await limited.check(dict(scope["headers"]))
            if asked is not None:
                scope[CALLER] = caller = await self._caller(dict(scope["headers"]), asked)
                if caller is not None:
                    check_role(caller, asked)
        except HeadraceError as error:
            response = await self._refused(Request(scope), error)
            await response(scope, receive, send)
            return
        await self._app(scope, limited, send)

    async def _caller(self, headers: dict[bytes, bytes], asked: str) -> Caller | None:
        await self._follow()
        person = await self._person(headers)
        if person is not None:
            return of_person(person)
        self._guard.required = self._required or self._people
        return of_key(self._guard.admit(self._known(), headers, asked))

    async def _person(self, headers: dict[bytes, bytes]) -> Person | None:
        """Who signed in; None where no session and no token was shown.

        Raises:
            KeyNeeded: what a program sent is over, or was never good.
        """
        shown = (shown_key(headers) or b"").decode("latin-1")
        if shown.startswith(PREFIX):
            person = await asyncio.to_thread(self._ws.session_store.person, shown)
            if person is None:
                raise KeyNeeded("The session is over.", todo="Sign in again: POST /api/sessions.")
            return person
        if self._provider is not None and shown.count(".") == 2:
            identity = await self._provider.identity(shown)
            return await asyncio.to_thread(self._ws.people_store.admit, identity, False)
        token = cookie_parser(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE, "")
        if shown or not token.startswith(PREFIX):
            return None
        return await asyncio.to_thread(self._ws.session_store.person, token)

    async def _refused(self, request: Request, error: HeadraceError) -> Response:
        """What a caller is told: a person at a browser sees a page, or where to sign in."""
        path = str(request.scope["path"])
        shown = path.startswith("/api/") or "authorization" in request.headers
        page = request.method == "GET" and not shown and "text/html" in request.headers.get("accept", "")
        if not isinstance(error, KeyNeeded):
            return await self._problem(request, error) if page and request.scope[CALLER] else refusal(error)
        signing_in = self._people or self._provider is not None
        if page and signing_in:
            return RedirectResponse(f"/sign-in?then={quote(path)}", 303)
        response = refusal(error)
        response.headers["www-authenticate"] = "Bearer" if signing_in else 'Basic realm="headrace", charset="UTF-8"'
        if signing_in and "hx-request" in request.headers:
            response.headers["hx-redirect"] = "/sign-in"
        return response

    async def _follow(self) -> None:
        """See, once a second at most, whether anybody can sign in, and take the newest keys from object storage."""
        async with self._asking:  # nobody passes while it is not known whether anybody can sign in
            if time.monotonic() - self._asked < FOLLOW_SECONDS:
                return
            if not self._people:
                self._people = await asyncio.to_thread(self._ws.people_store.any)
            if self._places.objects.remote:
                with contextlib.suppress(StorageUnavailable):  # the keys that are known go on
                    await asyncio.to_thread(self._places.objects.latest, self._routes)
            self._asked = time.monotonic()

    def _known(self) -> dict[str, Key]:
        """The keys that are known now; the document is read again when it changed."""
        try:
            stat = self._routes.stat()
        except FileNotFoundError:
            return {}
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._seen:
            self._keys, self._seen = read_routes(self._routes).keys, stamp
        return self._keys


class SameSite:
    """Refuses what another site makes a browser send: a foreign Origin (forgery), and where the console is this
    machine's own, a foreign Host (rebinding). Nothing may show the console in a frame.

    Args:
        address: at which people open the console, through a proxy that may not tell it.
    """

    def __init__(self, app: ASGIApp, local: bool, address: str = "") -> None:
        self._app = app
        self._local = local
        self._address = urlsplit(address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""

        async def careful(message: MutableMapping[str, Any] | Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        named = headers.get("host", "")
        host = named.rsplit(":", 1)[0].strip("[]")
        origin = headers.get("origin")
        own = {f"http://{named}", f"https://{named}", f"{self._address.scheme}://{self._address.netloc}"}
        foreign = origin is not None and origin not in own
        if foreign or (self._local and host not in (*LOOPBACK, self._address.hostname)):
            error = Refused(
                f"A request for host {named!r} from {origin!r} is not the console's own.",
                todo="Open the console by its own address.",
            )
            await refusal(error)(scope, receive, careful)
            return
        await self._app(scope, receive, careful)
