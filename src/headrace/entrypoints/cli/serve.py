"""The verb that scores: it loads what scoring needs, and no more."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import msgspec

from headrace import settings

settings.limit_threads()

from headrace.entrypoints.cli.verb import Call, err, verb  # noqa: E402 - threads are limited before numpy is loaded
from headrace.entrypoints.scoring.grpc_server import free_grpc_port  # noqa: E402
from headrace.entrypoints.scoring.listening import bind  # noqa: E402
from headrace.entrypoints.scoring.options import Keeping, Options, check_guard  # noqa: E402
from headrace.entrypoints.scoring.polling import known_routes  # noqa: E402
from headrace.entrypoints.scoring.server import serve_bundle, serve_workspace  # noqa: E402
from headrace.entrypoints.scoring.supervisor import Supervisor  # noqa: E402
from headrace.kernel.errors import InvalidInput, NotTrusted  # noqa: E402
from headrace.kernel.identifiers import new_id  # noqa: E402
from headrace.kernel.places import Places  # noqa: E402
from headrace.kernel.routes import Rule  # noqa: E402
from headrace.kernel.sizes import parse_size  # noqa: E402
from headrace.serving.limits import Limits  # noqa: E402
from headrace.serving.site import VertexRoutes  # noqa: E402

USUAL = Limits()


@click.command()
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one.  [default: 8000]")
@click.option(
    "--grpc-port", help="For gRPC: a port, 0 or off.  [default: the port after --port, where gRPC is installed]"
)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="How many processes.")
@click.option("--model", help="The model that paths without one mean, such as /invocations.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Serve this one bundle, without a workspace.")
@click.option("--digest", help="The digest that the bundle must have; needed with --bundle.")
@click.option(
    "--capture",
    type=click.Choice(["default", "durable", "off"]),
    default="default",
    show_default=True,
    help="Durable: no answer before it is on the disk.",
)
@click.option("--guarded", is_flag=True, help="Ask every caller for a key, on 127.0.0.1 too.")
@click.option("--unguarded", is_flag=True, help="Listen beyond 127.0.0.1 although callers are not checked.")
@click.option("--max-body", default="16MB", show_default=True, help="The largest body of a request.")
@click.option(
    "--max-concurrent",
    type=click.IntRange(1),
    default=USUAL.concurrent,
    show_default=True,
    help="The most requests at a time.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=USUAL.seconds,
    show_default=True,
    help="Seconds that an answer may take.",
)
@click.option(
    "--memory", default="0", show_default=True, help="The most memory of loaded versions, such as 4GB; 0: any."
)
@click.option(
    "--access-log", type=click.Path(path_type=Path), help="A line of JSON for each request; - is standard error."
)
@click.option("--traces", metavar="URL", help="Send OpenTelemetry traces to a collector.")
@click.option("--inherited", type=int, hidden=True)
@click.option("--group", default="", hidden=True)
@verb
def serve(
    call: Call,
    host: str | None,
    port: int | None,
    bundle: Path | None,
    digest: str | None,
    workers: int,
    **said: object,
) -> None:
    """Start a scoring server for what is live in the workspace, or for one bundle.

    POST /models/MODEL/predict answers; /docs describes; /health, /ready and /metrics watch. MLflow's, KServe's,
    TensorFlow Serving's, SageMaker's and Vertex AI's clients find their own paths.
    """
    options = _options(host, port, workers, **said)  # type: ignore[arg-type]
    options = options._replace(keeping=_keeping())
    call.keep_output()
    if workers > 1 and options.inherited is None:
        _supervise(call, options)
        return

    def announce(at: str, taken: int) -> None:
        _announce(call, at, taken, options)

    bundle = bundle or Path(settings.read(settings.BUNDLE)) if bundle or settings.read(settings.BUNDLE) else None
    digest = digest or settings.read(settings.DIGEST) or None
    if bundle is None:
        serve_workspace(_places(call), options, announce)
    elif digest is None:
        raise NotTrusted(
            f"Nothing says that {bundle} is the bundle that was registered.",
            expected="--digest, as 'headrace show MODEL@N' prints it",
            todo="Name the digest: a bundle holds a pickle, which can run any code when it is opened.",
        )
    else:
        serve_bundle(bundle, digest, options, announce)


def _options(
    host: str | None,
    port: int | None,
    workers: int,
    grpc_port: str | None,
    model: str | None,
    capture: str,
    guarded: bool,
    unguarded: bool,
    max_body: str,
    max_concurrent: int,
    timeout: float,
    memory: str,
    access_log: Path | None,
    traces: str | None,
    inherited: int | None,
    group: str,
) -> Options:
    if guarded and unguarded:
        raise InvalidInput("--guarded and --unguarded exclude each other.", todo="Leave one of them out.")
    vertex = VertexRoutes(settings.read(settings.VERTEX_HEALTH), settings.read(settings.VERTEX_PREDICT))
    vertex_port = settings.read(settings.VERTEX_PORT)
    host = host or ("0.0.0.0" if vertex_port else settings.read(settings.HOST))  # noqa: S104 - Vertex AI asks for it
    port = port if port is not None else _number(settings.container_port())
    body = max(parse_size(max_body), _number(settings.read(settings.SAGEMAKER_PAYLOAD) or "0") << 20)
    if body < 1 or timeout != timeout:
        raise InvalidInput(
            f"--max-body is {max_body!r}, --timeout {timeout}.", expected="more than 0", todo="Correct them."
        )
    limits = USUAL._replace(body=body, concurrent=max_concurrent, seconds=timeout, memory=parse_size(memory))
    return Options(
        host=host,
        port=port,
        grpc_port=_grpc_port(grpc_port, host, port),
        workers=workers,
        capture=capture,  # type: ignore[arg-type]
        guarded=guarded,
        unguarded=not guarded and (unguarded or bool(vertex_port) or bool(settings.read(settings.UNGUARDED))),
        single=model,
        limits=limits,
        access_log=access_log,
        traces=traces,
        vertex=vertex,
        group=group or new_id(),
        inherited=inherited,
    )


def _keeping() -> Keeping:
    """Where the predictions of one bundle are kept, as the environment says."""
    to, rule, keys = (settings.read(one) for one in (settings.CAPTURE, settings.RULE, settings.KEYS))
    known = msgspec.json.decode(Path(rule).read_bytes(), type=Rule) if rule else Rule()
    return Keeping(to, os.dup(1) if to == "-" else 1, known, Path(keys) if keys else None)


def _grpc_port(said: str | None, host: str, port: int) -> int | None:
    """The port that was named; else the one after HTTP's, where gRPC is installed."""
    if said == "off" or (said is None and (find_spec("grpc") is None or find_spec("google.protobuf") is None)):
        return None
    return free_grpc_port(host, _number(said) if said is not None else port + 1 if port else 0)


