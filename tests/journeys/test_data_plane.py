"""What operators rely on: several processes, durable capture, columns that stay unwritten, logs, traces, and independence."""

import base64
import http.server
import json
import os
import re
import sqlite3
import threading
import time
import urllib.request

import pytest
from tests.conftest import Threshold, call, eventually

from headrace.kernel.routes import Rule
from headrace.monitoring.predictions import waiting_segments
from headrace.registry.routing import served
from headrace.serving.capture import read_segment

ROW = {"minutes": 12.0, "carrier": "UA"}


@pytest.fixture
def serve(registered, start_headrace):
    def start(*options, env=None):
        return start_headrace("--workspace", registered.places.url, "serve", "--port", "0", *options, env=env)

    return start


def page(server, path):
    with urllib.request.urlopen(server["url"] + path) as response:
        return response.read().decode()


def test_metrics_of_any_worker_are_those_of_all(serve):
    server = serve("--workers", "2")
    for _ in range(30):
        assert call("POST", f"{server['url']}/models/late/predict", ROW)[0] == 200
    label = 'consumer="",dialect="native",model="late",route="live",status="200",version="1"'

    def total():
        found = re.search(re.escape(f"headrace_requests_total{{{label}}}") + r" (\S+)", page(server, "/metrics"))
        return float(found[1]) if found else None

    eventually(lambda: total() == 30)
    text = page(server, "/metrics")
    for name in (
        "headrace_batch_rows_bucket",
        "headrace_request_duration_seconds_bucket",
        "headrace_captured_rows_total",
    ):
        assert name in text
    for name in ("headrace_dropped_captures_total", "headrace_queued_rows", "headrace_route_generation"):
        assert name in text


def test_hup_replaces_every_worker(serve):
    import signal

    from tests.faults.load import workers_of

    server = serve("--workers", "2")
    pid = server["process"].pid
    before = eventually(lambda: len(found := workers_of(pid)) == 2 and found)
    server["process"].send_signal(signal.SIGHUP)
    eventually(lambda: len(found := workers_of(pid)) == 2 and not found & before)
    assert call("POST", f"{server['url']}/models/late/predict", ROW)[0] == 200


@pytest.mark.embedded
def test_scoring_goes_on_without_database_and_console(registered, serve):
    server = serve()
    database = registered.places.database_file
    with sqlite3.connect(database) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert call("POST", f"{server['url']}/models/late/predict", ROW)[0] == 200
        holder.rollback()
    aside = database.with_suffix(".aside")
    database.rename(aside)
    assert call("POST", f"{server['url']}/models/late/predict", ROW)[0] == 200
    assert call("GET", f"{server['url']}/ready")[0] == 200
    aside.rename(database)


@pytest.mark.embedded
def test_a_server_starts_without_a_database(registered, example, serve):
    registered.places.database_file.rename(registered.places.database_file.with_suffix(".aside"))
    server = serve()
    assert call("POST", f"{server['url']}/models/late/predict", ROW)[0] == 200
    registered.places.database_file.with_suffix(".aside").rename(registered.places.database_file)


def test_durable_capture_refuses_what_it_cannot_write(registered, serve):
    server = serve("--capture", "durable")
    status, reply = call("POST", f"{server['url']}/models/late/predict", ROW)
    assert status == 200
    found = [r.id for p in waiting_segments(registered.places) for r in read_segment(p)]
    assert reply["id"] in found
    spool = next(registered.places.spool.iterdir())
    eventually(lambda: not list(spool.glob("*.open")))
    aside = spool.with_name("aside")
    spool.rename(aside)
    status, error = call("POST", f"{server['url']}/models/late/predict", ROW)
    assert status == 503 and error["kind"] == "storage_unavailable" and "not answered" in error["error"]
    aside.rename(spool)
    eventually(lambda: call("POST", f"{server['url']}/models/late/predict", ROW)[0] == 200)


