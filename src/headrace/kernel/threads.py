"""What must be done before several threads do it at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec


def build_records() -> None:
    """Have msgspec learn the fields of every record of ours that is loaded.

    It does so where it first meets a class, and keeps what it has of it before it is whole: two threads that meet one
    at the same moment crash the process. One that was built stays so, and doing it again costs next to nothing.
    """
    for record in set(_descendants(msgspec.Struct)):
        if record.__module__.startswith("headrace."):
            with contextlib.suppress(TypeError, NameError):  # it has fields that are never read from JSON
                msgspec.json.Decoder(record)


def _descendants(cls: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for child in cls.__subclasses__():
        yield child
        yield from _descendants(child)
