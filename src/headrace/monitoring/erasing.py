"""Erasing a person's captured rows by key, and whatever was captured too long ago; the audit chain stays whole.

The chain never held the rows: of a forgotten key it holds a keyed hash. Files that held them are removed from the disk
at once, not after the days for which Delta would keep them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec

from headrace.audit.log import AuditLog
from headrace.kernel.clock import Clock
from headrace.kernel.errors import InvalidInput, Unavailable
from headrace.kernel.places import Places, agreed
from headrace.kernel.records import Forgotten
from headrace.monitoring.predictions import Tables, waiting_segments
from headrace.serving.capture import read_segment
from headrace.serving.protecting import hashed
from headrace.serving.secret import open_secret

WAIT_SECONDS, POLL_SECONDS = 30.0, 0.1
SHIPPED_SECONDS = 4.0
"""Within this time what other machines have captured is in object storage."""


def forget(tables: Tables, places: Places, audit: AuditLog, who: str, key: dict[str, Any]) -> Forgotten:
    """Erase every captured prediction whose key has these values, and the outcomes that belong to them.

    Raises:
        InvalidInput: no key was named.
        Unavailable: a scoring server is still writing such rows; what was taken until then is erased.
    """
    if not key or any(value is None for value in key.values()):
        raise InvalidInput("No key was named.", expected="COLUMN=VALUE, such as customer=17", todo="Name one.")
    wanted = _Wanted(places, key)
    with audit.change() as change:
        change.entry(who, "begin to forget", "captured rows", key=wanted.told())
    began = time.monotonic()
    deadline, shipped = began + WAIT_SECONDS, began + (SHIPPED_SECONDS if places.objects.remote else 0)
    predictions = outcomes = 0
    while True:
        waiting = any(wanted.matches(row) for row in _waiting(places))
        tables.ingest()
        found = tables.erase(wanted.matches)
        predictions, outcomes = predictions + found[0], outcomes + found[1]
        if not waiting and time.monotonic() >= shipped:
            break
        if time.monotonic() > deadline:
            raise Unavailable(
                f"A scoring server still writes rows with this key; {predictions} predictions were erased.",
                todo="See that it answers no more requests with it, then forget the key again.",
            )
        time.sleep(POLL_SECONDS)
    with audit.change() as change:
        detail = {"key": wanted.told(), "predictions": predictions, "outcomes": outcomes}
        change.entry(who, "forget", "captured rows", **detail)
    return Forgotten(predictions=predictions, outcomes=outcomes)


class _Wanted:
    """Tells the rows of one key, whether its values were written down as they are or hashed."""

    def __init__(self, places: Places, key: dict[str, Any]) -> None:
        self._secret = open_secret(agreed(places, places.capture_key, open_secret))
        self._key = {name: _written(value, self._secret) for name, value in key.items()}
        self._given = key

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether a row's key has the values."""
        return all(name in row and str(row[name]) in values for name, values in self._key.items())

    def told(self) -> dict[str, str | None]:
        """What the audit log may hold of the key."""
        return {name: hashed(value, self._secret) for name, value in self._given.items()}


def _written(value: Any, secret: bytes) -> set[str]:
    """How a value may have been written down, as text: the value itself, what it means as a number or a truth, the text
    of these, and the keyed hash of each."""
    forms: list[Any] = [value]
    if isinstance(value, str):
        with contextlib.suppress(msgspec.DecodeError):
            forms.append(msgspec.json.decode(value.lower()))
    numbers = [form for form in forms if isinstance(form, int | float) and not isinstance(form, bool)]
    forms += [float(number) for number in numbers]
    forms += [int(number) for number in numbers if number == int(number)]
    forms += [str(form) for form in forms] + [str(form).lower() for form in forms]
    hashes = [hashed(form, secret) for form in forms]
    return {str(form) for form in forms} | {one for one in hashes if one is not None}


def _waiting(places: Places) -> Iterable[dict[str, Any]]:
    """The keys of rows that no table holds yet."""
    for path in waiting_segments(places):
        for record in read_segment(path):
            for i in range(record.rows):
                yield {name: values[i] for name, values in record.keys.items()}


def expire(tables: Tables, audit: AuditLog, clock: Clock, keep: dict[str, timedelta]) -> int:
    """Erase the predictions of each model that were captured longer ago than it keeps them; gives their number."""
    erased = 0
    for model, length in keep.items():
        before = (clock() - length).replace(tzinfo=None)
        count = tables.expire(model, before)
        if count:
            with audit.change() as change:
                change.entry("policy", "expire", model, before=f"{before:%Y-%m-%d}", predictions=count)
        erased += count
    return erased
