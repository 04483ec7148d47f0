"""10,000 payloads that try to leave their folder, wherever a name or a path is taken: none does."""

import hashlib
import http.client
import itertools
import json
import random
import urllib.parse

import pytest

from headrace.kernel.errors import HeadraceError
from headrace.registry.importers.mlflow_models import model_file
from headrace.runtimes.bundle import MANIFEST, verify_bundle

SECRET = "the canary sings"
UPS = ("../", "..\\", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%c0%af", "..%2f", "..%5c", "..;/", "....//", ".%00./",
       "．．/", "%uff0e%uff0e/", "..%25c0%25af", "./../", "..//", "~/", "..\u2215", "..\x00/", "..\n/")  # fmt: skip
FRONTS = (
    "",
    "/",
    "//",
    "file://",
    "file:///",
    "\\\\host\\",
    "C:\\",
    "late/",
    "late@1/",
    "late;",
    "late#",
    "late?x=",
    "\x00",
)
TARGETS = ("canary.txt", "keys/signing.key", "etc/passwd", "headrace.db", "canary.txt\x00.json", "canary.txt%00", "canary",
           "outside/canary.txt#", "outside/canary.txt;x")  # fmt: skip
LEAST = 10_000


def payloads():
    """Every front, way up, depth and target; shuffled, always in the same order."""
    found = [f"{front}{up * depth}{target}" for front, up, depth, target in itertools.product(FRONTS, UPS, (1, 2, 3, 6, 12), TARGETS)]  # fmt: skip
    random.Random(1).shuffle(found)
    return found


def fingerprint(folder, besides):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
        if not path.is_relative_to(besides)
    }


@pytest.fixture
def canaries(registered):
    """Files around the workspace that nobody may read or change."""
    root = registered.places.root
    outside = root.parent
    for folder in (outside, outside / "outside", outside / "late"):
        folder.mkdir(exist_ok=True)
        (folder / "canary.txt").write_text(SECRET)
    return root, outside


def refused(call):
    """What a call said, which must be a refusal of ours or an answer without the secret."""
    try:
        return str(call())
    except HeadraceError as error:
        return str(error.document())


def test_no_payload_leaves_the_workspace(registered, canaries, start_headrace, example):
    root, outside = canaries
    before = fingerprint(outside, root)
    server = start_headrace("--workspace", str(root), "serve", "--port", "0")
    pages = start_headrace("--workspace", str(root), "console", "--port", "0")
    connection, console = (http.client.HTTPConnection("127.0.0.1", one["port"], timeout=30) for one in (server, pages))
    ways = (*in_python(registered, example), asked(console, CONSOLE), asked(connection, SCORING), in_a_bundle(outside), in_mlmodel(outside))  # fmt: skip
    sent = 0
    for payload, way in zip(payloads(), itertools.cycle(ways), strict=False):
        said = refused(lambda p=payload, w=way: w(p))
        assert SECRET not in said, (payload, way)
        assert "root:x:0" not in said, (payload, way)
        sent += 1
    assert sent >= LEAST
    connection.close()
    console.close()
    left = {path: found for path, found in fingerprint(outside, root).items() if "scratch" not in path.parts}
    assert left == before
    assert registered.verify_audit().intact


def in_python(ws, example):
    """The verbs that take a name or a path of something within the workspace."""
    return (
        lambda p: ws.version(p),
        lambda p: ws.version(f"late@{p}"),
        lambda p: ws.register(p, object(), example=example),
        lambda p: ws.promote("late@1", alias=p),
        lambda p: ws.promote(p),
        lambda p: ws.rollback(p),
        lambda p: ws.certify(p),
        lambda p: ws.predict(p, [{"minutes": 1.0, "carrier": "UA"}]),
        lambda p: ws.trace(p),
        lambda p: ws.snapshots.take(p, example, who="x"),
        lambda p: ws.snapshots.get(p),
        lambda p: ws.run_store.get(p),
        lambda p: ws.create_key(p),
        lambda p: ws.revoke_key(p),
        lambda p: ws.status(p),
    )


CONSOLE = ("GET /static/{}", "GET /models/{}", "GET /api/models/{}", "GET /api/predictions/{}", "POST /models/{}/try",
           "POST /api/models/{}/rollback", "GET /{}")  # fmt: skip
SCORING = (
    "POST /models/{}/predict",
    "POST /v2/models/{}/infer",
    "POST /{}",
    "POST /v1/models/{}:predict",
    "GET /models/{}",
)


def asked(connection, requests):
    """Ask a server for paths with the payload in them, as they are and unescaped."""
    turns = itertools.cycle(requests)

    def ask(payload):
        method, path = next(turns).split(" ")
        path = path.format("".join(c if c.isascii() else urllib.parse.quote(c) for c in payload))
        for character, escaped in (("\n", "%0a"), ("\x00", "%00"), (" ", "%20")):
            path = path.replace(character, escaped)
        connection.putrequest(method, path, skip_accept_encoding=True)
        connection.putheader("content-length", "2" if method == "POST" else "0")
        connection.endheaders(b"{}" if method == "POST" else None)
        response = connection.getresponse()
        assert response.status < 500, path
        return response.read().decode(errors="replace")

    return ask


def in_a_bundle(outside):
    """A manifest that names files elsewhere."""
    folder = outside / "scratch" / "bundle"
    folder.mkdir(parents=True)

    def verify(payload):
        content = {"name": "x", "version": 1, "task": "binary", "classes": [], "lineage": {"run": ""}, "params": {},
                   "created": "2026-01-01T00:00:00Z", "headrace": "0", "files": {payload: "0" * 64}}  # fmt: skip
        written = json.dumps(content).encode()
        (folder / MANIFEST).write_bytes(written)
        return verify_bundle(folder, hashlib.sha256(written).hexdigest())

    return verify


def in_mlmodel(outside):
    folder = outside / "scratch" / "mlflow"
    folder.mkdir(parents=True)

    def read(payload):
        (folder / "MLmodel").write_text(json.dumps({"flavors": {"sklearn": {"pickled_model": payload}}}))
        path = model_file(folder)
        assert path.resolve().is_relative_to(folder.resolve()), payload
        return path

    return read


def test_a_payload_that_is_tried_does_reach_outside_by_plain_means(canaries):
    root, _ = canaries
    assert (root / "../canary.txt").read_text() == SECRET
