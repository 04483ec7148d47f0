"""What may not be written down: columns are left out, or become a keyed hash, before anything is captured."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

from headrace.kernel.routes import Rule

HASHED = "hash:"
WITHHELD = "withheld, because columns of this model are masked or hashed"


def protected(columns: dict[str, list[Any]], rule: Rule, secret: bytes) -> dict[str, list[Any]]:
    """The columns without those that are masked, and with keyed hashes in place of those that are hashed.

    A hash is ``hash:`` and the first 128 bits of HMAC-SHA256 over the value as JSON, so that equal values can still be
    counted, and none can be guessed without the workspace's secret. Null stays null.
    """
    return {
        name: [_hashed(value, secret) for value in values] if name in rule.hashed else values
        for name, values in columns.items()
        if name not in rule.masked
    }


def _hashed(value: Any, secret: bytes) -> str | None:
    if value is None:
        return None
    return HASHED + hmac.digest(secret, msgspec.json.encode(value), hashlib.sha256).hex()[:32]
