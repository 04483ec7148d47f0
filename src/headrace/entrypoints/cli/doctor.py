"""The verb that says what is installed, what is reachable, and what to do."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import socket
import sys
from typing import Any, Literal, NamedTuple

import click

import headrace
from headrace.entrypoints.cli.verb import Call, table, verb
from headrace.kernel.errors import HeadraceError

EXTRAS = {
    "pandas": "models fitted with pandas frames",
    "sklearn": "scikit-learn models and the example",
    "lightgbm": "LightGBM models",
    "xgboost": "XGBoost models",
}
SMALLEST_DISK = 1 << 30


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    state: Literal["good", "absent", "bad"]
    found: str
    todo: str = ""


@click.command()
@verb
def doctor(call: Call) -> int:
    """Say what is installed, what is reachable, and what to do."""
    found = [*_machine(), *_packages(), *_workspace(call), *_ports()]
    rows = [(f.what, f.state, f.found, f.todo) for f in found]
    call.answer([f._asdict() for f in found], lambda: table("doctor", ("what", "state", "found", "to do"), rows))
    return 5 if any(f.state == "bad" for f in found) else 0


def _machine() -> list[Finding]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    venv = importlib.util.find_spec("ensurepip") is not None
    return [
        Finding("Headrace", "good", headrace.__version__),
        Finding("Python", "good" if good else "bad", version, "" if good else "Install Python 3.11 or later."),
        Finding(
            "venv",
            "good" if venv else "absent",
            "there" if venv else "none",
            "" if venv else "apt install python3-venv",
        ),
    ]


def _packages() -> list[Finding]:
    names = {"sklearn": "sklearn"}
    findings = []
    for extra, purpose in EXTRAS.items():
        there = importlib.util.find_spec(names.get(extra, extra)) is not None
        todo = "" if there else f"for {purpose}: pip install 'headrace[{extra}]'"
        findings.append(Finding(extra, "good" if there else "absent", "installed" if there else "not installed", todo))
    return findings


def _workspace(call: Call) -> list[Finding]:
    try:
        ws: Any = call.workspace
    except HeadraceError as error:
        return [Finding("workspace", "bad", error.text, error.todo)]
    report = ws.verify_audit()
    free = shutil.disk_usage(ws.places.root).free
    living = ws.leases.living()
    return [
        Finding("workspace", "good", f"{ws.places.root}, {len(ws.models())} models"),
        Finding(
            "disk",
            "good" if free > SMALLEST_DISK else "bad",
            f"{free / 1e9:.1f} GB free",
            "" if free > SMALLEST_DISK else "Free some room.",
        ),
        Finding(
            "audit chain",
            "good" if report.intact else "bad",
            f"{report.entries} entries",
            "" if report.intact else "headrace audit --verify",
        ),
        Finding("worker", "good" if living else "absent", ", ".join(living) or "none", "" if living else "headrace up"),
    ]


def _ports() -> list[Finding]:
    findings = []
    for name, port in (("scoring", 8000), ("console", 8080)):
        with socket.socket() as probe:
            probe.settimeout(0.5)
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        findings.append(Finding(f"port {port}", "good", f"{'taken' if taken else 'free'} ({name})"))
    return findings
