"""Signing in and out, and choosing a password with a code."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from headrace import settings
from headrace.access.sessions import LIVES
from headrace.entrypoints.console.guard import Table
from headrace.entrypoints.console.oidc import Provider
from headrace.entrypoints.console.pages import Drawing
from headrace.entrypoints.http.callers import COOKIE, client_address
from headrace.entrypoints.outcomes import status_of
from headrace.kernel.callers import Person
from headrace.kernel.errors import HeadraceError, InvalidInput
from headrace.workspace import Workspace

FLOW_SECONDS = 600
"""How long somebody may take at the identity provider."""


class SignIn:
    """The pages before anybody is known. They tell no more than whether signing in went well."""

    def __init__(self, ws: Workspace, drawing: Drawing, provider: Provider | None) -> None:
        self._ws = ws
        self._drawing = drawing
        self._provider = provider
        self._address = settings.read(settings.CONSOLE_URL).rstrip("/")

    def table(self) -> Table:
        """The routes; the way to the provider keeps its state in a signed cookie of its own."""
        found: Table = [
            (Route("/sign-in", self.form, methods=["GET"]), None),
            (Route("/sign-in", self.sign_in, methods=["POST"]), None),
            (Route("/sign-out", self.sign_out, methods=["POST"]), None),
            (Route("/welcome", self.welcome, methods=["GET"]), None),
            (Route("/welcome", self.choose, methods=["POST"]), None),
        ]
        if self._provider is not None:
            flow = self._flow()
            found.append((Route("/sign-in/there", self.there, methods=["GET"], middleware=[flow]), None))
            found.append((Route("/sign-in/back", self.back, methods=["GET"], middleware=[flow]), None))
        return found

    def _flow(self) -> Middleware:
        from starlette.middleware.sessions import SessionMiddleware

        secret = self._ws.console_secret()
        return Middleware(
            SessionMiddleware,
            secret_key=hmac.digest(secret, b"the way to the identity provider", hashlib.sha256).hex(),
            session_cookie="headrace_flow",
            max_age=FLOW_SECONDS,
            same_site="lax",
            https_only=self._address.startswith("https://"),
        )

    async def form(self, request: Request) -> Response:
        """The form, and the way to the provider."""
        return self._form(request, _inside(request.query_params.get("then", "")))

    async def sign_in(self, request: Request) -> Response:
        """A session for a name and a password."""
        said = await _fields(request, "name", "password", "then")
        then = _inside(said["then"])
        try:
            _, token, _ = await run_in_threadpool(
                self._ws.sign_in, said["name"], said["password"], client_address(request)
            )
        except HeadraceError as error:
            return self._form(request, then, said["name"], error)
        return self._entered(request, token, then)

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        token = request.cookies.get(COOKIE, "")
        if token:
            await run_in_threadpool(self._ws.session_store.close, token)
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(COOKIE)
        return response

    async def welcome(self, request: Request) -> Response:
        """The form for a code and a new password."""
        return self._drawing.page(request, "welcome.html", {"title": "choose a password", "name": "", "error": None})

    async def choose(self, request: Request) -> Response:
        """Take the password of the one who has the code, and sign them in."""
        said = await _fields(request, "name", "code", "password", "again")
        try:
            if said["password"] != said["again"]:
                raise InvalidInput("The two passwords differ.", expected="the same twice", todo="Type them again.")
            person = await run_in_threadpool(
                self._ws.choose_password, said["name"], said["code"], said["password"], client_address(request)
            )
        except HeadraceError as error:
            values = {"title": "choose a password", "name": said["name"], "error": error}
            return self._drawing.page(request, "welcome.html", values, status_of(error))
        return await self._begin(request, person, "code", "/")

    async def there(self, request: Request) -> Response:
        """Send the browser to the provider."""
        request.session["then"] = _inside(request.query_params.get("then", ""))
        back = f"{self._address}/sign-in/back" if self._address else str(request.url_for("back"))
        try:
            return await self._known_provider.begin(request, back)
        except HeadraceError as error:
            return self._form(request, "/", "", error)

    async def back(self, request: Request) -> Response:
        """Take the browser back from the provider."""
        then = _inside(str(request.session.get("then", "")))
        try:
            identity = await self._known_provider.finish(request)
            person = await run_in_threadpool(self._ws.people_store.admit, identity)
        except HeadraceError as error:
            return self._form(request, then, "", error)
        request.session.clear()
        return await self._begin(request, person, person.issuer, then)

    @property
    def _known_provider(self) -> Provider:
        if self._provider is None:
            raise RuntimeError("there is no route to here without a provider")
        return self._provider

    async def _begin(self, request: Request, person: Person, how: str, then: str) -> Response:
        token, _ = await run_in_threadpool(self._ws.session_store.open, person, how)
        return self._entered(request, token, then)

    def _entered(self, request: Request, token: str, then: str) -> Response:
        response = RedirectResponse(then, 303)
        secure = request.url.scheme == "https" or self._address.startswith("https://")
        age = int(LIVES.total_seconds())
        response.set_cookie(COOKIE, token, max_age=age, httponly=True, samesite="lax", secure=secure)
        return response

    def _form(self, request: Request, then: str, name: str = "", error: HeadraceError | None = None) -> HTMLResponse:
        place = self._provider.place if self._provider is not None else ""
        values = {"title": "sign in", "then": then, "name": name, "error": error, "place": place}
        return self._drawing.page(request, "sign_in.html", values, 200 if error is None else status_of(error))


async def _fields(request: Request, *names: str) -> dict[str, str]:
    form: Any = await request.form(max_files=0, max_fields=20)
    return {name: value if isinstance(value := form.get(name, ""), str) else "" for name in names}


def _inside(then: str) -> str:
    """Where to go after signing in: a page of this console, whatever a link says."""
    good = then.startswith("/") and not then.startswith(("//", "/\\")) and then.isprintable()
    return then if good else "/"
