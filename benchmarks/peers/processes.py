"""A server as a process: started on free ports, asked until it answers rightly, and ended with all its children."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peers.catalog import ROW, Peer
from peers.environments import HERE, Environment, Failed

PREPARE_SECONDS, START_SECONDS, LOAD_SECONDS, STOP_SECONDS = 600, 180, 30, 15
TAG = "BENCHMARK_SERVER"


def places(environment: Environment, folder: Path) -> dict[str, str]:
    """What the names in a peer's commands and variables stand for, with ports that are free now."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        ports = [str(one.getsockname()[1]) for one in taken]
    return {
        "python": str(environment.python),
        "bin": str(environment.python.parent),
        "folder": str(folder),
        "servers": str(HERE / "servers"),
        **dict(zip(("port", "port2", "port3"), ports, strict=True)),
    }


def prepare(peer: Peer, environment: Environment, folder: Path) -> None:
    """Make the peer's folder, and its model where it has one.

    Raises:
        Failed: the model could not be made.
    """
    folder.mkdir(parents=True)
    (folder / "row.json").write_text(json.dumps(ROW))
    if not peer.prepare:
        return
    named = places(environment, folder)
    command = [part.format_map(named) for part in peer.prepare]
    with (folder / "prepare.log").open("wb") as log:
        try:
            subprocess.run(
                command,
                cwd=folder,
                env=_variables(peer, environment, named),
                check=True,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=PREPARE_SECONDS,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Failed(f"its model could not be made: {_last_line(folder / 'prepare.log')}") from error


@contextlib.contextmanager
def serving(peer: Peer, environment: Environment, folder: Path) -> Iterator[int]:
    """The port of a running server that has answered rightly; the server ends with the block.

    Raises:
        Failed: it ended, gave a wrong answer, or did not answer in time.
    """
    named, tag = places(environment, folder), uuid.uuid4().hex
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [part.format_map(named) for part in peer.command],
            cwd=folder,
            env=_variables(peer, environment, named) | {TAG: tag},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(peer, int(named["port"]), process, folder)
        yield int(named["port"])
    finally:
        _end(process, tag)


def _variables(peer: Peer, environment: Environment, named: dict[str, str]) -> dict[str, str]:
    own = {name: value.format_map(named) for name, value in peer.variables.items()}
    return environment.variables | {"OMP_NUM_THREADS": "1", "MODEL_FOLDER": named["folder"]} | own


def _wait(peer: Peer, port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline, said = time.monotonic() + START_SECONDS, "nothing"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"ended with code {process.returncode} at its start: {_last_line(folder / 'server.log')}")
        try:
            status, body = _ask(peer, port, folder)
        except (OSError, http.client.HTTPException) as error:
            said = f"{type(error).__name__}: {error}"
        else:
            if status == 200:
                return _check(peer, body, folder)
            said = f"status {status}: {body[:200].decode(errors='replace')}"
            deadline = min(deadline, time.monotonic() + LOAD_SECONDS)  # some answer before the model is there
        time.sleep(0.2)
    raise Failed(f"did not come up; its last answer was {said}")


def headers(peer: Peer, folder: Path) -> dict[str, str]:
    """What goes with each request: the peer's own headers, and the key that its preparation made, if it made one."""
    key = folder / "key"
    return {**peer.headers, **({"Authorization": f"Bearer {key.read_text()}"} if key.exists() else {})}


def _ask(peer: Peer, port: int, folder: Path) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", peer.path, peer.content, headers(peer, folder))
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def _check(peer: Peer, body: bytes, folder: Path) -> None:
    if not peer.answers:
        return
    right = float((folder / "probability").read_text())
    if not any(math.isclose(value, right, rel_tol=1e-9) for value in _numbers(json.loads(body))):
        raise Failed(f"gave a wrong answer: {body[:200].decode(errors='replace')} without {right}")


def _numbers(document: Any) -> Iterator[float]:
    if isinstance(document, float):
        yield document
    elif isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from _numbers(value)


def _end(process: subprocess.Popen[bytes], tag: str) -> None:
    """End a server by its id, and then by theirs whatever it has started and left."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + STOP_SECONDS
    while left := _started(tag):
        for one in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {left} cannot be ended")
        time.sleep(0.1)


def _started(tag: str) -> list[int]:
    """The processes that carry a server's tag in their environment; ones that have ended but lie there have none."""
    wanted = f"{TAG}={tag}".encode()
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
