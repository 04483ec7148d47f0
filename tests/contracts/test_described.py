"""What a server says of its models is what it answers: types and shapes of every kind of answer."""

import json
import urllib.request

import jsonschema_rs
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from tests.conftest import address, call, start

import headrace

RNG = np.random.default_rng(2)
FRAME = pd.DataFrame({"a": RNG.normal(size=80), "b": RNG.normal(size=80)})
YES = (FRAME["a"] > 0).to_numpy()


class Counts:
    """A regressor that answers whole numbers."""

    def predict(self, frame):
        return [int(value > 0) * 3 for value in frame["a"]]


MODELS = {
    "number": LinearRegression().fit(FRAME, FRAME["a"] * 2),
    "numbers": LinearRegression().fit(FRAME, FRAME[["b", "a"]].to_numpy()),
    "counts": Counts(),
    "truth": LogisticRegression().fit(FRAME, YES),
    "texts": LogisticRegression().fit(FRAME, np.where(YES, "yes", "no")),
    "labels": MultiOutputClassifier(LogisticRegression()).fit(FRAME, np.column_stack([YES, ~YES]).astype(int)),
    "several": MultiOutputClassifier(LogisticRegression()).fit(
        FRAME, np.column_stack([np.where(YES, "a", "b"), np.where(YES, "c", "d")])
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = address(tmp_path_factory.mktemp("described") / "ws")
    ws = headrace.open(root)
    for name, model in MODELS.items():
        ws.register(name, model, example=FRAME)
        ws.promote(f"{name}@1")
    ws.close()
    with start("--workspace", root, "serve", "--port", "0") as running:
        document = call("GET", f"{running['url']}/openapi.json")[1]
        yield running["url"], document


def schema_of(document, path, method="post", status="200"):
    return document["paths"][path][method]["responses"][status]["content"]


@pytest.mark.parametrize("model", MODELS)
def test_metadata_is_what_the_reply_has(server, model):
    url, _ = server
    inputs = [{"name": n, "shape": [2], "datatype": "FP64", "data": [0.5, -1.5]} for n in ("a", "b")]
    said = call("GET", f"{url}/v2/models/{model}")[1]["outputs"]
    found = call("POST", f"{url}/v2/models/{model}/infer", {"inputs": inputs})[1]["outputs"]
    assert [(one["name"], one["datatype"]) for one in said] == [(one["name"], one["datatype"]) for one in found]
    for told, real in zip(said, found, strict=True):
        assert [2, *told["shape"][1:]] == real["shape"], (told, real["shape"])


@pytest.mark.parametrize("model", MODELS)
def test_replies_fit_the_document(server, model):
    url, document = server
    row = {"a": 0.5, "b": -1.5}
    asked = {
        f"/models/{model}/predict": {"rows": [row, row]},
        f"/models/{model}/invocations": {"dataframe_records": [row]},
        f"/v1/models/{model}:predict": {"instances": [row]},
    }
    for path, body in asked.items():
        status, reply = call("POST", url + path, body)
        assert status == 200, reply
        schema = schema_of(document, path)["application/json"]["schema"]
        jsonschema_rs.validate({**schema, "components": document["components"]}, reply)
        asks = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        jsonschema_rs.validate({**asks, "components": document["components"]}, body)


def test_pages_have_the_type_that_is_said(server):
    url, document = server
    seen = set()
    for path, operations in document["paths"].items():
        if "get" not in operations or "{version}" in path:
            continue
        with urllib.request.urlopen(url + path) as response:
            kind = response.headers.get_content_type()
            assert kind in operations["get"]["responses"]["200"]["content"], (path, kind)
            if kind == "application/json":
                json.loads(response.read())
        seen.add(kind)
    assert seen == {"application/json", "text/plain", "text/html"}
