"""The routes of batch jobs and of the files that are sent for them.

A file that is small enough comes with the request for its job (multipart). A large one is sent in pieces, as the tus
protocol has it (version 1.0.0, with creation and termination): a piece that was lost on the way is sent again, and the
rest goes on there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from headrace.batch.dialect import Wanted
from headrace.batch.job import Job, Options
from headrace.batch.links import job_of
from headrace.batch.uploads import PREFIX, Upload
from headrace.entrypoints.http.api import refusal
from headrace.entrypoints.http.callers import CALLER, Caller
from headrace.kernel.errors import HeadraceError, InvalidInput, NotFound, Refused, UnknownFormat
from headrace.serving.guard import Asked
from headrace.settings import acting, who
from headrace.workspace import Workspace

TUS = {"tus-resumable": "1.0.0"}
PIECE = 1 << 20
MOST_LISTED = 1_000


PATHS: list[tuple[str, str, Asked, str]] = [
    ("POST", "/api/jobs", "predict", "ask"),
    ("GET", "/api/jobs", "any", "list"),
    ("GET", "/api/jobs/{id}", "any", "get"),
    ("POST", "/api/jobs/{id}/cancel", "predict", "cancel"),
    ("POST", "/api/jobs/{id}/retry", "predict", "retry"),
    ("GET", "/api/jobs/{id}/first", "predict", "first"),
    ("GET", "/api/jobs/{id}/{which}", "predict", "download"),
    ("GET", "/fetch/{token}", None, "fetch"),
    ("POST", "/api/uploads", "predict", "begin"),
    ("GET", "/api/uploads/{id}", "predict", "arrived"),
    ("PATCH", "/api/uploads/{id}", "predict", "add"),
    ("DELETE", "/api/uploads/{id}", "predict", "discard"),
    ("GET", "/api/uploads/{id}/look", "predict", "look"),
]
"""Method, path, the scope that a caller must have, and the endpoint. What is got can be asked for by HEAD."""


class AskedJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request for a job: `source` is an upload or an allowed path, and `form` the format of a kept result."""

    model: str
    source: str
    destination: str = ""
    form: Literal["csv", "jsonl", "parquet", "xlsx"] = "csv"
    keep: str = "keys"
    max_rejects: str = ""
    rename: dict[str, str] = {}
    tell: list[str] = []
    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None
    header: bool = True
    raw: bool = False
    capture: bool = True
    priority: int = 0

    def options(self) -> Options:
        """How the job is done."""
        return Options(
            keep=self.keep,
            rejects=self.max_rejects,
            rename=self.rename,
            tell=tuple(self.tell),
            text=Wanted(delimiter=self.delimiter, quote=self.quote, encoding=self.encoding, header=self.header),
            escape=not self.raw,
            capture=self.capture,
            priority=min(self.priority, 0),
        )


