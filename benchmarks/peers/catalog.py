"""What is measured: how each server is prepared and started, and the request that it gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROW: dict[str, Any] = {
    **{"n0": 0.3517, "n1": -1.2041, "n2": 0.0873, "n3": 1.6612},
    **{"n4": -0.4409, "n5": 0.9185, "n6": -0.0306, "n7": 2.114},
    **{"s0": "a", "s1": "d", "s2": "h"},
}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Peer:
    """A server that is measured.

    Commands and variables may name {python}, {bin}, {folder} (with the model), {servers} (the scripts), {port}, and
    {port2} and {port3} for servers that listen more than once.

    Args:
        environment: the requirements file of its virtual environment; None is the Python that runs the benchmark.
        prepare: what makes its model, run once before the first start; nothing where it has no model.
        headers: what goes with each request, such as a key.
        answers: whether its answer must hold the probability of the model.
    """

    name: str
    what: str
    environment: str | None
    prepare: tuple[str, ...]
    command: tuple[str, ...]
    path: str = "/predict"
    body: Any = field(default_factory=lambda: ROW)
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    variables: Mapping[str, str] = field(default_factory=dict)
    answers: bool = True

    @property
    def content(self) -> str:
        """The body as it is sent."""
        return json.dumps(self.body, separators=(",", ":"))


GUARDED = ("--guarded", "--grpc-port", "off")


def _uvicorn(app: str) -> tuple[str, ...]:
    options = "--host 127.0.0.1 --port {port} --loop uvloop --http httptools --no-access-log --log-level warning"
    return ("{python}", "-m", "uvicorn", "--app-dir", "{servers}", *options.split(), app)


def _command(program: str, options: str) -> tuple[str, ...]:
    return ("{bin}/" + program, *options.split())


def _script(name: str, *values: str) -> tuple[str, ...]:
    return ("{python}", "{servers}/" + name, *values)


def _headrace(form: str, what: str) -> Peer:
    return Peer(
        f"headrace-{form}",
        what,
        None,
        _script("register.py", "{folder}", form),
        ("{python}", "-m", "headrace", "--workspace", "{folder}/workspace", "serve", "--port", "{port}", *GUARDED),
        path="/models/model/predict",
    )


def _open_inference() -> dict[str, Any]:
    """The row as a request of the Open Inference Protocol, a column for each field."""
    number, text = {"datatype": "FP64"}, {"datatype": "BYTES", "parameters": {"content_type": "str"}}
    inputs = [
        {"name": name, "shape": [1, 1], "data": [value], **(number if isinstance(value, float) else text)}
        for name, value in ROW.items()
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


_FIT = _script("model.py", "{folder}")
ECHO = Peer(
    "echo", "bare ASGI on uvicorn, returns the body", "fastapi", (), _uvicorn("echo:app"), path="/", answers=False
)
PEERS = (
    ECHO,
    Peer("fastapi-echo", "FastAPI and pydantic, no model", "fastapi", (), _uvicorn("fastapi_echo:app"), answers=False),
    Peer("typical", "FastAPI, pydantic, a frame, predict_proba", "fastapi", _FIT, _uvicorn("typical:app")),
    Peer(
        "mlflow",
        "mlflow models serve",
        "mlflow",
        _script("save_mlflow.py", "{folder}"),
        _command(
            "mlflow",
            "models serve --model-uri {folder}/model --env-manager local --workers 1 --host 127.0.0.1 --port {port}",
        ),
        path="/invocations",
        body={"dataframe_records": [ROW]},
        variables={"UVICORN_ACCESS_LOG": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
    ),
    Peer(
        "bentoml",
        "bentoml serve, adaptive batching",
        "bentoml",
        _FIT,
        _command("bentoml", "serve --host 127.0.0.1 --port {port} --working-dir {servers} bento:Predictor"),
        body={"rows": [ROW]},
        variables={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": "{folder}/bentoml"},
    ),
    Peer(
        "mlserver",
        "MLServer, scikit-learn runtime, adaptive batching",
        "mlserver",
        _script("save_mlserver.py", "{folder}"),
        _command("mlserver", "start {folder}"),
        path="/v2/models/model/infer",
        body=_open_inference(),
        variables={
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{port2}",
            "MLSERVER_METRICS_PORT": "{port3}",
            "MLSERVER_DEBUG": "false",
            "MLSERVER_PARALLEL_WORKERS": "1",
        },
    ),
    Peer("litserve", "LitServe, batches of 64", "litserve", _FIT, _script("lit.py", "{port}")),
    Peer(
        "ray",
        "Ray Serve, serve.batch of 64",
        "ray",
        _FIT,
        _script("ray_serve.py", "{port}"),
        variables={"RAY_USAGE_STATS_ENABLED": "0"},
    ),
    _headrace("compiled", "headrace serve, the pipeline compiled"),
    _headrace("unchanged", "headrace serve, the Python object itself"),
)