def test_masked_and_hashed_columns_never_reach_the_disk(registered, example, serve):
    policy = {"settings": {"capture": {"mask": ["carrier"], "hash": ["minutes"]}}}
    assert served(policy) == Rule(masked=("carrier",), hashed=("minutes",))
    document = json.loads(registered.places.objects.latest(registered.places.routes).read_bytes())
    document["rules"] = {"late": {"masked": ["carrier"], "hashed": ["minutes"]}}
    registered.places.objects.put(registered.places.routes, json.dumps(document).encode())
    server = serve()
    secret = {"minutes": 12345.678, "carrier": "top secret carrier"}
    ids = [call("POST", f"{server['url']}/models/late/predict", secret)[1]["id"] for _ in range(2)]
    refused = call("POST", f"{server['url']}/models/late/predict", {**secret, "carrier": "explode"})
    assert refused[0] == 422
    rows = eventually(lambda: (f := registered.tables.ingest()).height >= 3 and [f])[0]
    kept = [json.loads(text) for text in rows.filter(rows["request"].is_in(ids))["features"]]
    assert kept[0] == kept[1] and set(kept[0]) == {"minutes"}
    assert kept[0]["minutes"].startswith("hash:") and len(kept[0]["minutes"]) == 37
    server["process"].terminate()
    server["process"].wait(30)
    for path in registered.places.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"top secret" not in content and b"12345.678" not in content, path


