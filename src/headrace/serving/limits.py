"""What a scoring process takes on, and what it refuses; each limit has its own clear refusal."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Sizes are in bytes, times in seconds."""

    body: int = 16 << 20
    """The largest body, before and after decompression."""
    rows: int = 10_000
    """The most rows of a request in JSON or CSV."""
    bulk_rows: int = 1_000_000
    """The most rows of a request in Arrow or Parquet."""
    concurrent: int = 1024
    """The most requests at a time."""
    in_flight: int = 256 << 20
    """The most bytes of bodies that are being read at a time."""
    body_seconds: float = 10.0
    """The longest that a body may take to arrive."""
    header_seconds: float = 10.0
    """The longest that a request's head may take to arrive."""
    seconds: float = 30.0
    """The longest that an answer may take."""
    memory: int = 0
    """The most memory of loaded versions together, by estimate; 0 for any."""
