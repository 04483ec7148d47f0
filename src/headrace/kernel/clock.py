"""Time, passed in: whoever needs the time takes a `Clock`, so that tests and replays decide what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from headrace.kernel.errors import InvalidInput

Clock = Callable[[], datetime]

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)\Z")


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds: texts sort as the moments do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_text(text: str) -> datetime:
    """The moment that `to_text` wrote, or any ISO 8601 text; without a zone it is UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_duration(text: str) -> timedelta:
    """``"20ms"``, ``"90s"``, ``"1d"`` or ``"2w"`` as a duration.

    Raises:
        InvalidInput: another text.
    """
    found = _DURATION.match(text)
    if found is None or len(found[1]) > 9:
        raise InvalidInput(
            f"{text!r} is not a duration.",
            expected="a number and one of ms, s, m, h, d, w, such as 20ms or 1d",
            todo="Correct the duration.",
        )
    return timedelta(**{_UNITS[found[2]]: float(found[1])})
