"""Keys from their making to their end: scopes, quotas, who called how often, and every route guarded."""

import base64
import json
import re
import urllib.request

import pytest
from tests.conftest import eventually, headrace_command

from headrace.entrypoints.http.api import VERBS
from headrace.entrypoints.http.jobs import PATHS
from headrace.kernel.routes import allows
from headrace.serving.counters import Counters
from headrace.serving.endpoints import Endpoints
from headrace.serving.replies import Reply
from headrace.serving.site import VertexRoutes, site

ROW = {"minutes": 12.0, "carrier": "UA"}
PROBES = {"/health", "/ready", "/ping", "/version", "/models/{model}/ping", "/models/{model}/health"}
PROBES |= {"/models/{model}/version", "/v2/health/live", "/v2/health/ready", "/probe"}


def ask(method, url, key=None, document=None, basic=False):
    """Status and body."""
    headers = {"content-type": "application/json"}
    if key is not None:
        said = f"Basic {base64.b64encode(f'me:{key}'.encode()).decode()}" if basic else f"Bearer {key}"
        headers["authorization"] = said
    body = json.dumps(document).encode() if document is not None else None
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def keys(registered):
    """A key for each scope."""
    return {scope: registered.create_key(f"app-{scope}", [scope])[1] for scope in ("predict", "deploy", "admin")}


def test_a_key_is_made_used_and_revoked(registered, start_headrace):
    root = registered.places.url
    made = headrace_command("--workspace", root, "keys", "create", "--consumer", "shop", "--p99", "20ms", "--json")
    document = json.loads(made.stdout)
    assert document["scopes"] == ["predict"] and document["p99"] == 0.02
    key = document["key"]
    assert not any(key.encode() in path.read_bytes() for path in registered.places.root.rglob("*") if path.is_file())
    server = start_headrace("--workspace", root, "serve", "--port", "0", "--guarded")
    url = f"{server['url']}/models/late/predict"
    assert ask("POST", url, None, ROW)[0] == 401
    assert ask("POST", url, "hr_wrong", ROW)[0] == 401
    for basic in (True, False):
        assert ask("POST", url, key, ROW, basic)[0] == 200
    assert ask("POST", url, key, {**ROW, "minutes": "x"})[0] == 422
    found = eventually(lambda: [c for c in registered.consumers() if c.consumer == "shop" and c.requests == 2])[0]
    assert (found.model, found.rows, found.objective, found.within) == ("late", 2, 0.02, 1.0)
    shown = headrace_command("--workspace", root, "status", "late")
    assert re.search(r"shop: 2 requests, 2 rows, p50 .* ms, p99 .* ms; objective 20 ms kept", shown.stdout)
    assert headrace_command("--workspace", root, "keys", "revoke", document["id"]).returncode == 0
    eventually(lambda: ask("POST", url, key, ROW)[0] == 401)
    assert [e.action for e in registered.audit(2)] == ["revoke key", "create key"]
    segments = eventually(lambda: (f := registered.tables.ingest()).height and [f])[0]
    assert set(segments["consumer"].to_list()) == {"shop"}


def test_without_guard_a_key_is_optional_and_a_wrong_one_is_refused(registered, keys, start_headrace):
    server = start_headrace("--workspace", registered.places.url, "serve", "--port", "0")
    url = f"{server['url']}/models/late/predict"
    assert ask("POST", url, None, ROW)[0] == 200
    assert ask("POST", url, keys["predict"], ROW)[0] == 200
    assert ask("POST", url, "hr_wrong", ROW)[0] == 401


def test_a_quota_is_kept(registered, start_headrace):
    _, key = registered.create_key("greedy", ["predict"], quota=5)
    server = start_headrace("--workspace", registered.places.url, "serve", "--port", "0")
    url = f"{server['url']}/models/late/predict"
    statuses = [ask("POST", url, key, ROW)[0] for _ in range(15)]
    assert statuses[:5] == [200] * 5 and 429 in statuses
    assert ask("POST", url, None, ROW)[0] == 200
    eventually(lambda: ask("POST", url, key, ROW)[0] == 200)


def test_every_scoring_route_is_guarded(registered, keys, start_headrace):
    server = start_headrace("--workspace", registered.places.url, "serve", "--port", "0", "--guarded")
    counters = Counters()
    table = site(
        Endpoints(None, counters), {}, lambda: Reply(200, b""), lambda: False, VertexRoutes("/probe", "/guess")
    )
    assert len(table) >= 35
    for path in table:
        url = server["url"] + path.template.replace("{model}", "late").replace("{version}", "1")
        if path.template in ("/probe", "/guess"):
            continue
        status = ask(path.method, url, None, ROW if path.method == "POST" else None)[0]
        if path.template in PROBES:
            assert path.scope is None and status == 200, path
            continue
        assert path.scope is not None and status == 401, path
        wrong = ask(path.method, url, keys["deploy"], ROW if path.method == "POST" else None)[0]
        right = ask(path.method, url, keys["predict"], ROW if path.method == "POST" else None)[0]
        assert wrong == (403 if path.scope == "predict" else 200), path
        assert right not in (401, 403), path


