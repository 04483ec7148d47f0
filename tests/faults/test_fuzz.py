"""Whatever is sent, the answer is never a fault of ours: awkward paths and bodies, to both servers."""

import urllib.request

import pytest
from tests.conftest import Threshold, call

from headrace.entrypoints.http.api import VERBS

PATHS = [
    "..",
    "%2e%2e",
    "%252e%252e",
    "a;b",
    "a%00b",
    "a%5cb",
    "..%2f..%2fetc%2fpasswd",
    "%23",
    "x" * 3000,
    "é",
    "m@1",
    "@",
]


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    import json
    import subprocess
    import sys

    import polars as pl

    import headrace

    root = tmp_path_factory.mktemp("fuzz") / "ws"
    ws = headrace.open(root)
    rows = pl.DataFrame({"minutes": [1.0, None, 40.0] * 50, "carrier": ["UA", "AA", "B6"] * 50})
    ws.register("late", Threshold(30.0), example=rows)
    ws.promote("late@1")
    ws.close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "headrace", "--workspace", str(root), verb, "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for verb in ("serve", "console")
    ]
    yield [json.loads(process.stdout.readline())["url"] for process in processes]
    for process in processes:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.mark.parametrize("payload", PATHS)
def test_paths_escape_nowhere(urls, payload):
    quoted = urllib.request.quote(payload, safe="%")
    for url in (
        f"{urls[0]}/models/{quoted}/predict",
        f"{urls[1]}/api/models/{quoted}/rollback",
        f"{urls[1]}/api/outcomes/{quoted}",
    ):
        status, body = call("POST", url, {})
        assert 400 <= status < 500, (url, status, body)
        assert "root:" not in str(body)
    for url in (f"{urls[1]}/api/models/{quoted}", f"{urls[1]}/api/predictions/{quoted}", f"{urls[1]}/static/{quoted}"):
        status, body = call("GET", url)
        assert 400 <= status < 500, (url, status, body)


BODIES = [
    b"",
    b"null",
    b"[]",
    b"3",
    b'"x"',
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 5000,
    b'{"rows":[{"minutes":1e999,"carrier":"x"}]}',
    b'{"rows":[{"minutes":NaN,"carrier":"x"}]}',
    b'{"rows":[{"carrier":"x","carrier":3}]}',
    b'{"rows":[' + b"{}," * 9999 + b"{}]}",
    b"{" + b",".join(b'"k%d":1' % i for i in range(100_000)) + b"}",
    b'{"why": 3}',
    b'{"rows": [3]}',
    b'{"rows": {"a": 1}}',
]


@pytest.mark.parametrize("body", BODIES, ids=lambda b: f"{b[:20]!r}-{len(b)}")
def test_hostile_bodies_are_refused(urls, body):
    posts = [
        path.replace("{model}", "late").replace("{n:int}", "1") for method, path, _, _ in VERBS if method == "POST"
    ]
    for url in [
        f"{urls[0]}/models/late/predict",
        *(urls[1] + p for p in posts if "certify" not in p and "runs" not in p),
    ]:
        if body == b"" and "promote" in url:
            continue
        status, answer = call("POST", url, body)
        assert status < 500, (url, status, answer)
    assert call("GET", f"{urls[0]}/health")[0] == 200
    assert call("GET", f"{urls[1]}/health")[0] == 200
