"""The route document: all that a scoring process needs to know, and nothing else.

It is derived from the database, written whole to object storage, and carries a generation number that
grows with every change, so that a reply can say which state of the world it came from.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Scope = Literal["predict", "train", "deploy", "approve", "admin"]
GRANTS: dict[str, frozenset[str]] = {
    "predict": frozenset({"predict"}),
    "train": frozenset({"train"}),
    "deploy": frozenset({"deploy", "train"}),
    "approve": frozenset({"approve"}),
    "admin": frozenset({"predict", "train", "deploy", "approve", "admin"}),
}
"""What each scope allows. One that a later Headrace knows allows nothing here."""
CHECKING = "(check)"
"""The consumer, whose name no other can have, that asks whether what was deployed answers as it should: nothing of it
is kept, because it is no prediction for anybody."""
AnswerKind = Literal["prediction", "probability"]


class Arm(msgspec.Struct, frozen=True):
    """A version and the digest of its bundle."""

    version: int
    bundle: str


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one model answers: `share` percent of the keys by `canary`, the rest by `live`.

    While a rollout lasts, `paired` makes the arm that did not answer score a shadow copy of the request.
    """

    live: Arm
    canary: Arm | None = None
    share: float = 0.0
    paired: bool = False


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model's policy says of serving it, whichever version answers.

    `answer` is what dialects without room for both labels and probabilities return. Columns in `masked` are never
    written down, those in `hashed` only as a keyed hash.
    """

    answer: AnswerKind = "prediction"
    masked: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a key allows: the consumer it stands for, its scopes, its objective and its quota.

    `p99` is the consumer's latency objective in seconds; `quota` is in requests a second, for each process.
    """

    id: str
    consumer: str
    scopes: tuple[str, ...]
    p99: float | None = None
    quota: float | None = None


def allows(scopes: tuple[str, ...], asked: str) -> bool:
    """Whether somebody with these scopes may do what asks for one; `any` is for everybody who is known."""
    return asked == "any" or asked in scopes or any(asked in GRANTS.get(scope, ()) for scope in scopes)


class RouteDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every endpoint at one generation; `versions` lists the bundles that may be asked for by number.

    `rules` names the models whose policy differs from the ordinary one. `keys` maps the SHA-256 of each key's text, in
    hexadecimal, to what it allows.
    """

    generation: int
    endpoints: dict[str, Endpoint]
    versions: dict[str, dict[int, str]]
    rules: dict[str, Rule] = {}
    keys: dict[str, Key] = {}
