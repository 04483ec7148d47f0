"""What a scoring server offers: its table of paths, from every dialect and page."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from headrace.kernel.errors import HeadraceError, Overloaded
from headrace.kernel.release import VERSION
from headrace.kernel.routes import Rule
from headrace.kernel.schema import row_schema
from headrace.serving.describing import withheld
from headrace.serving.dialects import open_inference, tensorflow
from headrace.serving.dialects.dialect import Codecs
from headrace.serving.dialects.invocations import Invocations
from headrace.serving.dialects.native import Native
from headrace.serving.dialects.open_inference import OpenInference
from headrace.serving.dialects.tensorflow import TensorFlow
from headrace.serving.endpoints import Endpoints
from headrace.serving.handbook import handbook
from headrace.serving.openapi import openapi
from headrace.serving.paths import Path, View
from headrace.serving.replies import Reply, document, encode_json

HTML = b"text/html; charset=utf-8"
TEXT = b"text/plain; charset=utf-8"


class VertexRoutes(NamedTuple):
    """The paths that Vertex AI tells a container to use."""

    health: str = ""
    predict: str = ""


BATCH_TRANSFORM = {"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
"""What SageMaker's batch transform asks a container for, where its user left it open (CreateTransformJob)."""


def site(
    endpoints: Endpoints,
    codecs: Codecs,
    metrics: Callable[[], Reply],
    draining: Callable[[], bool],
    vertex: VertexRoutes,
) -> list[Path]:
    """Every path of a scoring server.

    Probes are open to everybody, because what probes has no key; they tell no more than whether the server is well.
    """
    probes = _Probes(endpoints, draining)
    native, invocations = Native(codecs), Invocations(codecs)
    inference, tf = OpenInference(), TensorFlow()
    model, numbered = "/models/{model}", "/models/{model}/versions/{version}"
    v2, v2n = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    v1, v1n = "/v1/models/{model}", "/v1/models/{model}/versions/{version}"
    paths = [
        *[Path("POST", f"{at}/predict", "predict", native) for at in ("", model, numbered)],
        *[Path("POST", f"{at}/invocations", "predict", invocations) for at in ("", model, numbered)],
        *[Path("POST", f"{at}/infer", "predict", inference) for at in (v2, v2n)],
        *[Path("POST", f"{at}:predict", "predict", tf) for at in (v1, v1n)],
        Path("GET", "/health", None, page=probes.health),
        Path("GET", "/execution-parameters", "any", page=lambda _: document(BATCH_TRANSFORM)),
        Path("GET", "/ready", None, page=probes.ready),
        *[
            Path("GET", path, None, page=probes.ping, kind="text/plain")
            for path in ("/ping", "/models/{model}/ping", "/models/{model}/health")
        ],
        *[
            Path("GET", path, None, page=_version, kind="text/plain")
            for path in ("/version", "/models/{model}/version")
        ],
        Path("GET", "/v2/health/live", None, page=probes.health),
        Path("GET", "/v2/health/ready", None, page=probes.ready),
        Path("GET", "/v2", "any", page=lambda _: open_inference.server_metadata()),
        *[Path("GET", f"{at}/ready", "any", page=_model_ready, about=True) for at in (v2, v2n)],
        *[Path("GET", at, "any", page=_inference_metadata, about=True) for at in (v2, v2n)],
        *[Path("GET", at, "any", page=_status, about=True) for at in (v1, v1n)],
        *[Path("GET", f"{at}/metadata", "any", page=_tf_metadata, about=True) for at in (v1, v1n)],
        Path("GET", "/models", "any", page=_models),
        Path("GET", "/models/{model}/schema", "any", page=_schema, about=True),
        Path("GET", "/metrics", "any", page=lambda _: metrics(), kind="text/plain"),
    ]
    told = [Path("POST", vertex.predict, "predict", invocations)] if vertex.predict else []
    told += [Path("GET", vertex.health, None, page=probes.ready)] if vertex.health else []
    taken = {(path.method, path.template) for path in told}
    paths = told + [path for path in paths if (path.method, path.template) not in taken]
    paths.append(Path("GET", "/openapi.json", "any", page=lambda view: document(openapi(view.state, paths))))
    paths.append(
        Path("GET", "/docs", "any", page=lambda view: Reply(200, handbook(view.state), kind=HTML), kind="text/html")
    )
    return paths


class _Probes:
    """Whether the process lives, and whether it can answer."""

    def __init__(self, endpoints: Endpoints, draining: Callable[[], bool]) -> None:
        self._endpoints = endpoints
        self._draining = draining

    def health(self, _view: View) -> Reply:
        return document({"status": "alive"})

    def ping(self, view: View) -> Reply:
        """For MLflow and SageMaker: 200 where the model, or any, answers; 503 where none does."""
        model = view.target.model
        problem = self._problem() if model is None or model in view.state.active else _nothing_live()
        return Reply(200, b"\n", kind=TEXT) if problem is None else _unready(problem)

    def ready(self, view: View) -> Reply:
        problem = self._problem()
        if problem is not None:
            return _unready(problem)
        told = self._endpoints.problem
        note = {"problem": told.document()} if told else {}
        return document({"status": "ready", "generation": view.state.generation, **note})

    def _problem(self) -> HeadraceError | None:
        if self._draining():
            return Overloaded("This process is ending.", todo="Ask another one.")
        if self._endpoints.state.active:
            return None
        return self._endpoints.problem or _nothing_live()


def _unready(problem: HeadraceError) -> Reply:
    return Reply(503, encode_json(problem.document()))


def _nothing_live() -> HeadraceError:
    return Overloaded("No model is live yet.", todo="Promote a version: headrace promote MODEL@N.")


def _version(_view: View) -> Reply:
    return Reply(200, VERSION.encode(), kind=TEXT)


def _models(view: View) -> Reply:
    found = {
        model: {"live": a.live.version, "canary": a.canary.version if a.canary else None, "share": a.share}
        for model, a in view.state.active.items()
    }
    return document({"generation": view.state.generation, "models": found})


def _schema(view: View) -> Reply:
    assert view.loaded is not None
    rule = view.state.rules.get(view.loaded.model, Rule())
    return document(row_schema(withheld(view.loaded.schema, rule)))


def _model_ready(view: View) -> Reply:
    assert view.loaded is not None
    return document({"name": view.loaded.model, "ready": True})


def _inference_metadata(view: View) -> Reply:
    assert view.loaded is not None
    model = view.loaded.model
    return open_inference.model_metadata(view.loaded, [n for m, n in view.state.versions if m == model])


def _status(view: View) -> Reply:
    assert view.active is not None
    return tensorflow.status(view.active.live)


def _tf_metadata(view: View) -> Reply:
    assert view.loaded is not None
    return tensorflow.metadata(view.loaded)
