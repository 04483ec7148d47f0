"""What may not be written down: columns are left out, or become a keyed hash, before anything is captured."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

import msgspec

from headrace.kernel.routes import Rule

HASHED = "hash:"
_IS_HASH = re.compile("hash:[0-9a-f]{32}")
WITHHELD = "withheld, because columns of this model are masked or hashed"


def protected(columns: dict[str, list[Any]], rule: Rule, secret: bytes) -> dict[str, list[Any]]:
    """The columns without those that are masked, and with keyed hashes in place of those that are hashed.

    A hash is ``hash:`` and the first 128 bits of HMAC-SHA256 over the value as JSON, so that equal values can still be
    counted, and none can be guessed without the workspace's secret. Null stays null.
    """
    return {
        name: [hashed(value, secret) for value in values] if name in rule.hashed else values
        for name, values in columns.items()
        if name not in rule.masked
    }


def is_hash(value: Any) -> bool:
    """Whether a value is such a hash."""
    return isinstance(value, str) and _IS_HASH.fullmatch(value) is not None


def hashed(value: Any, secret: bytes) -> str | None:
    """The keyed hash of one value; null, and what is such a hash already, stay."""
    if value is None or (isinstance(value, str) and _IS_HASH.fullmatch(value)):
        return value
    return HASHED + hmac.digest(secret, msgspec.json.encode(value), hashlib.sha256).hex()[:32]
