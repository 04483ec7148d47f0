"""A scoring process: uvicorn around the ASGI callable, with the routes polled or one bundle fixed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvicorn

from headrace.entrypoints.outcomes import status_of
from headrace.entrypoints.scoring.metrics import metrics_page
from headrace.kernel.errors import NotTrusted, PortTaken, Refused
from headrace.kernel.places import Places
from headrace.kernel.routes import RouteDocument
from headrace.runtimes.bundle import MANIFEST, verify_bundle
from headrace.runtimes.opening import open_bundle
from headrace.serving.app import ScoringApp
from headrace.serving.capture import Capture
from headrace.serving.counters import Counters
from headrace.serving.endpoints import Endpoints

POLL_SECONDS = 0.2
DRAIN_SECONDS = 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
Announce = Callable[[str, int], None]


def bind(host: str, port: int, unguarded: bool = False) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        PortTaken: another program listens there.
        Refused: the address can be reached from outside, and nothing guards it.
    """
    if host not in LOOPBACK and not unguarded:
        raise Refused(
            f"{host} can be reached from other machines, and requests are not checked for a key.",
            expected="127.0.0.1",
            todo="Put a proxy that checks callers in front of 127.0.0.1, or say --unguarded if the network is closed.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise PortTaken(
            f"Port {port} on {host} cannot be used: {error.strerror}.",
            expected="a free port",
            todo="Stop the program that listens there, or choose another with --port (0 takes any free one).",
        ) from error
    return listening


def serve_workspace(places: Places, host: str, port: int, announce: Announce, unguarded: bool = False) -> None:
    """Serve what the workspace's route document says, until a signal; captures go to its spool."""
    counters = Counters()

    def opened(digest: str):
        return open_bundle(places.bundles / digest, digest)

    endpoints = Endpoints(opened, counters)
    capture = Capture(places.spool, places.predictions_inbox, counters)
    listening = bind(host, port, unguarded)
    poller = _Poller(places.routes, endpoints)
    poller.poll()
    app = ScoringApp(endpoints, counters, capture, status_of, pages={"/metrics": lambda: metrics_page(counters)})
    capture.start()
    try:
        _run(app, listening, announce, poller)
    finally:
        capture.stop()


def serve_bundle(folder: Path, digest: str, host: str, port: int, announce: Announce, unguarded: bool = False) -> None:
    """Serve the one bundle in `folder`, at ``/predict`` too; nothing is captured.

    Raises:
        NotTrusted: the bundle is not the one that `digest` names, or is not whole.
    """
    if not (folder / MANIFEST).exists():
        raise NotTrusted(f"{folder} holds no bundle.", expected=f"a folder with {MANIFEST}", todo="Correct the path.")
    counters = Counters()
    endpoints = Endpoints(lambda known: open_bundle(folder, known), counters)
    manifest = verify_bundle(folder, digest)
    endpoints.add(manifest.name, manifest.version, digest)
    pages = {"/metrics": lambda: metrics_page(counters)}
    app = ScoringApp(endpoints, counters, None, status_of, single=manifest.name, pages=pages)
    _run(app, bind(host, port, unguarded), announce, None)


class _Poller:
    """Swaps the routes when their document changes; a document that cannot be read leaves the old routes."""

    def __init__(self, path: Path, endpoints: Endpoints) -> None:
        self._path = path
        self._endpoints = endpoints
        self._seen: tuple[int, int] | None = None

    def poll(self) -> None:
        """Look once."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp == self._seen and self._endpoints.problem is None:
                return
            document = msgspec.json.decode(self._path.read_bytes(), type=RouteDocument)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            self._endpoints.problem = NotTrusted(
                f"The route document cannot be read: {error}.", todo="Run 'headrace worker', which publishes it again."
            )
            return
        self._seen = stamp
        self._endpoints.swap(document)

    async def run(self) -> None:
        """Look for ever; loading happens in a thread, so that requests go on."""
        while True:
            await asyncio.to_thread(self.poll)
            await asyncio.sleep(POLL_SECONDS)


def _run(app: ScoringApp, listening: socket.socket, announce: Announce, poller: _Poller | None) -> None:
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        ws="none",
    )
    host, port = listening.getsockname()[:2]

    async def main() -> None:
        server = uvicorn.Server(config)
        polling = asyncio.create_task(poller.run()) if poller else None
        announcing = asyncio.create_task(announced(server, lambda: announce(host, port)))
        await server.serve(sockets=[listening])
        for task in (polling, announcing):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(main())


async def announced(server: uvicorn.Server, announce: Callable[[], None]) -> None:
    """Call `announce` once the server answers."""
    while not server.started:
        await asyncio.sleep(0.01)
    announce()
