"""Clients that people already have, unchanged: MLflow's, Triton's by HTTP and gRPC, and calls as platforms make them."""

import json
import urllib.request

import pytest
from tests.clients import run_client
from tests.conftest import call, eventually
from tests.servers import free_port

import headrace

pytestmark = pytest.mark.servers

ROW = {"minutes": 12.0, "carrier": "UA"}
MLFLOW = """
import json, sys, pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.wait_server_ready(timeout=10)
frame = pd.DataFrame({"minutes": [12.0, None, 44.0], "carrier": ["UA", "AA", "B6"]})
print(json.dumps({"predictions": json.loads(client.invoke(frame).to_json())["predictions"], "version": client.get_version()}))
"""
TRITON_HTTP = """
import json, sys, numpy as np
import tritonclient.http as triton
client = triton.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("late")
def tensors(binary):
    minutes = triton.InferInput("minutes", [3], "FP64")
    minutes.set_data_from_numpy(np.array([12.0, np.nan, 44.0]), binary_data=binary)
    carrier = triton.InferInput("carrier", [3, 1], "BYTES")
    carrier.set_data_from_numpy(np.array([["UA"], ["AA"], ["é"]], dtype=object), binary_data=binary)
    return [minutes, carrier]
found = {"metadata": client.get_model_metadata("late")}
for binary in (True, False):
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("prediction", "probability")]
    reply = client.infer("late", tensors(binary), outputs=wanted, request_id="mine")
    found[f"binary {binary}"] = [reply.as_numpy("prediction").tolist(), reply.as_numpy("probability").tolist()]
    assert reply.get_response()["id"] == "mine"
reply = client.infer("late", tensors(True), model_version="1", request_compression_algorithm="gzip")
found["compressed"] = reply.as_numpy("prediction").tolist()
try:
    client.infer("none", tensors(True))
except triton.InferenceServerException as error:
    found["error"] = error.message()
print(json.dumps(found))
"""
TRITON_GRPC = """
import json, sys, numpy as np
import tritonclient.grpc as triton
client = triton.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
headers = {"authorization": f"Bearer {sys.argv[2]}"} if len(sys.argv) > 2 else {}
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("late", headers=headers)
minutes = triton.InferInput("minutes", [3], "FP64")
minutes.set_data_from_numpy(np.array([12.0, np.nan, 44.0]))
carrier = triton.InferInput("carrier", [3], "BYTES")
carrier.set_data_from_numpy(np.array(["UA", "AA", "é"], dtype=object))
metadata = client.get_model_metadata("late", headers=headers)
reply = client.infer("late", [minutes, carrier], request_id="mine", headers=headers, client_timeout=10)
found = {
    "inputs": [[one.name, one.datatype] for one in metadata.inputs],
    "answers": [reply.as_numpy("prediction").tolist(), reply.as_numpy("probability").tolist()],
    "id": reply.get_response().id,
}
changes = {
    "wrong": {"inputs": [minutes]},
    "unknown": {"model_name": "none"},
    "output": {"outputs": [triton.InferRequestedOutput("nothing")]},
    "version": {"model_version": "²"},
    "deadline": {"headers": {**headers, "headrace-deadline": "soon"}},
}
for name, change in changes.items():
    try:
        client.infer(**{"model_name": "late", "inputs": [minutes, carrier], "headers": headers} | change)
    except triton.InferenceServerException as error:
        found[name] = [error.status(), error.message()]
try:
    client.infer("late", [minutes, carrier], headers={"authorization": "Bearer wrong"})
except triton.InferenceServerException as error:
    found["key"] = error.status()
print(json.dumps(found))
"""
SHARES = [[0.8, 0.2], [1.0, 0.0], [1 - 44 / 60, 44 / 60]]


@pytest.fixture
def server(registered, start_headrace):
    return start_headrace("--workspace", registered.places.url, "serve", "--port", "0")


def test_mlflow_scoring_client(server):
    found = run_client(MLFLOW, str(server["port"]))
    assert found["predictions"] == [False, False, True] and found["version"] == headrace.__version__


def test_triton_client_by_http(server):
    found = run_client(TRITON_HTTP, str(server["port"]))
    assert found["binary True"] == found["binary False"] == [[False, False, True], SHARES]
    assert found["compressed"] == [False, False, True]
    assert {one["name"]: one["datatype"] for one in found["metadata"]["inputs"]} == {
        "minutes": "FP64",
        "carrier": "BYTES",
    }
    assert "No model 'none'" in found["error"]


def test_triton_client_by_grpc(registered, start_headrace, tmp_path):
    log = tmp_path / "access.log"
    server = start_headrace("--workspace", registered.places.url, "serve", "--port", "0", "--access-log", str(log))
    found = run_client(TRITON_GRPC, str(server["grpc_port"]))
    assert found["answers"] == [[False, False, True], SHARES] and found["id"] == "mine"
    assert found["inputs"] == [["minutes", "FP64"], ["carrier", "BYTES"]]
    assert found["wrong"][0] == "StatusCode.INVALID_ARGUMENT" and "carrier" in found["wrong"][1]
    assert found["unknown"][0] == "StatusCode.NOT_FOUND"
    for name, says in {
        "output": "outputs asked for",
        "version": "The version",
        "deadline": "headrace-deadline",
    }.items():
        assert found[name][0] == "StatusCode.INVALID_ARGUMENT" and says in found[name][1], found[name]
    path = "/inference.GRPCInferenceService/ModelInfer"
    calls = eventually(
        lambda: (
            log.exists()
            and len(lines := [one for one in map(json.loads, log.read_text().splitlines()) if one["path"] == path]) == 7
            and lines
        )
    )
    assert [(one["status"], one.get("error")) for one in calls[:3]] == [
        (200, None),
        (422, "schema_violation"),
        (404, "not_found"),
    ]
    assert (calls[0]["model"], calls[0]["rows"], calls[0]["method"]) == ("late", 3, "gRPC")


