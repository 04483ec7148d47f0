"""The scoring server as clients meet it: answers, refusals, descriptions, swaps under load, and kill -9."""

import http.client
import json
import signal
import threading
import urllib.request

import pytest
from tests.conftest import Threshold, call, eventually

from headrace.monitoring.predictions import Tables

ROW = {"minutes": 12.0, "carrier": "UA"}


@pytest.fixture
def server(registered, start_headrace):
    return start_headrace("--workspace", registered.places.url, "serve", "--port", "0")


def test_answers_refusals_and_descriptions(server):
    url = server["url"]
    status, reply = call("POST", f"{url}/models/late/predict", {"rows": [ROW, {**ROW, "minutes": None}]})
    assert status == 200 and reply["version"] == 1
    assert reply["predictions"][0] == {"prediction": False, "probabilities": {"false": 0.8, "true": 0.2}}
    assert call("POST", f"{url}/models/late/versions/1/predict", ROW)[0] == 200
    for path, body, expected, kind in [
        ("/models/late/predict", {**ROW, "minutes": "x"}, 422, "schema_violation"),
        ("/models/late/predict", {"rows": [ROW, {"minutes": 1.0}]}, 422, "schema_violation"),
        ("/models/late/predict", b"{", 400, "invalid_input"),
        ("/models/late/predict", {"rows": [ROW, {**ROW, "carrier": "explode"}]}, 422, "schema_violation"),
        ("/models/none/predict", ROW, 404, "not_found"),
        ("/models/late/versions/9/predict", ROW, 404, "not_found"),
        ("/models/..%2f..%2fetc/predict", ROW, 404, "not_found"),
        ("/nothing", ROW, 404, "not_found"),
    ]:
        status, error = call("POST", url + path, body)
        assert (status, error["kind"]) == (expected, kind), (path, error)
        assert error["todo"]
    status, error = call("POST", f"{url}/models/late/predict", {"rows": [ROW, {**ROW, "carrier": "explode"}]})
    assert error["row"] == 1 and "explodes" in error["error"]
    assert call("GET", f"{url}/models/late/predict")[0] == 405
    document = call("GET", f"{url}/openapi.json")[1]
    row = document["components"]["schemas"]["late.row"]
    assert row["required"] == ["carrier"] and "seen: 0 to 59" in row["properties"]["minutes"]["description"]
    assert call("GET", f"{url}/models/late/schema")[1] == row
    assert call("POST", f"{url}/models/late/predict", row["examples"][0])[0] == 200
    assert call("GET", f"{url}/health")[0] == 200
    assert call("GET", f"{url}/ready")[1]["status"] == "ready"
    with urllib.request.urlopen(f"{url}/metrics") as response:
        text = response.read().decode()
    label = 'consumer="",dialect="native",model="late",route="live",status="200",version="1"'
    assert f"headrace_requests_total{{{label}}}" in text
    assert 'headrace_errors_total{kind="schema_violation"}' in text


def test_a_large_body_is_refused(server):
    connection = http.client.HTTPConnection("127.0.0.1", server["port"], timeout=20)
    connection.putrequest("POST", "/models/late/predict")
    connection.putheader("content-length", str(40 << 20))
    connection.endheaders()
    try:
        for _ in range(40):
            connection.send(b" " * (1 << 20))
    except OSError:
        pass
    else:
        assert connection.getresponse().status == 413
    connection.close()
    assert call("GET", f"{server['url']}/health")[0] == 200


def test_nothing_is_ready_before_a_promotion(ws, start_headrace):
    server = start_headrace("--workspace", ws.places.url, "serve", "--port", "0")
    status, why = call("GET", f"{server['url']}/ready")
    assert status == 503 and "No model is live" in why["error"]


def test_versions_are_swapped_without_a_failed_or_mixed_answer(registered, example, server):
    ws = registered
    ws.register("late", Threshold(6.0), example=example)
    expected = {1: 0.2, 2: 1.0}
    wrong, answered, stop = [], [], threading.Event()

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", server["port"], timeout=20)
        while not stop.is_set():
            connection.request("POST", "/models/late/predict", json.dumps({"rows": [ROW] * 3}))
            response = connection.getresponse()
            reply = json.loads(response.read())
            answered.append((response.getheader("headrace-generation"), reply.get("version")))
            shares = {p["probabilities"]["true"] for p in reply.get("predictions", [])}
            if response.status != 200 or shares != {expected[reply["version"]]}:
                wrong.append((response.status, reply))
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for number in [2, 1] * 6:
        generation = ws.promote(f"late@{number}") and ws.promotions.publish()
        eventually(lambda g=generation: call("GET", f"{server['url']}/ready")[1]["generation"] >= g)
    stop.set()
    for thread in clients:
        thread.join()
    assert not wrong
    assert {version for _, version in answered} == {1, 2}
    by_generation = {}
    for generation, version in answered:
        by_generation.setdefault(generation, set()).add(version)
    assert all(len(versions) == 1 for versions in by_generation.values())


def test_a_damaged_bundle_never_becomes_live_and_the_old_one_answers_on(registered, example, server):
    ws = registered
    version = ws.register("late", Threshold(6.0), example=example)
    path = ws.places.bundles / version.digest / "reference" / "model.pkl"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    ws.promote("late@2")
    ready = eventually(lambda: (r := call("GET", f"{server['url']}/ready")[1]).get("problem") and r)
    assert "was altered" in ready["problem"]["error"]
    assert call("POST", f"{server['url']}/models/late/predict", ROW)[1]["version"] == 1


def test_kill_9_keeps_what_was_written_and_ingest_takes_it_once(registered, server):
    ids = [call("POST", f"{server['url']}/models/late/predict", ROW)[1]["id"] for _ in range(20)]
    eventually(
        lambda: (
            list(registered.places.spool.glob("*/*.open")) or list(registered.places.predictions_inbox.glob("*.seg"))
        )
    )
    eventually(lambda: _captured(server) >= 20)
    server["process"].send_signal(signal.SIGKILL)
    server["process"].wait()
    taken = registered.tables.ingest()
    again = Tables(registered.places, registered.database).ingest()
    assert sorted(taken["request"].to_list()) == sorted(ids)
    assert again.height == 0
    assert registered.trace(f"{ids[0]}.0")["input"] == ROW


def _captured(server):
    with urllib.request.urlopen(f"{server['url']}/metrics") as response:
        lines = response.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("headrace_captured_rows_total")))


@pytest.mark.embedded
def test_a_segment_that_was_taken_before_a_crash_is_not_taken_twice(registered, server):
    call("POST", f"{server['url']}/models/late/predict", ROW)
    inbox = registered.places.predictions_inbox
    segment = eventually(lambda: list(inbox.glob("*.seg")))[0]
    content = segment.read_bytes()
    assert registered.tables.ingest().height == 1
    segment.write_bytes(content)
    assert registered.tables.ingest().height == 0
    assert not list(inbox.glob("*.seg"))
