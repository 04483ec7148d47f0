"""Reading a request's body: within its limits of size and time, and decompressed without being blown up."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from headrace.kernel.errors import DeadlinePassed, InvalidInput, Overloaded, TooLarge, UnknownFormat
from headrace.serving.limits import Limits

Receive = Callable[[], Awaitable[dict[str, Any]]]
Headers = dict[bytes, bytes]
PIECE = 1 << 18
MOST_MEMBERS = 1000
"""Of a gzip body, which may be several that follow one another (RFC 1952, 2.2)."""
_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 47}


class Body(msgspec.Struct, frozen=True):
    """A whole body, with what the caller says of it."""

    content: bytes
    headers: Headers

    @property
    def kind(self) -> bytes:
        """The content type, without its parameters."""
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()

    @property
    def accepted(self) -> bytes:
        """The first content type that the caller asks for."""
        return self.headers.get(b"accept", b"").partition(b",")[0].partition(b";")[0].strip().lower()


class Reader:
    """Reads bodies for one process, which has a limit on the bytes that are under way."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._under_way = 0

    async def read(self, headers: Headers, receive: Receive) -> Body:
        """The body of one request.

        Raises:
            TooLarge: it is larger than the limit, or would be when decompressed.
            DeadlinePassed: it did not arrive in time.
            Overloaded: too many bytes are under way.
            InvalidInput: it broke off, or is not in the encoding that it names.
        """
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limits.body:
            raise _too_large(self._limits.body)
        message = await receive() if declared != b"0" and len(declared) < 6 else {"more_body": True}
        if message.get("more_body"):
            content = await self._slowly(message, receive)
        else:
            content = message.get("body", b"")
            if message["type"] == "http.disconnect":
                raise _broke_off()
        encoding = headers.get(b"content-encoding")
        if encoding is not None:
            content = self._decompressed(content, encoding.strip().lower())
        return Body(content, headers)

    async def _slowly(self, first: dict[str, Any], receive: Receive) -> bytes:
        """A body in several parts: within the time for it, and within the bytes that may be under way."""
        parts = [first.get("body", b"")]
        size = len(parts[0])
        self._under_way += size
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _broke_off()
                    part = message.get("body", b"")
                    parts.append(part)
                    size += len(part)
                    self._under_way += len(part)
                    if size > self._limits.body:
                        raise _too_large(self._limits.body)
                    if not message.get("more_body"):
                        return b"".join(parts)
                    if self._under_way > self._limits.in_flight:
                        raise Overloaded(
                            f"Bodies of {self._under_way} bytes are under way.", todo="Try again in a second."
                        )
        except TimeoutError as error:
            raise DeadlinePassed(
                f"The body did not arrive within {self._limits.body_seconds:g} s; {size} bytes did.",
                todo="Send the whole body at once.",
            ) from error
        finally:
            self._under_way -= size

    def _decompressed(self, content: bytes, encoding: bytes) -> bytes:
        if encoding in (b"", b"identity"):
            return content
        if encoding not in _WINDOWS:
            raise UnknownFormat(
                f"The body is encoded as {encoding.decode('latin-1')!r}.",
                expected="gzip, deflate or no encoding",
                todo="Send it so.",
            )
        stream = zlib.decompressobj(_WINDOWS[encoding])
        plain = bytearray()
        members = 1
        try:
            while not stream.eof or stream.unused_data:
                if stream.eof:
                    members += 1
                    if members > MOST_MEMBERS:
                        raise _too_large(self._limits.body)
                    content, stream = stream.unused_data, zlib.decompressobj(_WINDOWS[encoding])
                part = stream.decompress(content, PIECE)
                content = stream.unconsumed_tail
                plain += part
                if len(plain) > self._limits.body:
                    raise _too_large(self._limits.body)
                if not part and not content and not stream.eof:
                    raise InvalidInput(
                        f"The {encoding.decode()} body breaks off.", todo="Compress it anew, or send it plain."
                    )
        except zlib.error as error:
            raise InvalidInput(
                f"The body is not {encoding.decode()}: {error}.", todo="Compress it anew, or send it plain."
            ) from error
        return bytes(plain)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit} bytes.",
        todo="Send fewer rows at a time, or score a file with 'headrace score'.",
    )


def _broke_off() -> InvalidInput:
    return InvalidInput("The client went away before its request was whole.", todo="Send it again.")
