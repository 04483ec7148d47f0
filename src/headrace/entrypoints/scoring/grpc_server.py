"""The Open Inference Protocol by gRPC, an extra: another face of the same core, beside HTTP in the same process."""

from __future__ import annotations

import asyncio
import importlib
import socket
import time
from collections.abc import Callable
from typing import Any

from headrace.entrypoints.outcomes import status_of
from headrace.entrypoints.scoring.access import AccessLog
from headrace.entrypoints.scoring.options import Options
from headrace.kernel.errors import Fault, HeadraceError, InvalidInput, MissingExtra, Overloaded, PortTaken
from headrace.kernel.release import VERSION
from headrace.serving.answering import Answering, Noted, Question
from headrace.serving.app import SEEN, Seen, deadline_of
from headrace.serving.bodies import Body
from headrace.serving.counters import Counters
from headrace.serving.decoding import Rows
from headrace.serving.dialects.dialect import Answered, Asked
from headrace.serving.dialects.open_inference import input_types, refuse_outputs
from headrace.serving.dialects.tensors import answers_as_tensors, from_bytes, output_types, rows_of, tensor, to_bytes
from headrace.serving.endpoints import Active, Endpoints, Loaded
from headrace.serving.guard import Asked as Scope
from headrace.serving.guard import Guard
from headrace.serving.limits import Limits
from headrace.serving.replies import Reply

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_STATUS = {
    "not_found": "NOT_FOUND",
    "too_large": "RESOURCE_EXHAUSTED",
    "overloaded": "RESOURCE_EXHAUSTED",
    "key_needed": "UNAUTHENTICATED",
    "refused": "PERMISSION_DENIED",
    "deadline_passed": "DEADLINE_EXCEEDED",
    "fault": "INTERNAL",
}
DRAIN_SECONDS = 10.0
MOST_DETAIL = 4000
"""Characters of an error: clients refuse a status of more than 16 kB."""
MESSAGES = "headrace.entrypoints.scoring.grpc_messages"


class GrpcInference:
    """The gRPC face of the Open Inference Protocol, as a dialect: bodies are messages."""

    name = "open-inference-grpc"

    def __init__(self, request: Any) -> None:
        self._request = request

    def decode(self, body: Body, loaded: Loaded) -> Asked:
        """The rows of the request's tensors."""
        refuse_outputs([output.name for output in self._request.outputs], loaded)
        return Asked(_rows(self._request, loaded))

    def encode(self, answered: Answered) -> Reply:
        """The answers travel as messages; see `GrpcServer`."""
        self.answered = answered
        return Reply(200, b"")

    def failed(self, document: dict[str, Any]) -> dict[str, Any]:
        """Errors travel as a status."""
        return document


