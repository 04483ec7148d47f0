"""Load from wrk: one thread, a number of connections, and what it found as JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peers.environments import Failed

_SCRIPT = """wrk.method = "POST"
wrk.body = {body}
{headers}
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, ' ..
    '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""
_ERRORS = ("connect", "read", "write", "status", "timeout")


@dataclass(frozen=True)
class Load:
    """What clients saw: milliseconds, and requests a second."""

    p50: float
    p99: float
    rate: float


def wrk_path() -> str:
    """Where wrk is.

    Raises:
        SystemExit: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("wrk makes the load, and it is not installed. On Debian or Ubuntu: apt-get install wrk")
    return found


def load(wrk: str, url: str, body: str, headers: Mapping[str, str], connections: int, seconds: int) -> Load:
    """Ask `url` for some seconds, each connection as soon as it has its answer.

    Raises:
        Failed: an answer was an error, a connection broke, or nothing was answered.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "request.lua"
        script.write_text(_script(body, headers))
        options = ["--threads", "1", "--connections", str(connections), "--timeout", "30s"]
        command = [wrk, *options, "--duration", f"{seconds}s", "--script", str(script), url]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"wrk did not end at {connections} connections") from error
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise Failed(f"wrk failed with code {done.returncode}: {done.stderr.strip()[-200:]}") from error
    errors = [f"{found[kind]} {kind}" for kind in _ERRORS if found[kind]]
    if errors:
        raise Failed(f"errors in {found['requests']} requests at {connections} connections: {', '.join(errors)}")
    if not found["requests"]:
        raise Failed(f"answered nothing in {seconds} s at {connections} connections")
    return Load(found["p50"] / 1e3, found["p99"] / 1e3, found["requests"] / found["microseconds"] * 1e6)


def _script(body: str, headers: Mapping[str, str]) -> str:
    lines = [f"wrk.headers[ {_quoted(name)} ] = {_quoted(value)}" for name, value in headers.items()]
    return _SCRIPT.format(body=_quoted(body), headers="\n".join(lines))


def _quoted(text: str) -> str:
    """A string of Lua that holds exactly this text."""
    fence = "="
    while f"]{fence}]" in text:
        fence += "="
    return f"[{fence}[\n{text}]{fence}]"
