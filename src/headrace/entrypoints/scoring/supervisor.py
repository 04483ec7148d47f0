"""Several scoring processes behind one port: started together, replaced when one dies, and ended together.

They share one listening socket, which this process holds open: while one of them is replaced, nobody is turned away.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from headrace.kernel.errors import Unavailable

LOOK_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
STEADY_SECONDS = 10.0
END_SECONDS = 30.0
START_SECONDS = 120.0


class Place:
    """One of the processes, and when it may be started again."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.started = time.monotonic()
        self.pause = FIRST_PAUSE
        self.again: float | None = None


class Supervisor:
    """Runs `count` processes of a command.

    Args:
        command: starts one; the descriptor of the listening socket and ``--json`` are added to it.
    """

    def __init__(self, command: list[str], listening: socket.socket, count: int) -> None:
        self._command = [*command, "--inherited", str(listening.fileno()), "--json"]
        self._listening = listening
        self._count = count
        self._places: list[Place] = []
        self._ending = False
        self._renewing = False

    def run(self, announce: Callable[[dict[str, Any]], None]) -> None:
        """Run until SIGTERM or Ctrl-C; SIGHUP replaces the processes one after the other.

        Raises:
            Unavailable: a process does not start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "_ending", True))
        signal.signal(signal.SIGHUP, lambda *_: setattr(self, "_renewing", True))
        try:
            self._places = [Place(self._start()) for _ in range(self._count)]
            told = [self._told(place.process) for place in self._places]
            announce(told[0])
            while not self._ending:
                self._look()
                if self._renewing:
                    self._renewing = False
                    self._renew()
                time.sleep(LOOK_SECONDS)
        finally:
            self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            pass_fds=[self._listening.fileno()],
            env={**os.environ},
        )

    def _told(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """What a process announces when it answers.

        Raises:
            Unavailable: it ended instead; with its reason.
        """
        assert process.stdout is not None
        until, line = time.monotonic() + START_SECONDS, b""
        while not self._ending and time.monotonic() < until:
            if select.select([process.stdout], [], [], LOOK_SECONDS)[0]:
                line = process.stdout.readline()
                break
        document = msgspec.json.decode(line) if line else {}
        if "url" not in document:
            raise Unavailable(
                f"A scoring process did not start: {document.get('error', 'it said nothing')}",
                todo=document.get("todo", "Mend this, and start again."),
            )
        return document

    def _look(self) -> None:
        """Start again what has died, after a pause that grows while it dies young."""
        now = time.monotonic()
        for place in self._places:
            code = place.process.poll()
            if code is None:
                continue
            if place.again is None:
                young = now - place.started < STEADY_SECONDS
                place.pause = min(place.pause * 2, LONGEST_PAUSE) if young else FIRST_PAUSE
                place.again = now + (place.pause if young else 0.0)
                print(f"scoring process {place.process.pid} ended with {code}", file=sys.stderr, flush=True)
            elif now >= place.again:
                self._close(place.process)
                place.process, place.started, place.again = self._start(), now, None

    def _renew(self) -> None:
        """Replace each process: the new one answers before the old one leaves."""
        for place in self._places:
            fresh = self._start()
            try:
                self._told(fresh)
            except Unavailable as error:
                print(f"{error.kind}: {error}; the old process stays", file=sys.stderr, flush=True)
                fresh.kill()
                self._wait(fresh)
                continue
            old, place.process, place.started, place.again = place.process, fresh, time.monotonic(), None
            old.terminate()
            self._wait(old)

    def _end(self) -> None:
        for place in self._places:
            with contextlib.suppress(ProcessLookupError):
                place.process.terminate()
        for place in self._places:
            self._wait(place.process)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._close(process)

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            process.stdout.close()
