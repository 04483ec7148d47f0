"""The process that works at batch jobs: apart from the loop, and with the lowest claim on the processor."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import traceback

from polars.exceptions import PanicException

from headrace import settings
from headrace.entrypoints.giving_way import give_way
from headrace.kernel.errors import HeadraceError
from headrace.workspace import Workspace

LOOK_SECONDS = 0.5
IDLE_SECONDS = 60.0
NICENESS = 19
STOP_SECONDS = 20.0


class JobsWorker:
    """Takes turns at jobs until it is told to stop, or has had nothing to do for so many seconds."""

    def __init__(self, workspace: Workspace, idle: float = float("inf")) -> None:
        self._workspace = workspace
        self._idle = idle
        self._stopping = threading.Event()

    def work(self) -> None:
        """Work until SIGTERM or Ctrl-C; the job that is under way then gives way after its chunk."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        give_way(NICENESS, idle=True)
        last = time.monotonic()
        while not self._stopping.is_set() and time.monotonic() - last < self._idle:
            if self._turn():
                last = time.monotonic()
            else:
                self._stopping.wait(LOOK_SECONDS)

    def _turn(self) -> bool:
        try:
            return self._workspace.work_at_jobs(lambda: not self._stopping.is_set())
        except HeadraceError as error:
            print(f"{error.kind}: {error}", file=sys.stderr, flush=True)
        except (Exception, PanicException):  # the job is marked as failed; the others go on
            traceback.print_exc()
        return False


class JobsProcess:
    """Such a process beside a worker, started when a job waits and none is there."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """See that somebody works at jobs that wait."""
        alive = self._process is not None and self._process.poll() is None
        if not alive and self._workspace.job_store.waiting():
            places = self._workspace.places
            places.logs.mkdir(parents=True, exist_ok=True)
            with (places.logs / "jobs.log").open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "headrace", "worker", "--jobs", "--idle", str(IDLE_SECONDS)],
                    stdout=output,
                    stderr=output,
                    stdin=subprocess.DEVNULL,
                    env=settings.environment_of(places),
                )

    def stop(self) -> None:
        """End it; what it works at goes on with the next one."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
