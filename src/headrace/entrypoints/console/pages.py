"""Drawing a page of the console for the one who asked for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse

from headrace.entrypoints.http.callers import CALLER
from headrace.entrypoints.outcomes import status_of
from headrace.kernel.errors import HeadraceError
from headrace.workspace import Workspace

HERE = Path(__file__).parent
PROBLEM = '{% extends "page.html" %}{% block main %}{% include "answer.html" %}{% endblock %}'


class Drawing:
    """Templates, with what stands on every page."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape())

    def page(self, request: Request, template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
        """A page that shows nothing of the workspace but these values."""
        shared = {"names": [], "path": request.url.path, "title": "the loop", "caller": request.scope.get(CALLER)}
        return HTMLResponse(self._templates.get_template(template).render({**shared, **values}), status)

    async def of(self, request: Request, template: str, view: Callable[[], dict[str, Any]]) -> HTMLResponse:
        """A page of what `view` finds in the workspace, or the error that it raises."""
        try:
            values = await run_in_threadpool(view)
        except HeadraceError as error:
            return await self.problem(request, error)
        names = await run_in_threadpool(self._ws.models)
        chosen = "loop.html" if request.query_params.get("part") else template
        return self.page(request, chosen, {"names": names, **values})

    async def problem(self, request: Request, error: HeadraceError) -> HTMLResponse:
        """A page that says what went wrong."""
        names: list[str] = []
        with contextlib.suppress(HeadraceError):  # the page says what went wrong first
            names = await run_in_threadpool(self._ws.models)
        shared = {"path": request.url.path, "caller": request.scope.get(CALLER)}
        values = {"names": names, "title": error.kind, "error": error, "version": "", **shared}
        return HTMLResponse(self._templates.from_string(PROBLEM).render(values), status_of(error))
