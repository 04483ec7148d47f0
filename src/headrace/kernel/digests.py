"""Content addresses: SHA-256, written as 64 hexadecimal digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec


def digest_bytes(content: bytes | memoryview) -> str:
    """The SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical(value: object) -> bytes:
    """`value` as JSON with sorted keys: the same value always gives the same bytes."""
    return msgspec.json.encode(value, order="sorted")


def digest_value(value: object) -> str:
    """The SHA-256 of a value's canonical JSON."""
    return digest_bytes(canonical(value))
