"""Other people's client libraries: they live in an environment of their own, and are called as programs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(__file__).parents[1] / ".venv" / "clients" / "bin" / "python"


def run_client(program: str, *words: str) -> Any:
    """Run a Python program with the client libraries; what it prints, as JSON."""
    if not PYTHON.exists():
        absent("clients", "the environment of other people's clients is absent: make .venv/clients.done")
    done = subprocess.run(
        [PYTHON, "-c", program, *words], capture_output=True, text=True, timeout=120, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def complaints(kind: str, *files: str | Path) -> list[str]:
    """What is wrong with files by what their readers have published; see `tests/published.py`."""
    if not PYTHON.exists():
        absent("clients", "the environment of other people's clients is absent: make .venv/clients.done")
    command = [PYTHON, Path(__file__).with_name("published.py"), kind, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def absent(name: str, reason: str) -> None:
    """Skip a test for want of something, unless it is required here."""
    if name in os.environ.get("HEADRACE_REQUIRE", "").split(","):
        pytest.fail(f"{reason}; and it is required here")
    pytest.skip(reason)
