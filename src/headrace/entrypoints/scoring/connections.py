"""What uvicorn has no limit for: heads that are too large, that never come, and replies that are never read.

Once a second the connections are looked at, and those that have been stuck for too long are closed; only the size of a
head is counted as it arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.serving.app import OVERSIZED

MOST_HEAD_BYTES = 32 << 10
LOOK_SECONDS = 1.0
STUCK_SECONDS = 30.0


LARGEST_JOINED = 1 << 16


class JoinedWrites:
    """A transport that sends the head of a reply together with its body: one call of the system instead of two.

    uvicorn writes the two one after the other. A head is held until the next write, or the close of the connection;
    ``100 Continue``, which has no body, is not held.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""

    def write(self, data: bytes) -> None:
        """Write, or hold a head."""
        if self._held and len(data) > LARGEST_JOINED:
            self.flush()
        elif self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(b"HTTP/1.1 ") and data[9:10] != b"1":
            self._held = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)

    def close(self) -> None:
        """Write what is held, then close."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes a connection whose head grows past the limit before it is complete, and marks
    a complete one that is larger. Replies are written whole."""

    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection."""
        super().connection_made(JoinedWrites(transport))  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """A reply is whole; one without a body is only now."""
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._head = 0
            if len(data) > MOST_HEAD_BYTES and self._size() > MOST_HEAD_BYTES:
                self.scope[OVERSIZED] = True  # type: ignore[typeddict-unknown-key]
        elif before is None or before.response_complete:
            self._head += len(data)
            if self._head > MOST_HEAD_BYTES and (before is None or not before.more_body):
                self._refuse_head()

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            body = b"the head of the request is too large"
            head = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(head % len(body) + body)
            self.transport.close()


class Sweeper:
    """Closes connections whose head does not arrive, or whose reply is not read.

    Args:
        head_seconds: how long a head may take, from the connection's first moment or the last reply.
    """

    def __init__(self, server: uvicorn.Server, head_seconds: float) -> None:
        self._server = server
        self._head_seconds = head_seconds
        self._since: dict[Any, tuple[str, float]] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Look once."""
        connections = self._server.server_state.connections
        states = {connection: state for connection in list(connections) if (state := _stuck(connection))}
        since = {}
        for connection, state in states.items():
            before = self._since.get(connection)
            began = before[1] if before is not None and before[0] == state else now
            since[connection] = (state, began)
            if now - began >= (STUCK_SECONDS if state == "reply" else self._head_seconds):
                with contextlib.suppress(Exception):
                    connection.transport.abort()
        self._since = since


def _stuck(connection: Any) -> str:
    """Where a connection may be stuck: waiting for a head, for its reply to be read, or for the rest of a body that
    was refused; nowhere while its request is being answered or it idles between two."""
    cycle = getattr(connection, "cycle", None)
    if cycle is None:
        return "head"
    if not cycle.response_complete:
        return "reply" if connection.flow.write_paused else ""
    if cycle.more_body:
        return "rest"
    return "head" if connection.timeout_keep_alive_task is None else ""


def raise_file_limit() -> None:
    """Let this process hold as many connections as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
