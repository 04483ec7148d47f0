"""Other people's programs: what they say is passed on line by line, and kept for the error where they fail."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.kernel.errors import Unavailable

TOLD = 20
"""Lines of a program's output that are told where it fails."""
DETACH = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
Saying = Callable[[str], None]


def run(command: Sequence[str], saying: Saying, todo: str, folder: Path | None = None) -> None:
    """Run a program to its end.

    Args:
        todo: what to do where it fails.

    Raises:
        Unavailable: it failed; with the last that it said.
    """
    said: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder
    ) as process:
        for line in process.stdout or ():
            said.append(line.rstrip())
            saying(said[-1])
    if process.returncode:
        raise Unavailable(
            f"{shlex.join(command)} ended with {process.returncode}: {' / '.join(said[-TOLD:])}", todo=todo
        )


def succeeds(command: Sequence[str], folder: Path) -> bool:
    """Whether a program ends with 0; what it says is for nobody."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=folder, check=False)
    return done.returncode == 0


def start(command: Sequence[str], log: Path, folder: Path) -> None:
    """Start a program that goes on when this one has ended; what it says is added to a file. A process between the two
    starts it, so that it is nobody's child here.

    Raises:
        Unavailable: it cannot be started.
    """
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-c", DETACH, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            check=False,
        )
    if done.returncode:
        raise Unavailable(f"{shlex.join(command)} cannot be started.", todo=f"See {log}.")
