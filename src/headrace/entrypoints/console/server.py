"""The console's process: pages and the management API behind one guard against other sites."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from headrace import settings
from headrace.entrypoints.console import views
from headrace.entrypoints.console.administering import Administering
from headrace.entrypoints.console.graphs import lineage_chart
from headrace.entrypoints.console.guard import Guarded, SameSite, Table
from headrace.entrypoints.console.oidc import Provider, configured
from headrace.entrypoints.console.pages import HERE, Drawing
from headrace.entrypoints.console.scoring import Scoring
from headrace.entrypoints.console.signing_in import SignIn
from headrace.entrypoints.http.api import api_routes, refusal
from headrace.entrypoints.http.callers import CALLER
from headrace.entrypoints.http.jobs import JobRoutes
from headrace.entrypoints.scoring.listening import bind, is_loopback
from headrace.entrypoints.scoring.options import Options, check_guard
from headrace.entrypoints.scoring.polling import known_routes
from headrace.entrypoints.scoring.process import Announce, run_process
from headrace.kernel.errors import HeadraceError, NotFound
from headrace.kernel.threads import build_records
from headrace.workspace import Workspace

RUNS_SHOWN = 200


def console_app(ws: Workspace, required: bool = False, local: bool = True, provider: Provider | None = None) -> ASGIApp:
    """The ASGI application of the console and the API.

    Args:
        required: whether every caller must say who it is, whoever there is.
        local: whether only this machine reaches it, so that its own addresses alone are right.
        provider: at which people may sign in too.
    """
    drawing = Drawing(ws)
    pages = Pages(ws, drawing)
    table: Table = [
        (Route("/", pages.home), "any"),
        (Route("/models/{model}", pages.model), "any"),
        (Route("/models/{model}/try", pages.try_form, methods=["GET"]), "predict"),
        (Route("/models/{model}/try", pages.try_answer, methods=["POST"]), "predict"),
        (Route("/lineage/{subject}", pages.lineage), "any"),
        (Route("/runs", pages.runs), "any"),
        (Route("/audit", pages.audit), "admin"),
        (Route("/health", lambda _request: Response(b'{"status":"alive"}', media_type="application/json")), None),
        *SignIn(ws, drawing, provider).table(),
        *Administering(ws, drawing).table(),
        *JobRoutes(ws).table(),
        *Scoring(ws, drawing).table(),
        *api_routes(ws),
        (Mount("/static", StaticFiles(directory=HERE / "static")), None),
    ]
    handlers = {HTTPException: _http_error, HeadraceError: _refused}
    build_records()  # those of requests, which threads decode
    app = Starlette(routes=[route for route, _ in table], exception_handlers=handlers)
    guarded = Guarded(app, table, ws, required, provider, drawing.problem)
    return SameSite(guarded, local, settings.read(settings.CONSOLE_URL))


class Pages:
    """The pages of one workspace."""

    def __init__(self, ws: Workspace, drawing: Drawing) -> None:
        self._ws = ws
        self._page = drawing.of

    async def home(self, request: Request) -> Response:
        """The loop of every model as it stands."""
        return await self._page(request, "home.html", lambda: self._loops(_audits(request)))

    async def model(self, request: Request) -> Response:
        """One model: its loop, versions, promotions and rollouts."""
        name = request.path_params["model"]
        return await self._page(request, "model.html", lambda: self._model(name, _audits(request)))

    async def try_form(self, request: Request) -> Response:
        """A form drawn from the schema."""
        name = request.path_params["model"]

        def view() -> dict[str, Any]:
            fields = views.form_fields(self._ws, name)
            row = {f["name"]: f["value"] for f in fields}
            return {"title": name, "model": name, "fields": fields, **self._answer(name, row, "")}

        return await self._page(request, "try.html", view)

    async def try_answer(self, request: Request) -> Response:
        """The answer to what the form holds now."""
        name = request.path_params["model"]
        form = {key: str(value) for key, value in (await request.form()).items()}

        def view() -> dict[str, Any]:
            row = views.row_of_form(self._ws, name, form)
            return {"moved": True, **self._answer(name, row, form.get("_before", ""))}

        return await self._page(request, "answer.html", view)

    async def lineage(self, request: Request) -> Response:
        """The graph around a version, a model or a snapshot."""
        subject = request.path_params["subject"]

        def view() -> dict[str, Any]:
            graph = self._ws.lineage(subject)
            return {"title": subject, "subject": subject, "chart": lineage_chart(graph), "edges": graph.edges}

        return await self._page(request, "lineage.html", view)

    async def runs(self, request: Request) -> Response:
        """Every run, sortable, with a parallel plot."""
        sort, down = request.query_params.get("sort", ""), bool(request.query_params.get("down"))
        return await self._page(
            request,
            "runs.html",
            lambda: {"title": "runs", **views.runs_view(self._ws.runs(limit=RUNS_SHOWN), sort, down)},
        )

    async def audit(self, request: Request) -> Response:
        """The audit log, and whether its chain is whole."""

        def view() -> dict[str, Any]:
            def detail(entry: Any) -> str:
                return msgspec.json.encode(entry.detail).decode()[:160]

            return {
                "title": "audit",
                "entries": self._ws.audit(200),
                "report": self._ws.verify_audit(),
                "detail": detail,
            }

        return await self._page(request, "audit.html", view)

    def _loops(self, audits: bool) -> dict[str, Any]:
        loops = [views.loop_view(self._ws, name) for name in self._ws.models()]
        return {"loops": loops, "audit": self._ws.audit(8) if audits else []}

    def _model(self, name: str, audits: bool) -> dict[str, Any]:
        self._ws.version(name)
        return {
            "title": name,
            "model": name,
            "loops": [views.loop_view(self._ws, name)],
            "audit": self._ws.audit(6, name) if audits else [],
            "versions": self._ws.versions(name)[:50],
            "waiting": [one for one in self._ws.approvals_waiting() if one.model == name],
            "history": self._ws.promotions.history(name)[:20],
            "rollouts": self._ws.rollouts.list(name, 3),
            "deployments": self._ws.deployments(name, 10),
            "drift": self._ws.drift(name),
            "passed": _passed,
            "metric": _metric,
        }

    def _answer(self, name: str, row: dict[str, Any], before: str) -> dict[str, Any]:
        try:
            return views.answer_view(self._ws, name, row, before)
        except NotFound:
            raise
        except HeadraceError as error:
            return {"error": error}


def _audits(request: Request) -> bool:
    """Whether the caller may read the audit log: as an admin, or where no key is asked for."""
    caller = request.scope[CALLER]
    return caller is None or caller.may("admin")


def _passed(evidence: Any) -> str:
    return "none" if evidence is None else "passed" if evidence.passed else "NOT passed"


def _metric(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name} {m.value:.4f}" for name, m in list(metrics.items())[-1:])


def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HeadraceError):
        raise error
    return refusal(error)


def _http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    if status == 404:
        return refusal(NotFound(f"There is nothing at {request.url.path!r}.", todo="Begin at /."))
    return Response(
        msgspec.json.encode({"error": str(error), "kind": "invalid_input"}), status, media_type="application/json"
    )


def serve_console(ws: Workspace, options: Options, announce: Announce) -> None:
    """Serve the console until a signal.

    Raises:
        PortTaken: another program listens there.
        Refused: callers must say who they are, and nobody can.
        InvalidInput, MissingExtra: the identity provider's settings cannot be used.
    """
    provider = configured()
    if provider is None and not ws.people_store.any():
        check_guard(options, known_routes(ws.places))
    local = not options.unguarded and is_loopback(options.host)
    app = console_app(ws, options.keys_required, local, provider)
    run_process(app, bind(options.host, options.port), announce)
