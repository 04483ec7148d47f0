"""Pages on which files are scored: drop one, see whether its columns fit, watch the bar, fetch the answers."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.batch.job import UNDER_WAY, Job
from headrace.entrypoints.console.guard import Table
from headrace.entrypoints.console.pages import Drawing
from headrace.entrypoints.http.callers import CALLER
from headrace.kernel.clock import utc_now
from headrace.workspace import Workspace

JOBS_SHOWN = 100


class Scoring:
    """The pages of jobs."""

    def __init__(self, ws: Workspace, drawing: Drawing) -> None:
        self._ws = ws
        self._drawing = drawing

    def table(self) -> Table:
        """The routes, each with the scope that it asks for."""
        return [
            (Route("/jobs", self.jobs, methods=["GET"]), "any"),
            (Route("/jobs/{id}", self.job, methods=["GET"]), "any"),
        ]

    async def jobs(self, request: Request) -> Response:
        """A place to drop a file, and the jobs there were."""
        may = _may(request)

        def view() -> dict[str, Any]:
            jobs = [job_view(job) for job in self._ws.jobs(limit=JOBS_SHOWN)]
            return {"title": "jobs", "jobs": jobs, "may": may, "model": request.query_params.get("model", "")}

        return await self._drawing.of(request, "jobs.html", view)

    async def job(self, request: Request) -> Response:
        """One job: how far it is, its first answers, and its files."""
        may, part = _may(request), "only" in request.query_params

        def view() -> dict[str, Any]:
            job = self._ws.job(request.path_params["id"])
            theirs = may and _is_theirs(request, job)
            first = self._ws.first_answers(job.id) if theirs and job.chunks_done else None
            columns, rows = (first.columns, first.rows()) if first is not None else ([], [])
            return {"title": "job", "job": job_view(job), "may": theirs, "columns": columns, "rows": rows}

        return await self._drawing.of(request, "job_part.html" if part else "job.html", view)


def _may(request: Request) -> bool:
    """Whether the caller may score, and see what was scored."""
    caller = request.scope[CALLER]
    return caller is None or caller.may("predict")


def _is_theirs(request: Request, job: Job) -> bool:
    """Whether the caller asked for a job, or may see others' because they may deploy."""
    caller = request.scope[CALLER]
    return caller is None or caller.name == job.created_by or caller.may("deploy")


def job_view(job: Job) -> dict[str, Any]:
    """A job as texts and figures."""
    now = job.ended or utc_now()
    seconds = (now - job.started).total_seconds() if job.started else 0.0
    share = job.chunks_done / job.chunks if job.chunks else 0.0
    speed = job.counts.read / seconds if seconds > 0 else 0.0
    left = seconds * (1 - share) / share if share and job.status in UNDER_WAY else None
    return {
        "id": job.id,
        "reference": job.reference,
        "source": job.source.rpartition("/")[2],
        "status": job.status,
        "going": job.status in UNDER_WAY,
        "percent": round(100 * (1.0 if job.status == "done" else share), 1),
        "read": f"{job.counts.read:,}",
        "scored": f"{job.counts.scored:,}",
        "rejected": job.counts.rejected and f"{job.counts.rejected:,}",
        "speed": f"{speed:,.0f} rows/s" if speed else "",
        "left": "" if left is None else f"{left:.0f} s left" if left < 120 else f"{left / 60:.0f} min left",
        "seconds": f"{seconds:.1f} s" if job.started else "",
        "who": job.created_by,
        "created": job.created.strftime("%Y-%m-%d %H:%M"),
        "result": bool(job.result),
        "rejects": bool(job.rejects),
        "error": job.error,
    }
