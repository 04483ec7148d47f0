"""Keys by which outcomes find their predictions, as they may be written down.

An outcome names no model. So a key column that any model of the workspace hashes is hashed in every outcome, and where
predictions and outcomes are joined, in every prediction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import polars as pl

from headrace.kernel.digests import canonical
from headrace.kernel.places import Places, agreed
from headrace.kernel.routes import RouteDocument
from headrace.serving.protecting import hashed
from headrace.serving.secret import open_secret


class HashedKeys(NamedTuple):
    """The columns that some model hashes, and the workspace's secret."""

    names: frozenset[str]
    secret: bytes

    def of(self, row: dict[str, Any]) -> str:
        """A key as it is written down."""
        return canonical(
            {name: hashed(value, self.secret) if name in self.names else value for name, value in row.items()}
        ).decode()

    def joined(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Predictions whose keys can be held against those of outcomes."""
        if not self.names or frame.is_empty():
            return frame
        keys = [self.of(msgspec.json.decode(key)) for key in frame["key"].to_list()]
        return frame.with_columns(key=pl.Series(keys, dtype=pl.String))


def hashed_keys(places: Places) -> HashedKeys:
    """What the route document says now."""
    if not places.objects.latest(places.routes).exists():
        return HashedKeys(frozenset(), b"")
    rules = msgspec.json.decode(places.routes.read_bytes(), type=RouteDocument).rules.values()
    names = frozenset(name for rule in rules for name in rule.hashed)
    return HashedKeys(names, open_secret(agreed(places, places.capture_key, open_secret)) if names else b"")