def test_every_route_of_the_console_and_the_api_is_guarded(registered, keys, start_headrace):
    server = start_headrace("--workspace", registered.places.url, "console", "--port", "0", "--guarded")
    held = {name: (name,) for name in keys}
    pages = [("GET", page, "any") for page in ("/", "/models/late", "/runs", "/nothing")]
    pages += [("GET", "/audit", "admin")] + [(method, "/models/late/try", "predict") for method in ("GET", "POST")]
    for path in ("/health", "/static/style.css"):
        assert ask("GET", server["url"] + path)[0] == 200
    for method, path, scope in pages + [(m, p, s) for m, p, s, _ in (*VERBS, *PATHS) if s is not None]:
        url = server["url"] + path.replace("{model}", "none").replace("{n:int}", "9").replace("{id}", "x")
        body = {} if method == "POST" else None
        assert ask(method, url, None, body)[0] == 401, path
        allowed = {name for name, scopes in held.items() if allows(scopes, scope)}
        for name, key in keys.items():
            status = ask(method, url, key, body, basic=True)[0]
            assert (status != 403) == (name in allowed) and status != 401, (path, name, status)
            for ending in ("%0A", "%0D", "%00", "/", "//", "%2F", ";", "%3F", "?x"):
                tricked = ask(method, url + ending, key, body)[0]
                assert tricked in (307, 403, 404, 405) or name in allowed, (path, ending, name, tricked)
    for name, key in keys.items():
        page = ask("GET", server["url"], key)[1].decode()
        assert ("Last changes" in page) == (name == "admin")


def test_beyond_this_machine_there_must_be_a_key(registered, start_headrace):
    words = ("--workspace", registered.places.url)
    for verb in ("serve", "console"):
        refused = start_headrace(*words, verb, "--host", "0.0.0.0", "--port", "0")
        assert refused["kind"] == "refused" and "headrace keys create" in refused["todo"]
    _, key = registered.create_key("shop", ["predict"])
    server = start_headrace(*words, "serve", "--host", "0.0.0.0", "--port", "0")
    url = f"http://127.0.0.1:{server['port']}/models/late/predict"
    assert ask("POST", url, None, ROW)[0] == 401
    assert ask("POST", url, key, ROW)[0] == 200


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--consumer", "Shop!"), "cannot be the name of a consumer"),
        (("--consumer", "shop", "--scope", "predict,fly"), "one or more of predict, train, deploy, approve, admin"),
        (("--consumer", "shop", "--p99", "soon"), "is not a duration"),
        (("--consumer", "shop", "--p99", "99999999999999999d"), "is not a duration"),
        (("--consumer", "shop", "--quota", "0"), "above 0"),
        (("--consumer", "shop", "--quota", "lots"), "requests a second"),
    ],
)
def test_a_key_that_cannot_be_is_refused(ws, words, says):
    done = headrace_command("--workspace", ws.places.url, "keys", "create", *words)
    assert done.returncode == 2 and says in " ".join(done.stderr.split()), done.stderr
    assert ws.keys() == []


@pytest.mark.parametrize(
    "change", [{"scopes": [1]}, {"scopes": [["predict"]]}, {"quota": True}, {"p99": "9" * 20 + "d"}]
)
def test_the_api_refuses_a_key_that_cannot_be(ws, start_headrace, change):
    server = start_headrace("--workspace", ws.places.url, "console", "--port", "0")
    status, content = ask("POST", f"{server['url']}/api/keys", None, {"consumer": "shop", **change})
    assert status == 400 and json.loads(content)["todo"], content
    assert ws.keys() == []


@pytest.mark.parametrize(
    "words",
    [
        ("--port", "70000"),
        ("--port", "-1"),
        ("--max-concurrent", "0"),
        ("--timeout", "0"),
        ("--timeout", "nan"),
        ("--max-body", "0"),
        ("--guarded", "--unguarded"),
    ],
)
def test_options_that_cannot_be_are_refused(ws, words):
    done = headrace_command("--workspace", ws.places.url, "serve", *words)
    assert done.returncode == 2 and "fault of Headrace" not in done.stderr, done.stderr
