"""The express way and the ordinary one give one reply: a query in the URL, which means nothing, leads the ordinary way."""

import http.client
import json

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.conftest import address, eventually, start

import headrace
from headrace.monitoring.predictions import waiting_segments
from headrace.serving.capture import read_segment

pytestmark = pytest.mark.xdist_group("both ways")
ROW = {"distance": 812.5, "delay": None, "carrier": "UA"}
NATIVE, INVOKE = "/models/late/predict", "/models/late/invocations"
TENSORS = [
    {"name": name, "shape": [1], "datatype": kind, "data": [value]}
    for name, kind, value in (("distance", "FP64", 1.5), ("delay", "FP64", 0.25), ("carrier", "BYTES", "AA"))
]


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    """To a server of a compiled model, with its workspace."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "distance": rng.normal(900, 300, 400),
            "delay": np.where(rng.random(400) < 0.2, np.nan, rng.normal(5, 9, 400)),
            "carrier": rng.choice(["UA", "AA", "B6"], 400),
        }
    )
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["carrier"]), remainder="passthrough")
    model = make_pipeline(encode, HistGradientBoostingClassifier(max_iter=9, random_state=0))
    model.fit(frame, frame["distance"] > 900)
    root = address(tmp_path_factory.mktemp("both") / "ws")
    ws = headrace.open(root)
    assert ws.register("late", model, example=frame).runtime == "graph"
    ws.promote("late@1")
    with start("--workspace", root, "serve", "--port", "0") as running:
        found = http.client.HTTPConnection("127.0.0.1", running["port"], timeout=20)
        for _ in range(50):
            ask(found, NATIVE, ROW)
        yield found, ws.places
        found.close()
    ws.close()


def ask(connection, path, body, **headers):
    """Status, fields and body, without what differs between any two requests."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", path, content, {"content-type": "application/json", **named})
    response = connection.getresponse()
    fields, reply = dict(response.getheaders()), response.read()
    if response.status == 200 and fields["content-type"] == "application/json":
        reply = json.loads(reply)
        reply.pop("id", None)
    fields.pop("headrace-id", None)
    return response.status, fields, reply


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (NATIVE, ROW, {}),
        (NATIVE, {"rows": [ROW]}, {}),
        (NATIVE, {"rows": [ROW] * 7}, {}),
        (NATIVE, {"rows": [ROW] * 65}, {}),
        (NATIVE, {**ROW, "carrier": "never: seen"}, {}),
        (NATIVE, {**ROW, "more": 1}, {}),
        (NATIVE, {"distance": 1.0, "carrier": "UA"}, {}),
        (NATIVE, ROW, {"x_request_id": "mine-1"}),
        (NATIVE, ROW, {"headrace_deadline": "5000"}),
        (NATIVE, ROW, {"headrace_deadline": "never"}),
        (NATIVE, ROW, {"accept": "application/vnd.apache.arrow.stream"}),
        ("/predict", ROW, {}),
        ("/models/late/versions/1/predict", ROW, {}),
        (INVOKE, {"dataframe_records": [ROW]}, {}),
        (INVOKE, b"distance,delay,carrier\n1.5,,UA\n", {"content_type": "text/csv"}),
        ("/v1/models/late:predict", {"instances": [ROW]}, {}),
        ("/v2/models/late/infer", {"inputs": TENSORS}, {}),
        (NATIVE, {**ROW, "distance": "far"}, {}),
        (NATIVE, {"rows": []}, {}),
        (NATIVE, b'{"distance": 1.0, "distance": 2.0, "delay": 1.0, "carrier": "UA"}', {}),
        (NATIVE, b'{"distance": NaN, "delay": 1.0, "carrier": "UA"}', {}),
        (NATIVE, b"\xff", {}),
        (NATIVE, b"", {}),
        ("/models/other/predict", ROW, {}),
        ("/v2/models/late/infer", {"inputs": TENSORS[:1]}, {}),
        ("/v1/models/late:predict", {"instances": 7}, {}),
    ],
)
def test_one_reply_whichever_way_it_went(connection, path, body, headers):
    express = ask(connection[0], path, body, **headers)
    assert express == ask(connection[0], path + "?ordinary", body, **headers)
    if express[0] == 200:
        assert express[1]["headrace-generation"] == "1"


def test_both_are_captured_and_counted(connection):
    found, places = connection
    for path in (NATIVE, NATIVE + "?ordinary"):
        ask(found, path, {"distance": 4321.0, "delay": 1.5, "carrier": "B6"})
    records = []

    def captured():
        everything = [r for p in waiting_segments(places) for r in read_segment(p)]
        records[:] = [
            replace(r, id="", time=0.0, latency=0.0) for r in everything if r.features["distance"] == [4321.0]
        ]
        return len(records) == 2

    eventually(captured)
    assert records[0] == records[1] and records[0].predictions == [True]
    found.request("GET", "/metrics")
    told = found.getresponse().read().decode()
    assert 'dialect="native"' in told
