"""The same rows in every dialect, over HTTP and gRPC: the same answers, and the same refusals."""

import io
import json
import struct
import urllib.request

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.conftest import address, start

import headrace

pytestmark = pytest.mark.xdist_group("dialects")

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
TYPES = {"distance": "FP64", "stops": "INT64", "night": "BOOL", "carrier": "BYTES", "leaves": "BYTES"}
COLUMNS = list(TYPES)
ROWS = [
    {"distance": 812.5, "stops": 0, "night": True, "carrier": "UA", "leaves": "2013-05-01T06:30:00"},
    {"distance": None, "stops": 2, "night": False, "carrier": "never seen", "leaves": "2013-12-24T23:59:59.5"},
    {"distance": -0.1, "stops": 1, "night": True, "carrier": None, "leaves": "2013-01-01T00:00:00"},
    {"distance": 1e300, "stops": 7, "night": False, "carrier": 'é, "quoted"\nline', "leaves": "2014-02-28T12:00:00"},
]
PLAIN = [row for row in ROWS if row["carrier"] is not None]


class Late:
    """A pipeline with a step for moments and truth values in front of it."""

    classes_ = ["early", "late", "on time"]

    def __init__(self, pipeline):
        self.pipeline = pipeline

    @staticmethod
    def features(frame):
        return pd.DataFrame(
            {
                "distance": frame["distance"],
                "stops": frame["stops"],
                "night": frame["night"].astype(float),
                "carrier": frame["carrier"].astype(object).where(frame["carrier"].notna(), None),
                "hour": frame["leaves"].dt.hour,
            }
        )

    def predict(self, frame):
        return self.pipeline.predict(self.features(frame))

    def predict_proba(self, frame):
        return self.pipeline.predict_proba(self.features(frame))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    rng = np.random.default_rng(5)
    n = 600
    frame = pd.DataFrame(
        {
            "distance": np.where(rng.random(n) < 0.1, np.nan, rng.normal(900, 300, n)),
            "stops": rng.integers(0, 4, n),
            "night": rng.random(n) < 0.4,
            "carrier": pd.Series(rng.choice(["UA", "AA", "B6", None], n), dtype=object),
            "leaves": pd.Timestamp("2013-01-01") + pd.to_timedelta(rng.integers(0, 8760, n), unit="h"),
        }
    )
    target = rng.choice(Late.classes_, n)
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["carrier"]), remainder="passthrough")
    pipeline = make_pipeline(encode, HistGradientBoostingClassifier(max_iter=5, random_state=0))
    pipeline.fit(Late.features(frame), target)
    root = address(tmp_path_factory.mktemp("dialects") / "ws")
    ws = headrace.open(root)
    ws.register("late", Late(pipeline), example=frame)
    ws.promote("late@1")
    expected = {len(rows): ws.predict("late", rows) for rows in (ROWS, PLAIN)}
    ws.close()
    with start("--workspace", root, "serve", "--port", "0") as running:
        yield running | {"expected": expected}


def post(server, path, body, kind="application/json", **headers):
    """Status, decoded body and headers."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(server["url"] + path, content, named, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def said(server, *asked, **headers):
    status, body, _ = post(server, *asked, **headers)
    assert status == 200, body
    return json.loads(body)


def tensors(rows):
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    return [{"name": n, "shape": [len(rows)], "datatype": TYPES[n], "data": columns[n]} for n in COLUMNS]


def text(rows, header=True):
    frame = pl.DataFrame(
        rows,
        schema={
            "distance": pl.Float64,
            "stops": pl.Int64,
            "night": pl.Boolean,
            "carrier": pl.String,
            "leaves": pl.String,
        },
    )
    return frame.write_csv(include_header=header).encode()


def table(rows, write):
    frame = pl.DataFrame(rows).with_columns(pl.col("leaves").str.to_datetime())
    content = io.BytesIO()
    getattr(frame, write)(content)
    return content.getvalue()


def binary(rows):
    """The request of the binary extension: JSON, then the tensors' bytes."""
    inputs, tail = [], b""
    for one in tensors(rows):
        data = one.pop("data")
        if one["datatype"] == "BYTES":
            part = b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in data)
        else:
            kind = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}[one["datatype"]]
            part = np.array([np.nan if v is None else v for v in data], dtype=kind).tobytes()
        inputs.append(one | {"parameters": {"binary_data_size": len(part)}})
        tail += part
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return head + tail, str(len(head))


