"""One process that answers over HTTP: uvicorn around an ASGI callable, until it is told to end, and then gently."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from headrace.entrypoints.scoring.connections import ScoringProtocol, raise_file_limit
from headrace.entrypoints.scoring.sweeping import Sweeper
from headrace.kernel.threads import build_records
from headrace.serving.express import Express

DRAIN_SECONDS = 20
KEEP_ALIVE_SECONDS = 75
LEAVING_SECONDS = 3.0
QUIET_SECONDS = 0.3
IDLE_SECONDS = 1.0
Announce = Callable[[str, int], None]
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGE_BLOCK = -1, -3, 128 << 10
Background = Callable[[], Coroutine[Any, Any, None]]


class GentleServer(uvicorn.Server):
    """A server that leaves without failing a request.

    At the first signal it goes on accepting for up to three seconds, says that it is not ready, and asks with each
    reply to connect anew; then it stops accepting, lets what is under way finish, and ends.

    Args:
        leave: called at the first signal.
    """

    def __init__(self, config: uvicorn.Config, leave: Callable[[], None]) -> None:
        super().__init__(config)
        self._leave = leave
        self._leaving: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: BaseException | None = None
        """What ended this process, where it was a part of it that failed."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the leaving, the second ends it."""
        if self._leaving is None and self.started and self._loop is not None:
            self._loop.call_soon_threadsafe(self.begin_leaving)
        else:
            super().handle_exit(sig, frame)

    def lose(self, done: asyncio.Task[None]) -> None:
        """End, because a part of this process has failed."""
        if not done.cancelled() and (error := done.exception()) is not None:
            self.failure = error
            self.should_exit = True

    def begin_leaving(self) -> None:
        """Leave as if a signal had come."""
        if self._leaving is None:
            self._leave()
            self._leaving = asyncio.create_task(self._drain())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and remember the loop for signals."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, give connections that are open a moment to be used a last time, then end."""
        for server in self.servers:
            server.close()
        until = time.monotonic() + IDLE_SECONDS
        while self.server_state.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    async def _drain(self) -> None:
        until = time.monotonic() + LEAVING_SECONDS
        seen, quiet = self.server_state.total_requests, time.monotonic() + QUIET_SECONDS
        while time.monotonic() < min(until, quiet):
            await asyncio.sleep(0.02)
            if self.server_state.total_requests != seen:
                seen, quiet = self.server_state.total_requests, time.monotonic() + QUIET_SECONDS
        self.should_exit = True


def run_process(
    app: Any,
    listening: socket.socket,
    announce: Announce,
    leave: Callable[[], None] = lambda: None,
    background: tuple[Background, ...] = (),
    head_seconds: float = 10.0,
    supervised: bool = False,
    express: Express | None = None,
) -> None:
    """Serve until a signal, or until the supervisor is gone.

    Args:
        express: where plain requests go before they come to `app`; None where what is around `app` must see them all.
    """
    raise_file_limit()
    config = uvicorn.Config(
        app,
        http=partial(ScoringProtocol, express=express),  # type: ignore[arg-type]
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ws="none",
    )
    host, port = listening.getsockname()[:2]

    async def main() -> None:
        server = GentleServer(config, leave)
        works = [Sweeper(server, head_seconds, KEEP_ALIVE_SECONDS).run, *background]
        if supervised:
            works.append(lambda: _orphaned(server))
        tasks = [asyncio.create_task(work()) for work in works]
        for task in tasks:
            task.add_done_callback(lambda done: server.lose(done))
        tasks.append(asyncio.create_task(_announced(server, lambda: announce(host, port))))
        await server.serve(sockets=[listening])
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        if server.failure is not None:
            raise server.failure

    build_records()
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(main())


async def _announced(server: uvicorn.Server, announce: Callable[[], None]) -> None:
    """Call `announce` once the server answers."""
    while not server.started:
        await asyncio.sleep(0.01)
    _settle_memory()
    announce()


def _settle_memory() -> None:
    """Leave what was loaded so far out of the search for cycles, and search less often: a search of a large heap stops
    every request for milliseconds. And let glibc give large blocks back as soon as they are free (`mallopt(3)`): by
    itself it keeps up to 32 MB of them between those that are in use, request upon request."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


async def _orphaned(server: GentleServer) -> None:
    """End when the process that started this one is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(0.5)
    server.begin_leaving()