def test_grpc_asks_for_keys_too(registered, start_headrace):
    _, key = registered.create_key("shop", ["predict"])
    server = start_headrace("--workspace", registered.places.url, "serve", "--port", "0", "--guarded")
    found = run_client(TRITON_GRPC, str(server["grpc_port"]), key)
    assert found["answers"][0] == [False, False, True]
    assert found["key"] == "StatusCode.UNAUTHENTICATED"


def test_vertex_ai_style(registered, start_headrace):
    environment = {
        "AIP_HTTP_PORT": str(free_port()),
        "AIP_HEALTH_ROUTE": "/alive/and/well",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/7:predict",
    }
    server = start_headrace("--workspace", registered.places.url, "serve", env=environment)
    assert server["url"] == f"http://0.0.0.0:{environment['AIP_HTTP_PORT']}"
    url = f"http://127.0.0.1:{server['port']}"
    assert call("GET", f"{url}/alive/and/well")[1]["status"] == "ready"
    body = {"instances": [ROW, {"minutes": None, "carrier": "AA"}], "parameters": {"unused": 1}}
    assert call("POST", f"{url}/v1/endpoints/7:predict", body) == (200, {"predictions": [False, False]})


def test_vertex_ai_may_choose_paths_that_are_others_here(registered, start_headrace):
    environment = {"AIP_HEALTH_ROUTE": "/health", "AIP_PREDICT_ROUTE": "/predict"}
    server = start_headrace(
        "--workspace", registered.places.url, "serve", "--port", "0", "--grpc-port", "off", env=environment
    )
    assert call("GET", f"{server['url']}/health")[1]["status"] == "ready"
    assert call("POST", f"{server['url']}/predict", {"instances": [ROW]}) == (200, {"predictions": [False]})
    assert call("GET", f"{server['url']}/openapi.json")[1]["paths"]["/predict"]["post"]["tags"] == ["invocations"]


@pytest.mark.parametrize("name", ["AIP_HTTP_PORT", "HEADRACE_UNGUARDED"])
def test_guarded_is_stronger_than_the_environment(registered, start_headrace, name):
    registered.create_key("shop", ["predict"])
    words = ("--workspace", registered.places.url, "serve", "--port", "0", "--grpc-port", "off", "--guarded")
    server = start_headrace(*words, env={name: "1"})
    url = f"http://127.0.0.1:{server['port']}"
    assert call("POST", f"{url}/invocations", {"instances": [ROW]})[0] == 401


def test_sagemaker_style_container(registered, start_headrace):
    """The container's command is ``serve``; the model lies in a folder, the rest comes from the environment."""
    version = registered.version("late@1")
    server = start_headrace(
        "serve",
        env={
            "HEADRACE_BUNDLE": str(registered.places.bundles / version.digest),
            "HEADRACE_DIGEST": version.digest,
            "HEADRACE_HOST": "0.0.0.0",
            "HEADRACE_PORT": "0",
            "HEADRACE_UNGUARDED": "yes",
        },
    )
    url = f"http://127.0.0.1:{server['port']}"
    with urllib.request.urlopen(f"{url}/ping") as response:
        assert response.status == 200
    asked = {
        "text/csv": b"12.0,UA\n44,B6\n",
        "application/json": json.dumps({"instances": [ROW, {"minutes": 44.0, "carrier": "B6"}]}).encode(),
        "application/jsonlines": b'[12.0, "UA"]\n{"features": [44.0, "B6"]}\n',
    }
    found = {}
    for kind, content in asked.items():
        request = urllib.request.Request(f"{url}/invocations", content, {"content-type": kind, "accept": kind})
        with urllib.request.urlopen(request) as response:
            found[kind] = response.read().decode()
    assert found["text/csv"] == "false\ntrue\n"
    assert json.loads(found["application/json"]) == {"predictions": [False, True]}
    lines = found["application/jsonlines"].splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == [False, True]


def test_a_key_guards_a_container_that_can_be_reached(registered, start_headrace):
    version = registered.version("late@1")
    words = ("serve", "--host", "0.0.0.0", "--port", "0", "--bundle", str(registered.places.bundles / version.digest))
    refused = start_headrace(*words, "--digest", version.digest)
    assert refused["kind"] == "refused" and "--unguarded" in refused["todo"]


MODEL_SIGNING = """
import json, sys, base64
from pathlib import Path
from model_signing import hashing
from model_signing._signing import signing, sign_sigstore_pb
folder = Path(sys.argv[1])
bundle = sign_sigstore_pb.Signature.read(folder / "signature.json").bundle
signed = signing.dsse_payload_to_manifest(json.loads(bundle.dsse_envelope.payload))
found = hashing.Config().set_ignored_paths(paths=[folder / "signature.json"]).set_allow_symlinks(False).hash(folder)
print(json.dumps({"same": {d.identifier: d.digest.digest_hex for d in signed.resource_descriptors()}
                          == {d.identifier: d.digest.digest_hex for d in found.resource_descriptors()},
                  "name": signed.model_name, "files": len(list(signed.resource_descriptors()))}))
"""


def test_openssf_model_signing_reads_our_signature(registered):
    folder = registered.places.bundles / registered.version("late@1").digest
    found = run_client(MODEL_SIGNING, str(folder))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert found == {"same": True, "name": "late", "files": len(files) - 1}
