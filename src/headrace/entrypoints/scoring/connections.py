"""The connections of a scoring server: uvicorn's, with the express way for plain requests before them.

uvicorn reads HTTP, and answers by the ASGI callable. What it has no limit for is here: heads that are too large.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from headrace.serving.app import OVERSIZED
from headrace.serving.express import Express
from headrace.serving.replies import Reply

MOST_HEAD_BYTES = 32 << 10
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\nheadrace-generation: %d\r\n%b\r\n%b"


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


class ScoringProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes a connection whose head grows past the limit before it is complete, and marks
    a complete one that is larger. Replies are written whole; an upgrade that is asked for is not heard.

    Args:
        express: is offered each plain request that arrives in one piece, before anything is made for it.
    """

    _held = False
    _body = b""
    _data = b""
    _feeding = False
    _heading = False

    def __init__(self, *args: Any, express: Express | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._express = express
        self.head = 0
        """The bytes of a head that is not complete yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection."""
        self.direct = transport
        super().connection_made(JoinedWrites(transport))  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """A reply is whole; one without a body is only now."""
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        before, size = self.cycle, self.head + len(data)
        self._data, self._feeding = data, self._express is not None and size <= MOST_HEAD_BYTES
        try:
            super().data_received(data)
            self._feeding = False
            if self._held:
                self._let_go()
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self.cycle is not before:
            self.head = 1 if self._heading else 0
            if size > MOST_HEAD_BYTES and self._size() > MOST_HEAD_BYTES:
                self.scope[OVERSIZED] = True  # type: ignore[typeddict-unknown-key]
        elif before is None or before.response_complete:
            self.head = size
            if size > MOST_HEAD_BYTES and (before is None or not before.more_body):
                self._refuse_head()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._heading = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is whole. That of a plain request is held, for its body may have come with it.

        What comes as a field from now on is a trailer, and is not among the fields of the head.
        """
        self._heading = False
        if self.parser.should_upgrade():
            return
        self.headers = []
        if self._feeding and self._is_plain():
            self._held, self._body = True, b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if self._held:
            self._body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self.parser.should_upgrade():
            return
        if self._held:
            before = self.cycle
            request = PlainRequest(self, self.url.decode("latin-1"), self.scope["headers"], self._body)  # type: ignore[arg-type]
            self.cycle = request  # type: ignore[assignment]
            assert self._express is not None
            if self._express.take(request):
                self._held = False
                return
            self.cycle = before
            self._let_go()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, once the requests before it are answered."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            super().send_400_response(msg)
        else:
            cycle.keep_alive = False
            self.flow.pause_reading()

    def _unsupported_upgrade_warning(self) -> None:
        """Read a request anew as if it had not asked for an upgrade (RFC 9110, 7.8: a server may ignore that).

        The parser ends with the head of such a request, and takes its body for something else. Java's client asks for
        HTTP/2 with each first request.
        """
        upgrade, method = sys.exception(), self.parser.get_method()
        if method == b"CONNECT" or not isinstance(upgrade, httptools.HttpParserUpgrade):
            raise httptools.HttpParserError("there is no upgrade here")
        fields = [field for field in self.headers if field[0] not in (b"upgrade", b"connection", b"http2-settings")]
        if not self.parser.should_keep_alive():
            fields.append((b"connection", b"close"))
        version = self.parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n" % (method, self.url, version) + b"".join(b"%b: %b\r\n" % field for field in fields)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(head + b"\r\n" + self._data[upgrade.args[0] :])

    def _is_plain(self) -> bool:
        """Whether it is an ordinary POST of a connection that is kept, on which nothing is under way."""
        parser, cycle = self.parser, self.cycle
        return (
            (cycle is None or cycle.response_complete)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and b"?" not in self.url
            and b"%" not in self.url
        )

    def _let_go(self) -> None:
        """Treat what was held as uvicorn does.

        Raises:
            HttpParserError: its URL is none.
        """
        self._held = False
        if not self.transport.is_closing():
            super().on_headers_complete()
            if self._body:
                super().on_body(self._body)

    def replied(self, request: PlainRequest) -> None:
        """A plain request is answered; others may wait for that."""
        if not request.keep_alive:
            self.server_state.total_requests += 1
            self.transport.close()
        elif self.pipeline:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1

    def hand_back(self, request: PlainRequest) -> None:
        """Let the ASGI callable answer a plain request."""
        task = self.loop.create_task(self._through_app(request))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _through_app(self, request: PlainRequest) -> None:
        scope = {"type": "http", "method": "POST", "path": request.path, "headers": list(request.headers.items())}
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        try:
            await self.app(scope, receive, send)  # type: ignore[arg-type]
            start, body = sent
            request.send(start["status"], start["headers"], body["body"])
        except BaseException:
            self.transport.abort()
            raise

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.scope["headers"])

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            body = b"the head of the request is too large"
            head = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(head % len(body) + body)
            self.transport.close()


class _NobodyWaits:
    def set(self) -> None:
        """There is nothing to do."""


class PlainRequest:
    """A plain request that is whole; for uvicorn it stands where the state of a request and its reply does."""

    __slots__ = ("_protocol", "body", "disconnected", "headers", "keep_alive", "path", "response_complete")
    more_body = False
    message_event = _NobodyWaits()

    def __init__(self, protocol: ScoringProtocol, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._protocol = protocol
        self.path = path
        self.headers = dict(headers)
        self.body = body
        self.disconnected = self.response_complete = False
        self.keep_alive = True

    def reply(self, reply: Reply, generation: int) -> None:
        """Send an answer."""
        self.response_complete = True
        if self.disconnected or self._protocol.direct.is_closing():
            return
        content, more = reply.body, b""
        for field in reply.headers:
            more += b"%b: %b\r\n" % field
        if b"x-request-id" in self.headers:
            more += b"x-request-id: %b\r\n" % self.headers[b"x-request-id"][:200]
        if not self.keep_alive:
            more += b"connection: close\r\n"
        self._protocol.direct.write(_HEAD % (reply.kind, len(content), generation, more, content))
        self._protocol.replied(self)

    def send(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send the reply of the ASGI callable."""
        self.response_complete = True
        if self.disconnected or self._protocol.direct.is_closing():
            return
        self.keep_alive = self.keep_alive and (b"connection", b"close") not in fields
        told = b"".join(b"%b: %b\r\n" % field for field in fields if field[0] != b"connection")
        if not self.keep_alive:
            told += b"connection: close\r\n"
        self._protocol.direct.write(STATUS_LINE[status] + told + b"\r\n" + body)
        self._protocol.replied(self)

    def hand_back(self) -> None:
        """Let the ASGI callable answer it."""
        self._protocol.hand_back(self)


def raise_file_limit() -> None:
    """Let this process hold as many connections as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
