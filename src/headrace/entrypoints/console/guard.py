"""Who may open the console and call the management API: the same keys and scopes as for scoring."""

from __future__ import annotations

import asyncio
import contextlib
import time

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.entrypoints.http.api import KEY, refusal
from headrace.entrypoints.scoring.listening import LOOPBACK
from headrace.entrypoints.scoring.polling import read_routes
from headrace.kernel.errors import HeadraceError, Refused, StorageUnavailable
from headrace.kernel.places import Places
from headrace.kernel.routes import Key
from headrace.serving.guard import Asked, Guard

FOLLOW_SECONDS = 1.0
Table = list[tuple[BaseRoute, Asked]]
"""Every route with the scope that it asks for."""


def scope_of(table: Table, request: Scope) -> Asked:
    """The scope that a request needs: that of the route to which it will be given, by the routes' own judgement.

    A request for which there is no route needs any key.
    """
    for route, asked in table:
        if route.matches(request)[0] is Match.FULL:
            return asked
    return "any"


class Keyed:
    """Asks callers for a key. A browser asks its user for it, as the password of any name.

    Args:
        table: the routes of `app`.
        places: where the route document is, in which the keys are.
        required: whether a caller must show one.
    """

    def __init__(self, app: ASGIApp, table: Table, places: Places, required: bool) -> None:
        self._app = app
        self._table = table
        self._places = places
        self._routes = places.routes
        self._asked = 0.0
        self._guard = Guard(required)
        self._seen: tuple[int, int] = (0, 0)
        self._keys: dict[str, Key] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        try:
            headers = dict(scope["headers"])
            await self._follow()
            scope[KEY] = self._guard.admit(self._known(), headers, scope_of(self._table, scope))
        except HeadraceError as error:
            response = refusal(error)
            if response.status_code == 401:
                response.headers["www-authenticate"] = 'Basic realm="headrace", charset="UTF-8"'
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _follow(self) -> None:
        """Take the newest route document where it lies in object storage, once a second at most."""
        if not self._places.objects.remote or time.monotonic() - self._asked < FOLLOW_SECONDS:
            return
        self._asked = time.monotonic()
        with contextlib.suppress(StorageUnavailable):  # the keys that are known go on
            await asyncio.to_thread(self._places.objects.latest, self._routes)

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
    machine's own, a foreign Host (rebinding)."""

    def __init__(self, app: ASGIApp, local: bool) -> None:
        self._app = app
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        named = headers.get("host", "")
        host = named.rsplit(":", 1)[0].strip("[]")
        origin = headers.get("origin")
        foreign = origin is not None and origin not in (f"http://{named}", f"https://{named}")
        if foreign or (self._local and host not in LOOPBACK):
            error = Refused(
                f"A request for host {named!r} from {origin!r} is not the console's own.",
                todo="Open the console by its own address.",
            )
            await refusal(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)
