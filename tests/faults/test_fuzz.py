"""Whatever is sent, the answer is never a fault of ours: fuzzed from the servers' own descriptions.

CI sends some hundreds of requests with a fixed seed; `make soak` sends 100,000.
"""

import os
import urllib.request

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from tests.conftest import Threshold, call

from headrace.entrypoints.http.api import VERBS

SOAK = bool(os.environ.get("HEADRACE_SOAK"))
CASES = 4_000 if SOAK else 30
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


@pytest.mark.filterwarnings("ignore")
def test_the_scoring_server_under_schemathesis(urls):
    schema = schemathesis.openapi.from_url(f"{urls[0]}/openapi.json")
    seen = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @schemathesis_given(operation)
        def send(case):
            response = case.call()
            seen.append(response.status_code)
            assert response.status_code < 500, (case.body, response.text)

        send()
    assert {200, 422} & set(seen)
    assert len(seen) >= CASES // 2


def schemathesis_given(operation):
    from hypothesis import given

    def wrap(function):
        quiet = settings(
            max_examples=CASES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        return quiet(given(case=operation.as_strategy())(function))

    return wrap


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