def test_the_access_log_has_a_line_for_each_request(registered, serve, tmp_path):
    _, key = registered.create_key("shop", ["predict"])
    log = tmp_path / "access.log"
    server = serve("--access-log", str(log))
    headers = {"content-type": "application/json", "x-request-id": "mine-7", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{server['url']}/models/late/predict", json.dumps(ROW).encode(), headers)
    with urllib.request.urlopen(request) as response:
        assert response.headers["x-request-id"] == "mine-7"
        reply = json.loads(response.read())
    assert call("POST", f"{server['url']}/models/none/predict", ROW)[0] == 404
    lines = eventually(lambda: log.exists() and len(found := log.read_text().splitlines()) == 2 and found)
    first, second = map(json.loads, lines)
    assert (first["status"], first["request_id"], first["consumer"], first["id"]) == (
        200,
        "mine-7",
        "shop",
        reply["id"],
    )
    assert (first["model"], first["version"], first["route"], first["rows"]) == ("late", 1, "live", 1)
    assert (second["status"], second["error"], second["path"]) == (404, "not_found", "/models/none/predict")
    assert 0 < first["seconds"] < 5


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps what an exporter sends."""

    bodies: list = []

    def do_POST(self):
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    Collector.bodies = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_is_a_span_under_its_callers(serve, collector):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    server = serve("--traces", collector)
    trace, parent = os.urandom(16), os.urandom(8)
    headers = {"content-type": "application/json", "traceparent": f"00-{trace.hex()}-{parent.hex()}-01"}
    request = urllib.request.Request(f"{server['url']}/models/late/predict", json.dumps(ROW).encode(), headers)
    with urllib.request.urlopen(request) as response:
        identifier = json.loads(response.read())["id"]
    body = eventually(lambda: Collector.bodies and Collector.bodies[0])
    spans = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert [span.name for span in spans] == ["POST /models/late/predict"]
    assert (spans[0].trace_id, spans[0].parent_span_id) == (trace, parent)
    told = {a.key: a.value.string_value or a.value.int_value for a in spans[0].attributes}
    assert told["headrace.request"] == identifier and told["headrace.version"] == 1
    assert told["http.response.status_code"] == 200


def test_a_deadline_of_the_caller_is_kept(serve):
    server = serve()
    for said, status in (("0", 400), ("soon", 400), ("0.000001", 408), ("5000", 200)):
        headers = {"content-type": "application/json", "headrace-deadline": said}
        request = urllib.request.Request(f"{server['url']}/models/late/predict", json.dumps(ROW).encode(), headers)
        try:
            with urllib.request.urlopen(request) as response:
                assert response.status == status
        except urllib.error.HTTPError as error:
            with error:
                assert error.code == status, said


class Spinning(Threshold):
    """Holds the interpreter for 30 ms and then fails, where the carrier asks for it."""

    def predict(self, frame):
        if "spin" in frame["carrier"].to_list():
            until = time.perf_counter() + 0.03
            while time.perf_counter() < until:
                pass
            raise RuntimeError("the shadow fails")
        return super().predict(frame)


def test_a_shadow_neither_slows_nor_fails_the_answer(registered, example, serve):
    ws = registered
    version = ws.register("late", Spinning(6.0), example=example)
    server = serve()
    url = f"{server['url']}/models/late/predict"

    def p90():
        took = []
        for _ in range(150):
            started = time.perf_counter()
            assert call("POST", url, {**ROW, "carrier": "spin"})[0] == 200
            took.append(time.perf_counter() - started)
        return sorted(took)[135]

    alone = p90()
    document = json.loads(ws.places.objects.latest(ws.places.routes).read_bytes())
    live = document["endpoints"]["late"]["live"]
    document["generation"] += 1
    document["endpoints"]["late"] = {"live": live, "canary": {"version": 2, "bundle": version.digest}, "paired": True}
    ws.places.objects.put(ws.places.routes, json.dumps(document).encode())
    eventually(lambda: call("GET", f"{server['url']}/ready")[1]["generation"] == document["generation"])
    assert p90() < 3 * alone + 0.02
    eventually(lambda: 'route="shadow",status="422"' in page(server, "/metrics"))


def test_a_caller_sticks_to_one_version_by_key_or_header(registered, example, serve):
    version = registered.register("late", Threshold(6.0), example=example)
    document = json.loads(registered.places.objects.latest(registered.places.routes).read_bytes())
    live = document["endpoints"]["late"]["live"]
    document["endpoints"]["late"] = {"live": live, "canary": {"version": 2, "bundle": version.digest}, "share": 50.0}
    registered.places.objects.put(registered.places.routes, json.dumps(document).encode())
    server = serve()

    def asked(key):
        headers = {"content-type": "application/json", "headrace-route-key": key}
        request = urllib.request.Request(f"{server['url']}/models/late/predict", json.dumps(ROW).encode(), headers)
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read())["version"]

    first = {f"user-{n}": asked(f"user-{n}") for n in range(40)}
    assert set(first.values()) == {1, 2}
    assert {key: asked(key) for key in first} == first


def test_several_models_with_one_memory_limit(registered, example, serve):
    for name in ("a", "b", "c"):
        registered.register(name, Threshold(6.0), example=example)
        registered.promote(f"{name}@1")
    server = serve("--memory", "1KB")
    for name in ("a", "b", "c", "late", "a"):
        status, reply = call("POST", f"{server['url']}/models/{name}/predict", ROW)
        assert status == 200 and reply["model"] == name
    evicted = float(re.search(r"^headrace_evictions_total (\S+)", page(server, "/metrics"), re.MULTILINE)[1])
    assert evicted >= 4
    status, error = call("POST", f"{server['url']}/predict", ROW)
    assert status == 404 and "--model" in error["todo"]
    single = serve("--model", "b")
    assert call("POST", f"{single['url']}/predict", ROW)[1]["model"] == "b"


def test_a_browser_shows_its_key_as_a_password(registered, start_headrace):
    _, key = registered.create_key("ops", ["deploy"])
    server = start_headrace("--workspace", registered.places.url, "console", "--port", "0", "--guarded")
    request = urllib.request.Request(server["url"])
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as error:
        assert error.code == 401 and error.headers["www-authenticate"].startswith("Basic")
    request.add_header("authorization", "Basic " + base64.b64encode(f"me:{key}".encode()).decode())
    with urllib.request.urlopen(request) as response:
        assert "late" in response.read().decode()