def values(rows):
    return [[row[name] for name in COLUMNS] for row in rows]


def by_column(rows):
    return {name: [row[name] for row in rows] for name in COLUMNS}


def lines(rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


def predictions(reply):
    return [one["prediction"] for one in reply["predictions"]]


def from_arrow(server, rows, path, body, kind):
    status, content, headers = post(server, path, body, kind)
    assert status == 200, content
    assert headers["headrace-version"] == "1"
    return pl.read_ipc_stream(io.BytesIO(content))["prediction"].to_list()


def through_binary(server, rows):
    body, length = binary(rows)
    status, content, headers = post(
        server, "/v2/models/late/infer", body, "application/octet-stream", Inference_Header_Content_Length=length
    )
    assert status == 200, content
    cut = int(headers["inference-header-content-length"])
    first = json.loads(content[:cut])["outputs"][0]
    tail, found = content[cut : cut + first["parameters"]["binary_data_size"]], []
    while tail:
        (size,) = struct.unpack_from("<I", tail)
        found.append(tail[4 : 4 + size].decode())
        tail = tail[4 + size :]
    return found


INVOKE, INFER, TF = "/models/late/invocations", "/v2/models/late/infer", "/v1/models/late:predict"
EVERY_ROW = {
    "native": lambda s, r: predictions(said(s, "/models/late/predict", {"rows": r})),
    "native, one row each": lambda s, r: [predictions(said(s, "/models/late/predict", row))[0] for row in r],
    "native, by number": lambda s, r: predictions(said(s, "/models/late/versions/1/predict", {"rows": r})),
    "native, single": lambda s, r: predictions(said(s, "/predict", {"rows": r})),
    "records": lambda s, r: said(s, INVOKE, {"dataframe_records": r})["predictions"],
    "split": lambda s, r: said(s, INVOKE, {"dataframe_split": {"columns": COLUMNS, "data": values(r)}})["predictions"],
    "instances": lambda s, r: said(s, INVOKE, {"instances": r})["predictions"],
    "instances, in order": lambda s, r: said(s, INVOKE, {"instances": values(r)})["predictions"],
    "inputs": lambda s, r: said(s, INVOKE, {"inputs": by_column(r)})["predictions"],
    "invocations, single": lambda s, r: said(s, "/invocations", {"dataframe_records": r})["predictions"],
    "csv": lambda s, r: said(s, INVOKE, text(r), "text/csv")["predictions"],
    "csv, without header": lambda s, r: said(s, INVOKE, text(r, header=False), "text/csv")["predictions"],
    "csv to csv": lambda s, r: post(s, INVOKE, text(r), "text/csv", accept="text/csv")[1].decode().splitlines(),
    "json lines": lambda s, r: said(s, INVOKE, lines(r), "application/jsonlines")["predictions"],
    "lines to lines": lambda s, r: [
        json.loads(line)["prediction"]
        for line in post(s, INVOKE, lines(r), "application/jsonlines", accept="application/jsonlines")[1].splitlines()
    ],
    "parquet": lambda s, r: said(s, INVOKE, table(r, "write_parquet"), PARQUET)["predictions"],
    "arrow": lambda s, r: from_arrow(s, r, "/models/late/predict", table(r, "write_ipc_stream"), ARROW),
    "arrow to json": lambda s, r: predictions(
        said(s, "/models/late/predict", table(r, "write_ipc_stream"), ARROW, accept="application/json")
    ),
    "open inference": lambda s, r: said(s, INFER, {"inputs": tensors(r)})["outputs"][0]["data"],
    "open inference, [n, 1]": lambda s, r: said(
        s, INFER, {"inputs": [t | {"shape": [len(r), 1], "data": [[v] for v in t["data"]]} for t in tensors(r)]}
    )["outputs"][0]["data"],
    "tensorflow rows": lambda s, r: said(s, TF, {"instances": r})["predictions"],
    "tensorflow columns": lambda s, r: said(s, TF, {"inputs": by_column(r)})["outputs"],
    "tensorflow, by number": lambda s, r: said(s, "/v1/models/late/versions/1:predict", {"instances": r})[
        "predictions"
    ],
}


@pytest.mark.parametrize("dialect", EVERY_ROW)
def test_the_same_rows_get_the_same_answers(server, dialect):
    assert EVERY_ROW[dialect](server, ROWS) == server["expected"][len(ROWS)]["prediction"].to_list()


def test_binary_tensors_get_the_same_answers(server):
    assert through_binary(server, PLAIN) == server["expected"][len(PLAIN)]["prediction"].to_list()


def test_probabilities_are_the_same_to_the_bit(server):
    expected = server["expected"][len(ROWS)].drop("prediction")
    reply = said(server, "/models/late/predict", {"rows": ROWS})["predictions"]
    native = [[one["probabilities"][name] for name in Late.classes_] for one in reply]
    assert native == [list(row) for row in expected.rows()]
    output = said(server, INFER, {"inputs": tensors(ROWS)})["outputs"][1]
    assert output["name"] == "probability" and output["parameters"]["classes"] == "early,late,on time"
    assert output["data"] == [value for row in native for value in row]
    arrow = post(server, "/models/late/predict", table(ROWS, "write_ipc_stream"), ARROW)[1]
    assert pl.read_ipc_stream(io.BytesIO(arrow)).drop("prediction").rows() == expected.rows()


def test_nan_is_null_where_a_protocol_has_it(server):
    expected = server["expected"][len(ROWS)]["prediction"].to_list()
    rows = [{**row, "distance": row["distance"] if row["distance"] is not None else float("nan")} for row in ROWS]
    assert said(server, TF, {"instances": rows})["predictions"] == expected
    status, body, _ = post(server, TF, {"instances": [{**ROWS[0], "distance": float("inf")}]})
    assert status == 422 and "inf" in json.loads(body)["error"]


WRONG = {
    "native": ("/models/late/predict", {"rows": [ROWS[0], {**ROWS[0], "stops": "many"}]}),
    "records": (INVOKE, {"dataframe_records": [ROWS[0], {**ROWS[0], "stops": "many"}]}),
    "inputs": (INVOKE, {"inputs": by_column([ROWS[0], {**ROWS[0], "stops": "many"}])}),
    "tensorflow": (TF, {"instances": [ROWS[0], {**ROWS[0], "stops": "many"}]}),
    "open inference": (INFER, {"inputs": tensors([ROWS[0], {**ROWS[0], "stops": "many"}])}),
    "csv": (INVOKE, text(ROWS[:1]) + b"1.5,many,true,UA,2013-01-01T00:00:00\n", "text/csv"),
}


@pytest.mark.parametrize("dialect", WRONG)
def test_a_wrong_value_is_named_in_each(server, dialect):
    status, body, _ = post(server, *WRONG[dialect])
    found = json.loads(body)
    assert status == 422 and (found["row"], found["field"]) == (1, "stops"), found
    assert found["todo"]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        (INVOKE, [ROWS[0]], "application/json", 400),
        (INVOKE, {"instances": ROWS, "inputs": {}}, "application/json", 400),
        (INVOKE, {"rows": ROWS}, "application/json", 400),
        (INVOKE, {"dataframe_split": {"columns": COLUMNS, "data": [[1]]}}, "application/json", 400),
        (INVOKE, b"a,b\n1,2\n", "text/csv", 400),
        (INVOKE, b"", "text/csv", 400),
        (INVOKE, b"\xff\xfe", "text/csv", 400),
        (INVOKE, b"PAR1", PARQUET, 400),
        (INVOKE, ROWS, "application/x-protobuf", 415),
        ("/models/late/predict", b"ARROW1", ARROW, 400),
        ("/models/late/predict", table([{"leaves": "2013-01-01T00:00:00"}], "write_ipc_stream"), ARROW, 422),
        (INFER, {"inputs": []}, "application/json", 400),
        (INFER, {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}]}, "application/json", 400),
        (INFER, {"inputs": [t | {"shape": [7]} for t in tensors(ROWS)]}, "application/json", 400),
        (INFER, {"inputs": [t | {"shape": [-1]} for t in tensors(ROWS)]}, "application/json", 400),
        (INFER, {"inputs": [t | {"datatype": "FP17"} for t in tensors(ROWS)]}, "application/json", 400),
        (INFER, {"inputs": tensors(ROWS), "outputs": [{"name": "nothing"}]}, "application/json", 400),
        (INVOKE, text(ROWS[:1]).replace(b"stops", b"distance", 1), "text/csv", 400),
        (INVOKE, {"dataframe_split": {"columns": [*COLUMNS, "stops"], "data": []}}, "application/json", 400),
        (INVOKE, b'{"dataframe_records": [{"stops": 1, "stops": 2}]}', "application/json", 400),
        (INVOKE, b'{"dataframe_records": [{"distance": NaN, "carrier": "\\ud800"}]}', "application/json", 400),
        (INVOKE, b'{"\\ud800": 1}', "application/json", 400),
        (TF, b'{"instances": [{"distance": NaN, "distance": 1}]}', "application/json", 400),
        (INFER, {"inputs": tensors(ROWS), "outputs": [{"name": {}}]}, "application/json", 400),
        (TF, {"instances": []}, "application/json", 400),
        (TF, {"rows": []}, "application/json", 400),
        (TF, {"instances": [[1, 2]]}, "application/json", 400),
    ],
)
def test_what_is_no_request_is_refused(server, path, body, kind, status):
    found, content, _ = post(server, path, body, kind)
    assert found == status, content
    assert json.loads(content)["todo"]