def _number(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise InvalidInput(f"The port is {text!r}.", expected="a number from 0 to 65535", todo="Correct it.")
    return int(text)


def _places(call: Call) -> Places:
    return settings.workspace_places(call.location, storage_alone=True)


def _announce(call: Call, host: str, port: int, options: Options) -> None:
    shown = f"[{host}]" if ":" in host else host
    document = {"url": f"http://{shown}:{port}", "port": port, "grpc_port": options.grpc_port}
    grpc = f", gRPC at port {options.grpc_port}" if options.grpc_port else ""
    call.answer(document, lambda: err.print(f"scoring at http://{shown}:{port}{grpc} (Ctrl-C ends)"))


def _supervise(call: Call, options: Options) -> None:
    """Several processes: this one only holds the port and watches them."""
    places = _places(call)
    if not settings.read(settings.BUNDLE) and "--bundle" not in sys.argv:
        check_guard(options, known_routes(places) if options.keys_required else None)
    listening = bind(options.host, options.port)
    port = listening.getsockname()[1]
    command = [sys.executable, "-m", "headrace", *_words(sys.argv[1:])]
    command += ["--host", options.host, "--port", str(port), "--group", options.group]
    command += ["--grpc-port", str(options.grpc_port) if options.grpc_port else "off"]
    Supervisor(command, listening, options.workers).run(lambda _: _announce(call, options.host, port, options))


def _words(words: list[str]) -> list[str]:
    """The words of this command, without those that its processes get anew."""
    kept: list[str] = []
    skip = False
    for word in words:
        name = word.partition("=")[0]
        if skip:
            skip = False
        elif name in ("--workers", "--host", "--port", "--grpc-port"):
            skip = "=" not in word
        elif word != "--json":
            kept.append(word)
    return kept
