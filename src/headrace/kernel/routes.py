"""The route document: all that a scoring process needs to know, and nothing else.

It is derived from the database, written whole to object storage, and carries a generation number that
grows with every change, so that a reply can say which state of the world it came from.
"""

from __future__ import annotations

import msgspec


class Arm(msgspec.Struct, frozen=True):
    """A version and the digest of its bundle."""

    version: int
    bundle: str


class Endpoint(msgspec.Struct, frozen=True):
    """How one model answers: `share` percent of the keys by `canary`, the rest by `live`.

    While a rollout lasts, `paired` makes the arm that did not answer score a shadow copy of the request.
    """

    live: Arm
    canary: Arm | None = None
    share: float = 0.0
    paired: bool = False


class RouteDocument(msgspec.Struct, frozen=True):
    """Every endpoint at one generation; `versions` lists the bundles that may be asked for by number."""

    generation: int
    endpoints: dict[str, Endpoint]
    versions: dict[str, dict[int, str]]
