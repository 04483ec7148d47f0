"""Running a project's function in a process of its own, on kept code, with a given number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from headrace.kernel.errors import InvalidProject, rebuilt
from headrace.training.functions import FAILED


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a function runs: on the source in `code`, in the folder `cwd`, by the interpreter `python`.

    `path` is what else the interpreter finds modules in.
    """

    code: Path
    cwd: Path
    threads: int
    python: str = sys.executable
    path: tuple[str, ...] = ()


def call_step(folder: Path, step: str, request: Any, place: Place) -> dict[str, Any]:
    """Run a step of `training.functions` in `folder` and give what it made.

    Raises:
        HeadraceError: what the step said.
        InvalidProject: its process died.
    """
    for leftover in (f"{step}.done.json", f"{step}.error.json"):
        (folder / leftover).unlink(missing_ok=True)
    (folder / f"{step}.json").write_bytes(msgspec.json.encode(request, enc_hook=str))
    threads = str(place.threads)
    around = dict(os.environ)
    ours = around.get("PYTHONPATH", "") if place.python == sys.executable else ""
    environment = {
        **around,
        "PYTHONPATH": os.pathsep.join((str(place.code), *place.path, *([ours] if ours else []))),
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
    log = folder / f"{step}.log"
    with log.open("wb") as output:
        command = [place.python, "-m", "headrace.training.functions", step, str(folder.resolve())]
        done = subprocess.run(command, cwd=place.cwd, env=environment, stdout=output, stderr=output, check=False)
    if done.returncode == FAILED:
        raise rebuilt(msgspec.json.decode((folder / f"{step}.error.json").read_bytes()))
    if done.returncode:
        raise InvalidProject(
            f"The process of step {step} ended with code {done.returncode}: {_last_line(log)}",
            todo=f"See {log.name} in the run's folder; a killed process often means too little memory.",
        )
    return msgspec.json.decode((folder / f"{step}.done.json").read_bytes())


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else "it printed nothing."