class JobRoutes:
    """The endpoints over one workspace."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws

    def table(self) -> list[tuple[Route, Asked]]:
        """Every route, with the scope that it asks for."""
        return [
            (Route(path, self._answering(getattr(self, work)), methods=[method]), asked)
            for method, path, asked, work in PATHS
        ]

    def _answering(self, work: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                found = await work(request)
            except HeadraceError as error:
                return refusal(error)
            if isinstance(found, Response):
                return found
            return Response(msgspec.json.encode(found, enc_hook=str), media_type="application/json")

        return endpoint

    async def _as(self, request: Request, verb: Callable[..., Any], *given: Any) -> Any:
        """Call a verb in the caller's name, apart from the event loop."""
        caller: Caller | None = request.scope.get(CALLER)
        with acting(caller.name if caller is not None else ""):
            return await run_in_threadpool(verb, *given)

    async def ask(self, request: Request) -> Job:
        """Ask for a job by a JSON document, or by a form with the file itself."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            return await self._ask_by_form(request)
        if kind not in ("application/json", ""):
            raise UnknownFormat(f"A job cannot be asked for as {kind}.", todo="Send JSON, or multipart/form-data.")
        return await self._queue(request, _asked(await request.body()))

    async def _ask_by_form(self, request: Request) -> Job:
        async with request.form(max_files=1, max_fields=50) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile) or not file.filename:
                raise InvalidInput("The form holds no file.", field="file", todo="Add the field 'file'.")
            fields = {name: str(value) for name, value in form.items() if name != "file"}
            upload = await self._as(request, self._begin, file.filename, file.size or 0)
            while piece := await file.read(PIECE):
                upload = await self._as(request, self._ws.uploads().add, upload.id, upload.offset, piece)
        document: dict[str, Any] = {**fields, "source": upload.source}
        try:
            given = {name: msgspec.json.decode(fields[name]) for name in ("rename", "tell") if name in fields}
            asked = msgspec.convert({**document, **given}, AskedJob, strict=False)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _no_job(str(error)) from error
        return await self._queue(request, asked)

    async def _queue(self, request: Request, asked: AskedJob) -> Job:
        caller: Caller | None = request.scope.get(CALLER)
        if caller is not None and asked.source.startswith(PREFIX):
            upload = asked.source.removeprefix(PREFIX).partition("/")[0]
            if (await self._as(request, self._ws.uploads().get, upload)).who != caller.name:
                raise NotFound(f"There is no upload {upload!r} of yours.", todo="Begin one: POST /api/uploads.")
        given = (asked.model, asked.source, asked.destination, asked.form, asked.options())
        return await self._as(request, self._ws.queue_job, *given)

    async def list(self, request: Request) -> list[Job]:
        """The newest jobs."""
        limit = request.query_params.get("limit", "50")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            raise InvalidInput(f"limit is {limit!r}.", field="limit", expected="a number", todo="Correct it.")
        return await self._as(request, self._ws.jobs, request.query_params.get("model"), min(int(limit), MOST_LISTED))

    async def get(self, request: Request) -> Job:
        """One job."""
        return await self._as(request, self._ws.job, request.path_params["id"])

    async def _upload(self, request: Request) -> Upload:
        """A file that the caller sent.

        Raises:
            NotFound: there is none, or another sent it.
        """
        upload = await self._as(request, self._ws.uploads().get, request.path_params["id"])
        caller: Caller | None = request.scope.get(CALLER)
        if caller is not None and caller.name != upload.who:
            raise NotFound(f"There is no upload {upload.id!r} of yours.", todo="Begin one: POST /api/uploads.")
        return upload

    async def _theirs(self, request: Request) -> str:
        """The id of a job that the caller asked for, or that they may see because they may deploy.

        Raises:
            Refused: it is another's.
        """
        job = await self.get(request)
        caller: Caller | None = request.scope.get(CALLER)
        if caller is not None and caller.name != job.created_by and not caller.may("deploy"):
            raise Refused(f"Job {job.id} is another's.", expected=f"{job.created_by}, or deploy", todo="Ask them.")
        return job.id

    async def cancel(self, request: Request) -> Job:
        """End a job."""
        return await self._as(request, self._ws.cancel_job, await self._theirs(request))

    async def retry(self, request: Request) -> Job:
        """Queue a job again."""
        return await self._as(request, self._ws.requeue_job, await self._theirs(request))

    async def first(self, request: Request) -> list[dict[str, Any]]:
        """The first rows of a job's result, as soon as there are any."""
        frame = await self._as(request, self._ws.first_answers, await self._theirs(request))
        return frame.to_dicts()

    async def download(self, request: Request) -> Response:
        """The result or the rejects of a job that is done, or a range of their bytes."""
        which = request.path_params["which"]
        if which not in ("result", "rejects"):
            raise InvalidInput(f"A job has no {which!r}.", expected="result or rejects", todo="Correct the path.")
        path = await self._as(request, self._ws.job_file, await self._theirs(request), which)
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")

    async def fetch(self, request: Request) -> Response:
        """The result that a link in a notice opens."""
        job = job_of(await self._as(request, self._ws.console_secret), request.path_params["token"], self._ws.clock())
        path = await self._as(request, self._ws.job_file, job, "result")
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")

    def _begin(self, name: str, size: int) -> Upload:
        return self._ws.uploads().begin(name, size, who())

    async def begin(self, request: Request) -> Response:
        """Say what will be sent."""
        upload = await self._as(request, self._begin, _file_name(request), _number(request, "upload-length"))
        headers = {**TUS, "location": f"/api/uploads/{upload.id}", "upload-offset": "0"}
        return Response(msgspec.json.encode(_shown(upload)), 201, headers, media_type="application/json")

    async def arrived(self, request: Request) -> Response:
        """How much of a file arrived."""
        upload = await self._upload(request)
        headers = {**TUS, **_offset(upload), "upload-length": str(upload.size), "cache-control": "no-store"}
        return Response(msgspec.json.encode(_shown(upload)), 200, headers, media_type="application/json")

    async def add(self, request: Request) -> Response:
        """The next piece of a file."""
        kind = request.headers.get("content-type", "")
        if kind != "application/offset+octet-stream":
            raise UnknownFormat(
                f"A piece cannot be sent as {kind!r}.", expected="application/offset+octet-stream", todo="Say so."
            )
        given = ((await self._upload(request)).id, _number(request, "upload-offset"), await request.body())
        upload = await self._as(request, self._ws.uploads().add, *given)
        return Response(None, 204, {**TUS, **_offset(upload)})

    async def discard(self, request: Request) -> Response:
        """Remove a file that was sent."""
        await self._as(request, self._ws.uploads().discard, (await self._upload(request)).id)
        return Response(None, 204, TUS)

    async def look(self, request: Request) -> Any:
        """How the columns of a file that was sent fit to a model."""
        model = request.query_params.get("model", "")
        upload = await self._upload(request)
        return await self._as(request, self._ws.look, model, upload.source)


def _asked(body: bytes) -> AskedJob:
    try:
        return msgspec.json.decode(body, type=AskedJob)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_job(str(error)) from error


def _no_job(why: str) -> InvalidInput:
    return InvalidInput(
        f"The request is none for a job: {why}.",
        expected=f'{{"model": "late-arrival", "source": "{PREFIX}ID/NAME"}}',
        todo="Correct it; docs/batch.md has every field.",
    )


def _shown(upload: Upload) -> dict[str, Any]:
    return {**msgspec.to_builtins(upload), "source": upload.source}


def _offset(upload: Upload) -> dict[str, str]:
    return {"upload-offset": str(upload.offset)}


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InvalidInput(f"The header {name} is {text!r}.", field=name, expected="a number of bytes", todo="Send it.")
    return int(text)


def _file_name(request: Request) -> str:
    """The name of a file, from tus' metadata: ``filename BASE64``."""
    for pair in request.headers.get("upload-metadata", "").split(","):
        name, _, value = pair.strip().partition(" ")
        if name == "filename":
            try:
                return base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise InvalidInput(
                    "The file's name is no Base64.", field="upload-metadata", todo="Send 'filename BASE64'."
                ) from error
    raise InvalidInput(
        "The file has no name.",
        field="upload-metadata",
        expected="filename, a blank, and the name in Base64",
        todo="Send it: its ending says what the file is.",
    )
