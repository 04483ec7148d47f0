"""Verbs that start processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import click
import msgspec

from headrace import settings
from headrace.entrypoints.cli.verb import Call, err, verb
from headrace.kernel.errors import Unavailable
from headrace.kernel.places import Places


class Processes:
    """The processes of one machine: started together, ended together."""

    def __init__(self, places: Places, environment: dict[str, str] | None = None) -> None:
        self._places = places
        self._environment = {**settings.environment_of(places), **(environment or {})}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, *words: str) -> dict[str, Any]:
        """Start ``headrace WORDS`` and give what it announces; its log goes to the workspace's logs."""
        logs = self._places.logs
        logs.mkdir(parents=True, exist_ok=True)
        announces = words[0] != "worker"
        command = [sys.executable, "-m", "headrace", *words]
        log = logs / f"{words[0]}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*command, "--json"] if announces else command,
                stdout=subprocess.PIPE if announces else output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        self._running.append((words[0], process))
        if not announces or process.stdout is None:
            return {}
        line = process.stdout.readline()
        document = msgspec.json.decode(line) if line else {}
        if "url" not in document:
            text = document.get("error", f"see {log}")
            raise Unavailable(
                f"headrace {words[0]} did not start: {text}", todo=document.get("todo", "Mend this, and start again.")
            )
        return document

    def fallen(self) -> str | None:
        """The name of a process that ended by itself."""
        return next((name for name, process in self._running if process.poll() is not None), None)

    def stop(self) -> None:
        """End all of them, the last started first."""
        for _, process in reversed(self._running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for _, process in self._running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        self._running.clear()


@click.command()
@click.option("--port", default=8000, show_default=True, help="The scoring server's; 0 takes a free one.")
@click.option("--console-port", default=8080, show_default=True, help="0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Scoring processes.")
@verb
def up(call: Call, port: int, console_port: int, workers: int) -> int:
    """Start everything on this machine: scoring, console with management API, and a worker."""
    ws = call.workspace
    processes = Processes(ws.places)
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: stopping.append(n))
    try:
        scoring = processes.start("serve", "--port", str(port), "--workers", str(workers))
        consoled = processes.start("console", "--port", str(console_port))
        processes.start("worker")
        urls = {"scoring": scoring["url"], "console": consoled["url"]}
        call.answer(urls, lambda: err.print(f"scoring {urls['scoring']}\nconsole {urls['console']}\n(Ctrl-C ends)"))
        while not stopping:
            fallen = processes.fallen()
            if fallen:
                raise Unavailable(f"headrace {fallen} ended.", todo=f"See {ws.places.logs / fallen}.log.")
            time.sleep(0.2)
    finally:
        processes.stop()
    return 0
