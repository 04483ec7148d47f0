"""A worker process: durable runs on the one hand, turns of the loop on the other."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback

from headrace import settings
from headrace.entrypoints.giving_way import give_way
from headrace.entrypoints.jobs_worker import JobsProcess
from headrace.kernel.errors import HeadraceError
from headrace.kernel.identifiers import new_id
from headrace.kernel.threads import build_records
from headrace.notices.delivering import deliver
from headrace.training.durable import DurableWorker
from headrace.workspace import Workspace

BEAT_SECONDS = 1.0
TIDY_SECONDS = 3.0
DELIVER_SECONDS = 2.0
COMPACT_SECONDS = 3600.0
FAULT = 70
NICENESS = 10
"""Live scoring on the same machine goes first."""


class Worker:
    """One worker of a workspace, until it is told to stop."""

    def __init__(self, workspace: Workspace) -> None:
        build_records()  # those of the modules that the workspace does not load
        self._workspace = workspace
        self._executor = f"{socket.gethostname()}-{os.getpid()}-{new_id()[-8:]}"
        self._durable = DurableWorker(workspace.pipeline_rooms(), self._executor)
        self._loop = workspace.loop()
        self._postman = workspace.postman()
        self._jobs = JobsProcess(workspace)
        self._stopping = threading.Event()

    def work(self) -> None:
        """Work until SIGTERM or Ctrl-C. A run that is under way then goes on with the next worker."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        give_way(NICENESS)
        leases = self._workspace.leases
        leases.renew(self._executor)
        threading.Thread(target=self._beat, daemon=True).start()
        threading.Thread(target=self._deliver, daemon=True).start()
        self._durable.start()
        tidied, compacted = 0.0, time.monotonic()
        pause = float(settings.read(settings.TURN_SECONDS))
        try:
            while not self._stopping.wait(pause):
                if time.monotonic() - tidied >= TIDY_SECONDS:
                    self._attempt(self._tidy)
                    tidied = time.monotonic()
                self._attempt(self._turn)
                self._attempt(self._jobs.keep)
                if time.monotonic() - compacted >= COMPACT_SECONDS:
                    self._attempt(self._workspace.tables.compact)
                    self._attempt(self._workspace.expire)
                    self._attempt(self._workspace.outbox.sweep)
                    compacted = time.monotonic()
        except BaseException:
            traceback.print_exc()
            self._leave(FAULT)
        self._leave(0)

    def _leave(self, code: int) -> None:
        """End at once: a step that is running in a thread would hold the process, and the next worker does it again."""
        self._attempt(self._jobs.stop)
        self._attempt(lambda: self._workspace.leases.end(self._executor))
        self._attempt(self._durable.stop)
        sys.stderr.flush()
        os._exit(code)

    def _turn(self) -> None:
        if self._workspace.leases.duty("loop", self._executor):
            self._loop.turn()

    def _tidy(self) -> None:
        """Take over from the dead, and hand over what was entered but not handed over."""
        dead = self._workspace.leases.dead(self._executor)
        if dead:
            self._durable.take_over(dead)
            self._workspace.leases.forget(dead)
        self._workspace.starter.reconcile()

    def _beat(self) -> None:
        while not self._stopping.wait(BEAT_SECONDS):
            self._attempt(lambda: self._workspace.leases.renew(self._executor))

    def _deliver(self) -> None:
        """Bring notices, apart from the loop: a mail server that is slow to answer holds nothing up."""
        while not self._stopping.wait(DELIVER_SECONDS):
            self._attempt(self._bring)

    def _bring(self) -> None:
        if self._workspace.leases.duty("notices", self._executor):
            deliver(self._workspace.outbox, self._postman)

    def _attempt(self, work) -> None:
        """A turn that fails is logged and made again: what it works on is still in the database and the inboxes."""
        try:
            work()
        except HeadraceError as error:
            print(f"{error.kind}: {error}", file=sys.stderr, flush=True)
        except Exception:
            traceback.print_exc()
