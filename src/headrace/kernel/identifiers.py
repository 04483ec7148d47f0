"""Names, references to versions, and ids.

A name becomes a folder, a part of a URL, a label of a metric and a key of a table, so one strict rule
serves all of them. Ids are UUIDv7 (RFC 9562): unique, and sortable by the time they were made.
"""

from __future__ import annotations

import os
import re
import struct
import time
from typing import NamedTuple

from headrace.kernel.errors import InvalidName

NAME_RULE = "1 to 64 characters: lower-case letters, digits, '-' or '_', beginning with a letter or digit"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_REFERENCE = re.compile(r"(?P<model>[^@]*)(?:@(?P<number>[1-9][0-9]{0,8}))?\Z")


class VersionReference(NamedTuple):
    """A model and, where one was named, a version's number: ``late-arrival@3``."""

    model: str
    number: int | None

    def __str__(self) -> str:
        return self.model if self.number is None else f"{self.model}@{self.number}"


def check_name(name: str, what: str = "model") -> str:
    """`name` itself when it is a good name.

    Raises:
        InvalidName: anything else, among it ``/``, ``..`` and the empty text.
    """
    if not _NAME.match(name):
        raise InvalidName(
            f"{name!r} cannot be the name of a {what}.",
            expected=NAME_RULE,
            todo=f"Choose another name for the {what}, for example {suggest_name(name)!r}.",
            field=what,
        )
    return name


def suggest_name(name: str) -> str:
    """A good name near to `name`."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:64]
    return plain or "my-model"


def parse_reference(text: str) -> VersionReference:
    """``"m@3"`` as (m, 3) and ``"m"`` as (m, None).

    Raises:
        InvalidName: the name is not good, or what follows ``@`` is not a positive number.
    """
    found = _REFERENCE.match(text)
    if found is None:
        raise InvalidName(
            f"{text!r} does not name a version.",
            expected="MODEL or MODEL@NUMBER, such as late-arrival@3",
            todo="List what there is with 'headrace models'.",
        )
    number = found["number"]
    return VersionReference(check_name(found["model"]), int(number) if number else None)


def new_id() -> str:
    """A UUIDv7 as text: 48 bits of Unix milliseconds, 12 of their fraction, then random bits (RFC 9562, 5.7, 6.2)."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    random = _random_bits()
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031 - one operation; this is called for each request
        milliseconds >> 16,
        milliseconds & 0xFFFF,
        fraction,
        0x8000 | random >> 50,
        random & 0xFFFFFFFFFFFF,
    )


_bits: list[int] = []


def _random_bits() -> int:
    """64 bits from the system's generator, of which many are fetched at a time: a call for each costs microseconds."""
    try:
        return _bits.pop()
    except IndexError:
        _bits.extend(struct.unpack("<256Q", os.urandom(2048)))
        return _random_bits()


os.register_at_fork(after_in_child=_bits.clear)
