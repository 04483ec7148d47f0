"""A scoring server: what `headrace serve` puts together around `serving`."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.entrypoints.outcomes import status_of
from headrace.entrypoints.scoring.access import AccessLog
from headrace.entrypoints.scoring.grpc_server import GrpcServer, open_grpc
from headrace.entrypoints.scoring.listening import bind
from headrace.entrypoints.scoring.metrics import metrics_page
from headrace.entrypoints.scoring.options import Keeping, Options, check_guard
from headrace.entrypoints.scoring.polling import Poller, known_routes
from headrace.entrypoints.scoring.process import Announce, Background, run_process
from headrace.entrypoints.scoring.shipping import Shipper
from headrace.entrypoints.scoring.tables import table_codecs
from headrace.entrypoints.scoring.traces import traced
from headrace.kernel.errors import InvalidInput, NotTrusted, StorageUnavailable
from headrace.kernel.identifiers import new_id
from headrace.kernel.places import Places, agreed
from headrace.kernel.ports import Scorer
from headrace.runtimes.bundle import MANIFEST, verify_bundle
from headrace.runtimes.opening import open_bundle
from headrace.serving.answering import Answering
from headrace.serving.app import ScoringApp
from headrace.serving.capture import Capture
from headrace.serving.counters import Counters, Snapshot
from headrace.serving.endpoints import Endpoints
from headrace.serving.express import Express
from headrace.serving.guard import Guard
from headrace.serving.paths import Paths
from headrace.serving.printing import Printing
from headrace.serving.secret import open_secret
from headrace.serving.site import site
from headrace.serving.snapshots import Sharing

SWITCH_SECONDS = 0.0005
"""How long a model in a thread may keep the interpreter before others get their turn."""


def serve_workspace(places: Places, options: Options, announce: Announce) -> None:
    """Serve what the workspace's route document says, until a signal; captures go to its spool.

    Raises:
        PortTaken: another program listens there.
        Refused: keys are needed, and there is none.
        MissingExtra: gRPC or traces were asked for, and their packages are not installed.
    """
    check_guard(options, known_routes(places) if options.keys_required else None)
    listening = _listen(options)
    counters = Counters()
    endpoints = Endpoints(lambda digest: _opened(places, digest), counters, options.limits)
    poller = Poller(places, endpoints)
    poller.poll()
    capture = None
    if options.capture != "off":
        capture = Capture(places.spool, places.predictions_outbox, counters, options.capture)
    name = capture.scorer if capture is not None else new_id()
    sharing = Sharing(places.scorers_here, options.group or name, name, listening.getsockname()[1], counters)
    secret = open_secret(agreed(places, places.capture_key, open_secret))
    shipper = Shipper(places, sharing.path)
    try:
        if capture is not None:
            capture.start()
        sharing.start()
        works = (poller.run, shipper.run) if places.objects.remote else (poller.run,)
        _serve(options, listening, announce, endpoints, counters, capture, secret, sharing.together, works)
    finally:
        sharing.stop()
        if capture is not None:
            capture.stop()
        shipper.ship()


def _opened(places: Places, digest: str) -> Scorer:
    """The scorer of a bundle, once its signature is by a trusted key and every byte of it holds.

    Signatures are loaded where a registry has a key: a container of one bundle, named by its digest, holds none.
    """
    folder = places.objects.need(places.bundles / digest)
    with contextlib.suppress(StorageUnavailable):  # the keys that are known go on
        places.objects.latest(places.signing_public)
        places.objects.gather(places.trusted)
    if places.signing_public.exists():
        signatures: Any = importlib.import_module("headrace.registry.signatures")
        signatures.open_trust(places.signing_public, places.trusted).signed(folder, digest)
    return open_bundle(folder, digest)


def serve_bundle(folder: Path, digest: str, options: Options, announce: Announce) -> None:
    """Serve the one bundle in `folder`, without a workspace; captures go where `options.keeping` says.

    Raises:
        NotTrusted: the bundle is not the one that `digest` names, or is not whole.
        Refused: it can be reached from outside, and nothing guards it.
        InvalidInput: columns are to be hashed, and the secret for it is not there.
    """
    if not (folder / MANIFEST).exists():
        raise NotTrusted(f"{folder} holds no bundle.", expected=f"a folder with {MANIFEST}", todo="Correct the path.")
    check_guard(options, None)
    counters = Counters()
    endpoints = Endpoints(lambda known: open_bundle(folder, known), counters, options.limits)
    manifest = verify_bundle(folder, digest)
    keeping = options.keeping
    endpoints.add(manifest.name, manifest.version, digest, keeping.rule)
    options = options._replace(single=manifest.name)
    secret = _secret_of(keeping)
    capture = _kept(keeping, counters, options)
    try:
        if capture is not None:
            capture.start()
        _serve(options, _listen(options), announce, endpoints, counters, capture, secret, counters.snapshot, ())
    finally:
        if capture is not None:
            capture.stop()


def _kept(keeping: Keeping, counters: Counters, options: Options) -> Capture | None:
    if not keeping.to or options.capture == "off":
        return None
    if keeping.to == "-":
        return Printing(keeping.output, counters)
    places = Places(Path(keeping.to))
    places.predictions_inbox.mkdir(parents=True, exist_ok=True)
    return Capture(places.spool, places.predictions_inbox, counters, options.capture)


def _secret_of(keeping: Keeping) -> bytes:
    """What columns are hashed with: it must be the workspace's own, so that keys find each other."""
    if not (keeping.to and keeping.rule.hashed):
        return b""
    path = Places(Path(keeping.to), keys=keeping.keys).capture_key
    if keeping.keys is None or not path.is_file():
        raise InvalidInput(
            f"The columns {', '.join(keeping.rule.hashed)} are kept as hashes, and the secret for it is not here.",
            expected=f"the workspace's file capture.key in the folder HEADRACE_KEYS ({keeping.keys or 'not set'})",
            todo="Mount it there as a secret, or keep no predictions: leave HEADRACE_CAPTURE out.",
        )
    return path.read_bytes()


def _serve(
    options: Options,
    listening: socket.socket,
    announce: Announce,
    endpoints: Endpoints,
    counters: Counters,
    capture: Capture | None,
    secret: bytes,
    snapshot: Callable[[], Snapshot],
    background: tuple[Background, ...],
) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)
    limits = options.limits
    codecs = table_codecs(limits)
    guard = Guard(options.keys_required)
    answering = Answering(endpoints, counters, capture, secret, status_of)
    table = site(endpoints, codecs, lambda: metrics_page(snapshot), lambda: app.draining, options.vertex)
    app = ScoringApp(endpoints, answering, counters, guard, limits, Paths(table), status_of, options.single)
    log = AccessLog(app, options.access_log) if options.access_log is not None else None
    inference = GrpcServer(endpoints, answering, guard, counters, limits, lambda: app.draining, log)
    grpc = open_grpc(options, inference)

    def leave() -> None:
        app.draining = True

    works = (*background, grpc.run) if grpc is not None else background
    head, supervised = limits.header_seconds, options.inherited is not None
    wrapped: Any = log or app
    if options.traces is not None:
        wrapped = traced(wrapped, options.traces)
    way = Express(app) if wrapped is app else None
    run_process(wrapped, listening, announce, leave, works, head, supervised, way)
    answering.note_all()


def _listen(options: Options) -> socket.socket:
    if options.inherited is not None:
        return socket.socket(fileno=os.dup(options.inherited))
    return bind(options.host, options.port)
