"""Those who call, and those who are told: keys, people, what consumers asked for, notices."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace.kernel.records import Record
from headrace.kernel.routes import Scope


class KeyRecord(Record, frozen=True, kw_only=True):
    """A key of a consumer; its text is not kept. `p99` is an objective in seconds, `quota` requests a second for each
    scoring process."""

    id: str
    consumer: str
    scopes: tuple[Scope, ...]
    p99: float | None = None
    quota: float | None = None
    created: datetime
    created_by: str
    revoked: datetime | None = None


class Person(Record, frozen=True, kw_only=True):
    """An account. Who signs in elsewhere has an `issuer` and, once it was done, the `subject` that it knows them by.

    `waiting` tells that a code is out with which a password is still to be chosen.
    """

    name: str
    role: str
    issuer: str = ""
    subject: str = ""
    waiting: bool = False
    created: datetime
    created_by: str
    ended: datetime | None = None


class Notice(Record, frozen=True, kw_only=True):
    """Something that one receiver is told: `kind` is ``mail`` or ``webhook``, `about` an id of what it is about."""

    id: str
    about: str
    model: str
    kind: str
    receiver: str
    subject: str
    text: str
    document: dict[str, Any]
    created: datetime
    due: datetime
    attempts: int = 0
    delivered: datetime | None = None
    given_up: datetime | None = None
    error: str = ""


class ConsumerTraffic(Record, frozen=True, kw_only=True):
    """What one consumer asked of one model within a day, as the scoring processes counted it.

    Latencies are in seconds, from a request's whole body to its reply, read to within a quarter. `within` is the share
    of requests that kept the consumer's objective `objective`. Callers without a key have an empty name.
    """

    consumer: str
    model: str
    requests: int
    rows: int
    failed: int
    p50: float | None = None
    p99: float | None = None
    objective: float | None = None
    within: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether 99 of 100 requests kept the objective; None where there is none."""
        return None if self.within is None else self.within >= 0.99


class ScoringCounts(Record, frozen=True, kw_only=True):
    """The scoring processes of a workspace: how many answer now, and what they captured and dropped within a day."""

    processes: int
    captured: int
    dropped_captures: int
    dropped_shadows: int
    refused: dict[str, int]
    errors: dict[str, int]
