"""Holding the columns of a source against a schema before anything is scored, with a guess at renamed ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from headrace.kernel.records import Record
from headrace.kernel.schema import Schema

ALIKE = 0.6


class Matched(Record, frozen=True, kw_only=True):
    """`missing` columns must be there, `absent` ones count as null, `extra` ones are not given to the model.

    `renamed` says which extra column is probably which missing or absent one.
    """

    found: tuple[str, ...]
    missing: tuple[str, ...]
    absent: tuple[str, ...]
    extra: tuple[str, ...]
    renamed: dict[str, str]


def match(columns: Iterable[str], schema: Schema) -> Matched:
    """How the columns of a source fit to the schema."""
    there = tuple(columns)
    wanted = {column.name: column for column in schema.asked}
    extra = tuple(name for name in there if name not in wanted)
    gone = [column for column in schema.features if column.name not in there]
    return Matched(
        found=tuple(name for name in there if name in wanted),
        missing=tuple(column.name for column in gone if not column.nullable),
        absent=tuple(column.name for column in gone if column.nullable),
        extra=extra,
        renamed=_guessed([column.name for column in gone], extra),
    )


def _guessed(gone: list[str], extra: tuple[str, ...]) -> dict[str, str]:
    """The likeliest pairs, each name once."""
    pairs = sorted(((_alike(one, other), other, one) for one in gone for other in extra), reverse=True)
    renamed: dict[str, str] = {}
    for score, other, one in pairs:
        if score >= ALIKE and other not in renamed and one not in renamed.values():
            renamed[other] = one
    return renamed


def _alike(one: str, other: str) -> float:
    first, second = _plain(one), _plain(other)
    return 1.0 if first == second else difflib.SequenceMatcher(None, first, second).ratio()


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
