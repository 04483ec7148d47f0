"""Pages on which something is changed: people and their roles, and approvals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from headrace.access.roles import ROLES
from headrace.entrypoints.console.guard import Table
from headrace.entrypoints.console.pages import Drawing
from headrace.entrypoints.http.callers import CALLER, named
from headrace.kernel.errors import HeadraceError
from headrace.settings import acting
from headrace.workspace import Workspace


class Administering:
    """What people change in the console; each change is theirs by name."""

    def __init__(self, ws: Workspace, drawing: Drawing) -> None:
        self._ws = ws
        self._drawing = drawing

    def table(self) -> Table:
        """The routes, each with the scope that it asks for."""
        return [
            (Route("/people", self.people, methods=["GET"]), "admin"),
            (Route("/people", self.add, methods=["POST"]), "admin"),
            (Route("/people/{name}/role", self.change_role, methods=["POST"]), "admin"),
            (Route("/people/{name}/reset", self.reset, methods=["POST"]), "admin"),
            (Route("/people/{name}/end", self.end, methods=["POST"]), "admin"),
            (Route("/models/{model}/versions/{n:int}/approve", self.approve, methods=["POST"]), "approve"),
        ]

    async def people(self, request: Request) -> Response:
        """Everybody, and a form to add somebody."""
        return await self._drawing.of(request, "people.html", self._people)

    async def add(self, request: Request) -> Response:
        """Add a person; the page shows their code this once."""
        form = await request.form()
        name, role = str(form.get("name", "")), str(form.get("role", ""))
        elsewhere = bool(form.get("elsewhere"))
        return await self._coded(request, lambda: self._ws.add_person(name, role, elsewhere=elsewhere))

    async def reset(self, request: Request) -> Response:
        """End a password and sessions; the page shows the new code this once."""
        return await self._coded(request, lambda: self._ws.reset_person(request.path_params["name"]))

    async def change_role(self, request: Request) -> Response:
        """Give a person another role."""
        role = str((await request.form()).get("role", ""))
        return await self._done(request, lambda: self._ws.change_role(request.path_params["name"], role), "/people")

    async def end(self, request: Request) -> Response:
        """End an account."""
        return await self._done(request, lambda: self._ws.end_person(request.path_params["name"]), "/people")

    async def approve(self, request: Request) -> Response:
        """Approve a version that waits."""
        word = str((await request.form()).get("word", ""))
        model = request.path_params["model"]

        def change() -> None:
            named(request.scope[CALLER], "approve")
            self._ws.approve(f"{model}@{request.path_params['n']}", word)

        return await self._done(request, change, f"/models/{model}")

    def _people(self) -> dict[str, Any]:
        return {"title": "people", "people": self._ws.people(), "roles": list(ROLES), "fresh": None, "code": ""}

    async def _coded(self, request: Request, change: Callable[[], tuple[Any, str]]) -> Response:
        def view() -> dict[str, Any]:
            fresh, code = self._acting(request, change)
            return {**self._people(), "fresh": fresh, "code": code}

        response = await self._drawing.of(request, "people.html", view)
        response.headers["cache-control"] = "no-store"
        return response

    async def _done(self, request: Request, change: Callable[[], Any], then: str) -> Response:
        try:
            await run_in_threadpool(self._acting, request, change)
        except HeadraceError as error:
            return await self._drawing.problem(request, error)
        return RedirectResponse(then, 303)

    def _acting(self, request: Request, change: Callable[[], Any]) -> Any:
        caller = request.scope[CALLER]
        with acting(caller.name if caller is not None else ""):
            return change()
