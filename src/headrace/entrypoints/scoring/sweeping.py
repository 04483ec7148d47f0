"""What uvicorn has no limit for: heads that never come, and replies that are never read.

Once a second the connections are looked at, and those that have been stuck for too long are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import uvicorn

from headrace.entrypoints.scoring.connections import PlainRequest

LOOK_SECONDS = 1.0
STUCK_SECONDS = 30.0


class Sweeper:
    """Closes connections whose head does not arrive, or whose reply is not read.

    Args:
        head_seconds: how long a head may take, from the connection's first moment or the last reply.
        idle_seconds: how long a connection may idle between two requests.
    """

    def __init__(self, server: uvicorn.Server, head_seconds: float, idle_seconds: float) -> None:
        self._server = server
        self._seconds = {"head": head_seconds, "reply": STUCK_SECONDS, "rest": head_seconds, "idle": idle_seconds}
        self._since: dict[Any, tuple[str, Any, float]] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Look once."""
        connections = self._server.server_state.connections
        since = {}
        for connection in list(connections):
            state = _stuck(connection)
            if not state:
                continue
            request, before = connection.cycle, self._since.get(connection)
            same = before is not None and before[0] == state and before[1] is request
            began = before[2] if before is not None and same else now
            since[connection] = (state, request, began)
            if now - began >= self._seconds[state]:
                with contextlib.suppress(Exception):
                    connection.transport.abort()
        self._since = since


def _stuck(connection: Any) -> str:
    """Where a connection may be stuck: waiting for a head, for its reply to be read, or for the rest of a body that
    was refused, or for the next request; nowhere while its request is being answered.

    uvicorn itself closes those that idle after a reply of the ASGI callable, and sets a timer for that.
    """
    cycle = getattr(connection, "cycle", None)
    if cycle is None:
        return "head"
    if not cycle.response_complete:
        return "reply" if connection.flow.write_paused else ""
    if cycle.more_body:
        return "rest"
    if isinstance(cycle, PlainRequest):
        return "head" if connection.head else "idle"
    return "head" if connection.timeout_keep_alive_task is None else ""
