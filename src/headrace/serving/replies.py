"""A reply as it goes out."""

from __future__ import annotations

from typing import Any

import msgspec

JSON = b"application/json"
encode_json = msgspec.json.Encoder().encode


class Reply(msgspec.Struct, frozen=True):
    """Status, body, further headers and content type."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    kind: bytes = JSON


def document(value: Any, status: int = 200) -> Reply:
    """A reply in JSON."""
    return Reply(status, encode_json(value))
