"""How many rows and values a JSON body holds, told before it is decoded.

A decoded body takes some hundred bytes for each value, and Python's memory stays in pieces after many large ones; a row
that is only counted takes 16 bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.kernel.errors import TooLarge

MOST_VALUES = 500_000
"""The most values of a JSON body that is decoded without a type."""


def values_in(body: bytes) -> int:
    """How many values a JSON body can hold at most."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def too_many(rows: int, most: int) -> TooLarge:
    """The error of a request with more rows than are allowed."""
    return TooLarge(
        f"The request holds {rows} rows.",
        expected=f"1 to {most} rows",
        todo="Send them in several requests, as one table in Arrow, or score a file.",
    )


def refuse_many(body: bytes, most: int) -> None:
    """Refuse a body with more rows than are allowed, whatever form they are in.

    Rows are objects or lists, under one of the names that a dialect gives them; a body of any other kind is let
    through, for its decoder to judge.

    Raises:
        TooLarge: it has.
    """
    for sign, counting in _COUNTING.items():
        if body.count(sign) <= most:
            continue
        try:
            found = counting.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        split = found.dataframe_split
        lists = (found.rows, found.instances, found.inputs, found.dataframe_records, split.data if split else ())
        rows = max(map(len, lists))
        if rows > most:
            raise too_many(rows, most)


class _Object(msgspec.Struct, gc=False):
    pass


class _List(msgspec.Struct, array_like=True, gc=False):
    pass


def _counting(row: type[Any]) -> msgspec.json.Decoder[Any]:
    # A dialect may give other things the name of another's rows (columns, tensors): those are not counted.
    rows = list[row] | dict[str, msgspec.Raw]
    split = msgspec.defstruct("Split", [("data", list[row], msgspec.field(default_factory=list))])
    names = ("rows", "instances", "inputs", "dataframe_records")
    fields: list[Any] = [(name, rows, msgspec.field(default_factory=list)) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Counted", [*fields, ("dataframe_split", split | None, None)]))


_COUNTING = {b"{": _counting(_Object), b"[": _counting(_List)}
