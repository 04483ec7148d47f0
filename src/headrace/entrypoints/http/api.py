"""The routes of the management API. Each parses, calls one verb of the workspace, and encodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.entrypoints.http.callers import CALLER, COOKIE, Caller, client_address, named
from headrace.entrypoints.outcomes import status_of
from headrace.kernel.errors import HeadraceError, InvalidInput
from headrace.serving.guard import Asked, shown_key
from headrace.settings import acting, who
from headrace.workspace import Workspace

Verb = Callable[[Workspace, Request, Any], Any]


def api_routes(ws: Workspace) -> list[tuple[Route, Asked]]:
    """Every route of the API, with the scope that it asks for."""
    return [
        (Route(path, _endpoint(ws, verb), methods=[method], name=f"{method} {path}"), asked)
        for method, path, asked, verb in VERBS
    ]


def _endpoint(ws: Workspace, verb: Verb) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        body = await request.body() if request.method == "POST" else b""
        try:
            document = msgspec.json.decode(body) if body else {}
        except (msgspec.DecodeError, RecursionError) as error:
            return refusal(
                InvalidInput(f"The body is not JSON: {error}.", expected="a JSON object", todo="Correct it.")
            )
        try:
            caller: Caller | None = request.scope.get(CALLER)
            with acting(caller.name if caller is not None else ""):
                found = await run_in_threadpool(verb, ws, request, document)
        except HeadraceError as error:
            return refusal(error)
        return Response(msgspec.json.encode(found, enc_hook=str), media_type="application/json")

    return endpoint


def refusal(error: HeadraceError) -> Response:
    """An error as the API gives it."""
    return Response(msgspec.json.encode(error.document()), status_of(error), media_type="application/json")


def _reference(request: Request) -> str:
    return f"{request.path_params['model']}@{request.path_params['n']}"


def _object(document: Any, **kinds: type | tuple[type, ...]) -> dict[str, Any]:
    """The known fields of a JSON object, each of its kind.

    Raises:
        InvalidInput: something else.
    """
    if not isinstance(document, dict):
        raise InvalidInput(
            "The body is no JSON object.", expected=f"an object with {', '.join(kinds)}", todo="Send one."
        )
    for name, value in document.items():
        if name not in kinds or not isinstance(value, kinds[name]):
            expected = ", ".join(f"{n} ({getattr(k, '__name__', 'number')})" for n, k in kinds.items())
            raise InvalidInput(
                f"The field {name!r} is unknown or of the wrong type.",
                field=name,
                expected=expected,
                todo="Correct it.",
            )
    return document


def _models(ws: Workspace, _request: Request, _document: Any) -> Any:
    rows = []
    for name in ws.models():
        versions = ws.versions(name)
        live = next((v.reference for v in versions if "live" in v.aliases), None)
        rows.append({"model": name, "versions": len(versions), "live": live})
    return rows


def _versions(ws: Workspace, request: Request, _document: Any) -> Any:
    model = request.path_params["model"]
    ws.version(model)
    return ws.versions(model)


def _start(ws: Workspace, request: Request, document: Any) -> Any:
    asked = _object(document, reason=str)
    model = request.path_params["model"]
    run = ws.again(model, asked.get("reason", "asked for"))
    return {"run": run}


def _promote(ws: Workspace, request: Request, document: Any) -> Any:
    asked = _object(document, alias=str, why=str)
    if ws.approvals.required(request.path_params["model"]):
        named(request.scope.get(CALLER), "promote")
    return ws.promote(_reference(request), asked.get("alias", "live"), asked.get("why", "asked for"))


def _approve(ws: Workspace, request: Request, document: Any) -> Any:
    named(request.scope.get(CALLER), "approve")
    return ws.approve(_reference(request), _object(document, why=str).get("why", ""))


def _rollback(ws: Workspace, request: Request, document: Any) -> Any:
    return ws.rollback(request.path_params["model"], _object(document, why=str).get("why", "asked for"))


def _prove(ws: Workspace, request: Request, document: Any) -> Any:
    asked = _object(document, same_environment=bool)
    return {"run": ws.start_proof(_reference(request), same_environment=asked.get("same_environment", False))}


def _deploy(ws: Workspace, request: Request, document: Any) -> Any:
    targets = _object(document, targets=list).get("targets", [])
    if not targets or not all(isinstance(target, str) for target in targets):
        raise InvalidInput("No target is named.", field="targets", expected='{"targets": [name]}', todo="Name one.")
    return {"run": ws.start_deployment(_reference(request), targets)}


def _outcomes(ws: Workspace, _request: Request, document: Any) -> Any:
    rows = document.get("rows") if isinstance(document, dict) else document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidInput(
            "The body holds no rows.", expected='{"rows": [{"prediction_id", "outcome", "time"}, …]}', todo="Send them."
        )
    return {"outcomes": ws.record_outcomes(rows)}


def _audit(ws: Workspace, request: Request, _document: Any) -> Any:
    limit = request.query_params.get("limit", "50")
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
        raise InvalidInput(f"limit is {limit!r}.", expected="a number", todo="Correct it.")
    report = ws.verify_audit() if request.query_params.get("verify") else None
    return {"entries": ws.audit(min(int(limit), 1000)), "report": report}


def _trace(ws: Workspace, request: Request, _document: Any) -> Any:
    return ws.trace(request.path_params["id"], replay="replay" in request.query_params)


def _search(ws: Workspace, request: Request, _document: Any) -> Any:
    asked = request.query_params
    return ws.search(asked.get("words", ""), model=asked.get("model"), where=asked.getlist("where"))


def _forget(ws: Workspace, _request: Request, document: Any) -> Any:
    key = document.get("key") if isinstance(document, dict) else None
    if not isinstance(key, dict):
        raise InvalidInput("The body holds no key.", expected='{"key": {"COLUMN": VALUE}}', todo="Send one.")
    return ws.forget(**{str(name): value for name, value in key.items()})


def _progress(ws: Workspace, request: Request, _document: Any) -> Any:
    return ws.progress(request.path_params["model"])


def _create_key(ws: Workspace, _request: Request, document: Any) -> Any:
    asked = _object(document, consumer=str, scopes=list, p99=str, quota=(int, float))
    if isinstance(asked.get("quota"), bool):
        raise InvalidInput("The quota is no number.", field="quota", expected="requests a second", todo="Correct it.")
    record, text = ws.create_key(
        asked.get("consumer", ""), asked.get("scopes", ["predict"]), p99=asked.get("p99"), quota=asked.get("quota")
    )
    return {**msgspec.to_builtins(record), "key": text}


def _sign_in(ws: Workspace, request: Request, document: Any) -> Any:
    asked = _object(document, name=str, password=str)
    address = client_address(request)
    person, token, until = ws.sign_in(asked.get("name", ""), asked.get("password", ""), address)
    return {"name": person.name, "role": person.role, "token": token, "until": until}


def _sign_out(ws: Workspace, request: Request, _document: Any) -> Any:
    shown = (shown_key(dict(request.scope["headers"])) or b"").decode("latin-1")
    ws.session_store.close(shown or request.cookies.get(COOKIE, ""))
    return {}


def _me(_ws: Workspace, request: Request, _document: Any) -> Any:
    caller: Caller | None = request.scope.get(CALLER)
    if caller is None:
        return {"name": who(), "role": None, "scopes": ["admin"]}
    return {"name": caller.name, "role": caller.person and caller.person.role, "scopes": caller.scopes}


def _add_person(ws: Workspace, _request: Request, document: Any) -> Any:
    asked = _object(document, name=str, role=str, elsewhere=bool)
    person, code = ws.add_person(
        asked.get("name", ""), asked.get("role", "viewer"), elsewhere=asked.get("elsewhere", False)
    )
    return {**msgspec.to_builtins(person), "code": code}


def _reset_person(ws: Workspace, request: Request, _document: Any) -> Any:
    person, code = ws.reset_person(request.path_params["name"])
    return {**msgspec.to_builtins(person), "code": code}


def _change_role(ws: Workspace, request: Request, document: Any) -> Any:
    return ws.change_role(request.path_params["name"], _object(document, role=str).get("role", ""))


VERBS: list[tuple[str, str, Asked, Verb]] = [
    ("GET", "/api/models", "any", _models),
    ("GET", "/api/versions", "any", _search),
    ("GET", "/api/lineage/{subject}", "any", lambda ws, r, _: ws.lineage(r.path_params["subject"])),
    ("GET", "/api/models/{model}", "any", _versions),
    ("GET", "/api/models/{model}/versions/{n:int}", "any", lambda ws, r, _: ws.version(_reference(r))),
    ("POST", "/api/models/{model}/runs", "train", _start),
    ("POST", "/api/models/{model}/versions/{n:int}/certify", "train", lambda ws, r, _: ws.certify(_reference(r))),
    ("POST", "/api/models/{model}/versions/{n:int}/prove", "train", _prove),
    ("GET", "/api/models/{model}/versions/{n:int}/proofs", "any", lambda ws, r, _: ws.proofs(_reference(r))),
    ("GET", "/api/models/{model}/versions/{n:int}/evidence", "any", lambda ws, r, _: ws.evidence(_reference(r))),
    ("POST", "/api/models/{model}/versions/{n:int}/promote", "deploy", _promote),
    ("POST", "/api/models/{model}/versions/{n:int}/deploy", "deploy", _deploy),
    ("GET", "/api/deployments", "any", lambda ws, r, _: ws.deployments(r.query_params.get("model"))),
    ("POST", "/api/models/{model}/versions/{n:int}/approve", "approve", _approve),
    ("GET", "/api/approvals", "any", lambda ws, _r, _d: ws.approvals_waiting()),
    ("POST", "/api/models/{model}/rollback", "deploy", _rollback),
    ("GET", "/api/models/{model}/status", "any", lambda ws, r, _: ws.status(r.path_params["model"])),
    ("GET", "/api/models/{model}/progress", "any", _progress),
    ("GET", "/api/models/{model}/windows", "any", lambda ws, r, _: ws.windows.list(r.path_params["model"])),
    ("GET", "/api/runs", "any", lambda ws, r, _: ws.runs(r.query_params.get("model"))),
    ("POST", "/api/outcomes", "predict", _outcomes),
    (
        "GET",
        "/api/predictions/{id}",
        "train",
        lambda ws, r, _: ws.trace(r.path_params["id"], replay="replay" in r.query_params),
    ),
    ("POST", "/api/forget", "admin", _forget),
    ("GET", "/api/audit", "admin", _audit),
    ("GET", "/api/consumers", "any", lambda ws, _r, _d: ws.consumers()),
    ("GET", "/api/notices", "admin", lambda ws, r, _: ws.notices(r.query_params.get("model"))),
    ("GET", "/api/keys", "admin", lambda ws, _r, _d: ws.keys()),
    ("POST", "/api/keys", "admin", _create_key),
    ("POST", "/api/keys/{id}/revoke", "admin", lambda ws, r, _: ws.revoke_key(r.path_params["id"])),
    ("POST", "/api/sessions", None, _sign_in),
    ("POST", "/api/sessions/end", "any", _sign_out),
    ("GET", "/api/me", "any", _me),
    ("GET", "/api/people", "admin", lambda ws, _r, _d: ws.people()),
    ("POST", "/api/people", "admin", _add_person),
    ("POST", "/api/people/{name}/role", "admin", _change_role),
    ("POST", "/api/people/{name}/reset", "admin", _reset_person),
    ("POST", "/api/people/{name}/end", "admin", lambda ws, r, _: ws.end_person(r.path_params["name"])),
]
"""Method, path, the scope that a key must have, and the verb."""