@pytest.mark.parametrize(
    ("body", "kind", "row"),
    [
        (lines(ROWS[:2]) + b"\n{", "application/jsonlines", 2),
        (json.dumps({"instances": [list(ROWS[0].values())] * 2 + [[1]]}).encode(), "application/json", 2),
        (json.dumps({"dataframe_records": [ROWS[0], 5]}).encode(), "application/json", 1),
    ],
)
def test_the_row_that_cannot_be_read_is_named(server, body, kind, row):
    status, content, _ = post(server, INVOKE, body, kind)
    assert status == 400 and json.loads(content)["row"] == row, content


def test_a_header_of_csv_is_known_by_most_of_its_names(server):
    status, content, _ = post(server, INVOKE, text(ROWS).replace(b"stops", b"stopps", 1), "text/csv")
    found = json.loads(content)
    assert (status, found["row"], found["field"]) == (422, 0, "stops") and "missing" in found["error"]


def test_a_header_field_of_many_digits_is_refused(server):
    body, _ = binary(PLAIN)
    status, content, _ = post(
        server, INFER, body, "application/octet-stream", Inference_Header_Content_Length="9" * 6000
    )
    assert status == 400 and b"length of its JSON part" in content


def test_mlflow_errors_have_what_its_clients_look_for(server):
    error = json.loads(post(server, INVOKE, {"rows": ROWS})[1])
    assert error["error_code"] == "BAD_REQUEST" and "exactly one of" in error["expected"]
    assert error["message"]


