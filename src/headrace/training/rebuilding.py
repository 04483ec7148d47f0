"""A fresh environment from a recorded lock: a venv of the recorded packages, each held against its recorded content."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from headrace.kernel.errors import StorageUnavailable, Unavailable

SECONDS = 1800
PACKAGE = Path(__file__).parents[1]


def rebuilt_python(folder: Path, lock: Path, python: str) -> str:
    """Make a venv in `folder` with exactly what `lock` pins, and give its interpreter.

    Args:
        python: the recorded version of Python, such as 3.11.7.

    Raises:
        Unavailable: there is no such Python here, or a package cannot be installed.
    """
    interpreter = _interpreter(python)
    shutil.rmtree(folder, ignore_errors=True)
    _run([interpreter, "-m", "venv", str(folder)], "The environment could not be made")
    installed = str(folder / "bin" / "python")
    words = [installed, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "install", "--no-deps"]
    _run([*words, "-r", str(lock)], "The recorded packages could not be installed")
    return installed


def own_source(folder: Path) -> str:
    """A folder in which Headrace alone is found, as it runs here, to be put on the path of another interpreter."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / PACKAGE.name
        if not link.is_symlink():
            link.symlink_to(PACKAGE)
    except OSError as error:
        raise StorageUnavailable(
            f"{folder} cannot be written: {error.strerror}.", todo="See that the disk has room."
        ) from error
    return str(folder)


def _interpreter(python: str) -> str:
    if sys.version.split()[0] == python:
        return sys.executable
    name = f"python{'.'.join(python.split('.')[:2])}"
    found = shutil.which(name)
    if found is not None:
        said = subprocess.run([found, "-V"], capture_output=True, text=True, check=False).stdout.split()
        if said[-1:] == [python]:
            return found
    raise Unavailable(
        f"The version was made with Python {python}, which is not here.",
        expected=f"{name} on the path, or this program run by it",
        todo="Install it, or prove with what is here: --same-environment.",
    )


def _run(command: list[str], failed: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{failed} within {SECONDS} s.", todo="See the package index, and prove again.") from error
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise Unavailable(
            f"{failed}: {said[0][:300]}", todo="See the package index, or prove with what is here: --same-environment."
        )
