"""A version's image as a form: what a container of it answers, as any client would be answered."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from headrace.compiler.certificate import Form
from headrace.delivery.builders import works
from headrace.kernel.identifiers import new_id
from headrace.kernel.ports import Scorer
from headrace.registry.forms import answering

FORM = "container"


def runner_of(builder: str) -> str:
    """What runs the images of a builder here; empty where nothing does."""
    wanted = "docker" if builder == "docker" else "podman"
    return wanted if works(wanted) else ""


def run_command(runner: str, tag: str, name: str, port: int, options: str) -> list[str]:
    """What runs an image in the foreground: read-only, and reached at a port of this machine alone.

    Args:
        options: more words for the runner, as a shell reads them.
    """
    words = [runner, "run", "--rm", "--name", name, "--read-only", "--publish", f"127.0.0.1:{port}:{port}"]
    words += ["--env", f"HEADRACE_PORT={port}", *shlex.split(options), tag]
    return [*words, "serve", "--json", "--grpc-port", "off"]


@contextmanager
def container_form(runner: str, tag: str, scorer: Scorer, options: str) -> Iterator[Mapping[str, Form]]:
    """The form `container`, while one of the image runs.

    Args:
        scorer: of the same version; says of which kind the answers are.

    Raises:
        Unavailable: the container did not start.
    """
    name = f"headrace-{new_id()}"
    try:
        with answering(run_command(runner, tag, name, free_port(), options), scorer) as form:
            yield {FORM: form}
    finally:
        subprocess.run([runner, "rm", "--force", name], capture_output=True, check=False)


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