def get(server, path):
    with urllib.request.urlopen(server["url"] + path, timeout=10) as response:
        return response.status, response.read()


def test_metadata_tells_names_types_and_shapes(server):
    told = json.loads(get(server, "/v2/models/late")[1])
    assert {one["name"]: one["datatype"] for one in told["inputs"]} == TYPES
    assert told["versions"] == ["1"] and told["outputs"][0] == {
        "name": "prediction",
        "datatype": "BYTES",
        "shape": [-1],
    }
    assert "binary_tensor_data" in json.loads(get(server, "/v2")[1])["extensions"]
    assert json.loads(get(server, "/v1/models/late")[1])["model_version_status"][0]["state"] == "AVAILABLE"
    signature = json.loads(get(server, "/v1/models/late/metadata")[1])["metadata"]["signature_def"]
    assert set(signature["signature_def"]["serving_default"]["inputs"]) == set(COLUMNS)


@pytest.mark.parametrize(
    "path",
    [
        *("/ping", "/health", "/version", "/ready", "/models/late/ping", "/models/late/health", "/models/late/version"),
        *("/v2/health/live", "/v2/health/ready", "/v2/models/late/ready", "/v2/models/late/versions/1/ready"),
    ],
)
def test_probes_answer(server, path):
    assert get(server, path)[0] == 200


def test_each_example_of_the_document_works(server):
    document = json.loads(get(server, "/openapi.json")[1])
    tried = 0
    for path, operations in document["paths"].items():
        content = operations.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" in content:
            tried += 1
            said(server, path.replace("{version}", "1"), content["application/json"]["example"])
    assert tried >= 9


def test_the_handbook_is_whole_without_anything_from_elsewhere(server):
    page = get(server, "/docs")[1].decode()
    assert "late@1" in page and "2013-" in page and "on time" in page
    assert "src=" not in page and "@import" not in page and "//cdn" not in page