class GrpcServer:
    """The service, over the core that HTTP uses too."""

    def __init__(
        self,
        endpoints: Endpoints,
        answering: Answering,
        guard: Guard,
        counters: Counters,
        limits: Limits,
        draining: Callable[[], bool],
        log: AccessLog | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._answering = answering
        self._guard = guard
        self._counters = counters
        self._limits = limits
        self._draining = draining
        self._log = log
        self.address = ""

    async def run(self) -> None:
        """Serve until cancelled, then let what is under way finish."""
        import grpc

        messages = importlib.import_module(MESSAGES)
        message: Callable[[str], Any] = messages.message
        self._message = message
        options = [("grpc.max_receive_message_length", self._limits.body), ("grpc.so_reuseport", 1)]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=self._limits.concurrent)
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(name, scope, work),
                request_deserializer=message(f"{name}Request").FromString,
                response_serializer=lambda reply: reply.SerializeToString(),
            )
            for name, (scope, work) in self._calls().items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(messages.SERVICE, handlers),))
        try:
            server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise PortTaken(
                f"gRPC cannot listen at {self.address}: {error}.",
                expected="a free port",
                todo="Choose another with --grpc-port, or switch gRPC off with --grpc-port off.",
            ) from error
        await server.start()
        try:
            await server.wait_for_termination()
        finally:
            await server.stop(DRAIN_SECONDS)

    def _calls(self) -> dict[str, tuple[Scope, Any]]:
        return {
            "ServerLive": (None, self._live),
            "ServerReady": (None, self._ready),
            "ModelReady": ("any", self._model_ready),
            "ServerMetadata": ("any", self._server_metadata),
            "ModelMetadata": ("any", self._model_metadata),
            "ModelInfer": ("predict", self._infer),
        }

    def _guarded(self, name: str, scope: Scope, work: Any) -> Any:
        import grpc

        async def handle(request: Any, context: Any) -> Any:
            started, noted = time.perf_counter(), list[Noted]()
            headers = {
                name.encode(): value if isinstance(value, bytes) else value.encode("latin-1", "replace")
                for name, value in context.invocation_metadata() or ()
            }
            key, error = None, None
            try:
                key = self._guard.admit(self._endpoints.state.keys, headers, scope)
                return await work(request, headers, key, context, noted)
            except HeadraceError as refused:
                error = refused
            except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as fault:  # polars panics with one that is no Exception
                error = Fault(f"{type(fault).__name__}: {fault}", todo="Please report this.")
            finally:
                if self._log is not None:
                    seen = Seen(key.consumer if key else "", noted[0] if noted else None, error)
                    self._log.note(
                        _scope(name, headers, context, seen), 200 if error is None else status_of(error), 0, started
                    )
            self._counters.errors[error.kind] += 1
            if key is not None:
                self._counters.refused[key.consumer] += 1
            code = grpc.StatusCode[_STATUS.get(error.kind, "UNAVAILABLE" if _retry(error) else "INVALID_ARGUMENT")]
            return await context.abort(code, str(error)[:MOST_DETAIL])

        return handle

    async def _live(self, *_: Any) -> Any:
        return self._message("ServerLiveResponse")(live=True)

    async def _ready(self, *_: Any) -> Any:
        ready = bool(self._endpoints.state.active) and not self._draining()
        return self._message("ServerReadyResponse")(ready=ready)

    async def _model_ready(self, request: Any, *_: Any) -> Any:
        await self._loaded(request.name, request.version)
        return self._message("ModelReadyResponse")(ready=True)

    async def _server_metadata(self, *_: Any) -> Any:
        return self._message("ServerMetadataResponse")(name="headrace", version=VERSION)

    async def _model_metadata(self, request: Any, *_: Any) -> Any:
        loaded = await self._loaded(request.name, request.version)
        described = self._message("TensorMetadata")
        versions = [str(n) for m, n in self._endpoints.state.versions if m == loaded.model]
        return self._message("ModelMetadataResponse")(
            name=loaded.model,
            versions=versions,
            platform=f"headrace_{loaded.scorer.runtime}",
            inputs=[described(name=n, datatype=t, shape=s) for n, t, s in input_types(loaded)],
            outputs=[described(name=n, datatype=t, shape=s) for n, t, s in output_types(loaded)],
        )

    async def _infer(self, request: Any, headers: Any, key: Any, context: Any, told: list[Noted]) -> Any:
        self._counters.running += 1
        try:
            if self._counters.running > self._limits.concurrent:
                raise Overloaded(f"{self._counters.running} requests are running.", todo="Try again in a second.")
            if key is not None:
                self._guard.spend(key)
            left, asked = context.time_remaining(), headers.get(b"headrace-deadline")
            seconds = self._limits.seconds if left is None else min(left, self._limits.seconds)
            seconds = seconds if asked is None else min(seconds, deadline_of(asked))
            dialect = GrpcInference(request)
            state, active = self._endpoints.state, self._active(request.model_name, request.model_version)
            question = Question(state, active, dialect, Body(b"", headers), key, seconds)
            _, noted = await self._answering.answer(question)
            self._answering.note(noted)
            told.append(noted)
        finally:
            self._counters.running -= 1
        return self._reply(request, dialect.answered)

    def _reply(self, request: Any, answered: Answered) -> Any:
        wanted = {output.name for output in request.outputs}
        tensors = [one for one in answers_as_tensors(answered) if not wanted or one.name in wanted]
        described = self._message("InferOutputTensor")
        return self._message("ModelInferResponse")(
            model_name=answered.loaded.model,
            model_version=str(answered.loaded.version),
            id=request.id or answered.id,
            outputs=[described(name=one.name, datatype=one.datatype, shape=one.shape) for one in tensors],
            raw_output_contents=[to_bytes(one) for one in tensors],
        )

    def _active(self, model: str, version: str) -> Active:
        if not version:
            return self._endpoints.active(model)
        if not (version.isascii() and version.isdigit() and len(version) < 10):
            raise InvalidInput(f"The version is {version[:50]!r}.", expected="a number, or nothing", todo="Correct it.")
        return self._endpoints.version(model, int(version))

    async def _loaded(self, model: str, version: str) -> Loaded:
        held = self._active(model, version).live
        return held.loaded or await self._answering.load(held)


def _rows(request: Any, loaded: Loaded) -> Rows:
    """The rows in a request's tensors, whose values are typed or raw, never both."""
    raw = request.raw_input_contents
    typed = [one.HasField("contents") for one in request.inputs]
    if raw and (any(typed) or len(raw) != len(request.inputs)):
        raise InvalidInput(
            f"There are {len(request.inputs)} inputs and {len(raw)} raw contents.",
            expected="raw contents for each input, or typed contents in each",
            todo="Use one of the two.",
        )
    tensors = []
    for place, one in enumerate(request.inputs):
        if raw:
            values = from_bytes(one.name, one.datatype, raw[place])
        else:
            values = list(getattr(one.contents, _CONTENTS.get(one.datatype, "bytes_contents")))
            if one.datatype == "BYTES":
                values = _texts(one.name, values)
        tensors.append(tensor(one.name, one.datatype, list(one.shape), values))
    return rows_of(tensors, loaded)


def _texts(name: str, values: list[bytes]) -> list[str]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"A text of {name!r} is not UTF-8: {error}.", todo="Correct it.") from error


def _scope(name: str, headers: Any, context: Any, seen: Seen) -> dict[str, Any]:
    """A call as the access log wants it."""
    return {
        "client": (context.peer(), 0),
        "method": "gRPC",
        "path": f"/inference.GRPCInferenceService/{name}",
        "headers": list(headers.items()),
        SEEN: seen,
    }


def _retry(error: HeadraceError) -> bool:
    return error.kind in ("unavailable", "storage_unavailable", "missing_extra")


def open_grpc(options: Options, server: GrpcServer) -> GrpcServer | None:
    """The server with its address, or None where none was asked for.

    Raises:
        MissingExtra: its packages are not installed.
    """
    if options.grpc_port is None:
        return None
    try:
        import google.protobuf  # noqa: F401
        import grpc  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            "gRPC needs packages that are not installed.", todo="Install them: pip install 'headrace[grpc]'."
        ) from error
    host = f"[{options.host}]" if ":" in options.host else options.host
    server.address = f"{host}:{options.grpc_port}"
    return server


def free_grpc_port(host: str, port: int) -> int:
    """The port that gRPC takes: `port`, or a free one where it is 0.

    Raises:
        PortTaken: another program listens there.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"Port {port} on {host} cannot be used for gRPC: {error.strerror}.",
                expected="a free port",
                todo="Choose another with --grpc-port, or switch gRPC off with --grpc-port off.",
            ) from error
        return int(probe.getsockname()[1])
