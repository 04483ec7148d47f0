"""Finding versions among thousands: by words, by metrics, by alias, newest first."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa

from headrace.kernel import tables
from headrace.kernel.database import Database
from headrace.kernel.errors import InvalidInput
from headrace.kernel.records import Hit, Version

_CONDITION = re.compile(r"\s*([A-Za-z_][\w]*)\s*(<=|>=|<|>|=)\s*(-?[0-9.]+(?:e-?[0-9]+)?)\s*\Z")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}


def words_of(version: Version, params: dict[str, Any]) -> str:
    """What a version is found by: its name, digest, maker, lineage, runtime and parameters."""
    lineage = version.lineage
    facts = (version.reference, version.digest, version.created_by, version.task, version.runtime)
    origin = (lineage.run, lineage.snapshot, lineage.dataset, lineage.code, lineage.commit, lineage.project)
    return " ".join([*facts, *origin, *(f"{name}={value}" for name, value in params.items())]).lower()


def search_versions(
    database: Database, words: str = "", model: str | None = None, where: Iterable[str] = (), limit: int = 50
) -> list[Hit]:
    """The newest versions of which every word is known and every condition holds.

    Args:
        words: parts of names, digests, runs, snapshots, commits, parameters (``depth=3``), people.
        where: conditions on metrics, such as ``roc_auc>0.7``.

    Raises:
        InvalidInput: a condition cannot be read.
    """
    at = tables.versions.c
    query = sa.select(at.model, at.number, at.digest, at.run, at.created, at.gate_passed)
    if model is not None:
        query = query.where(at.model == model)
    for word in words.lower().split():
        query = query.where(at.words.contains(word, autoescape=True))
    for condition in where:
        query = query.where(_holds(condition))
    query = query.order_by(at.created.desc(), at.number.desc()).limit(limit)
    with database.read() as connection:
        rows = connection.execute(query).all()
        metrics = _metrics(connection, rows)
        aliases = _aliases(connection, rows)
    return [
        Hit(
            version=f"{row.model}@{row.number}",
            digest=row.digest,
            run=row.run,
            created=row.created,
            gate=row.gate_passed,
            aliases=tuple(aliases.get((row.model, row.number), ())),
            metrics=metrics.get((row.model, row.number), {}),
        )
        for row in rows
    ]


def _holds(condition: str) -> sa.ColumnElement[bool]:
    found = _CONDITION.match(condition)
    if found is None:
        raise InvalidInput(
            f"{condition!r} is no condition.",
            expected="a metric, one of < <= > >= =, and a number, such as roc_auc>0.7",
            todo="Write it so.",
        )
    metric, compare, number = found.groups()
    at, its = tables.versions.c, tables.version_metrics.c
    inner = sa.select(its.number).where(its.model == at.model, its.number == at.number, its.metric == metric)
    return sa.exists(inner.where(_COMPARE[compare](its.value, float(number))))


def _metrics(connection: sa.Connection, rows: Any) -> dict[tuple[str, int], dict[str, float]]:
    its = tables.version_metrics.c
    found: dict[tuple[str, int], dict[str, float]] = {}
    wanted = sa.select(tables.version_metrics).where(_any_of(its, rows))
    for row in connection.execute(wanted):
        found.setdefault((row.model, row.number), {})[row.metric] = row.value
    return found


def _aliases(connection: sa.Connection, rows: Any) -> dict[tuple[str, int], list[str]]:
    its = tables.aliases.c
    found: dict[tuple[str, int], list[str]] = {}
    for row in connection.execute(sa.select(tables.aliases).where(_any_of(its, rows)).order_by(its.alias)):
        found.setdefault((row.model, row.number), []).append(row.alias)
    return found


def _any_of(columns: Any, rows: Any) -> sa.ColumnElement[bool]:
    return sa.tuple_(columns.model, columns.number).in_([(row.model, row.number) for row in rows])
