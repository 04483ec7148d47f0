"""The route document, derived from the database and published as a file that scoring processes poll."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from headrace.kernel import tables
from headrace.kernel.database import Database
from headrace.kernel.errors import StorageUnavailable
from headrace.kernel.places import Places
from headrace.kernel.routes import Arm, Endpoint, Key, RouteDocument, Rule


def advance_generation(connection: sa.Connection) -> int:
    """Count one change of the routes, within its transaction."""
    at = tables.generation.c
    changed = connection.execute(tables.generation.update().where(at.id == 1).values(number=at.number + 1))
    if not changed.rowcount:
        connection.execute(tables.generation.insert().values(id=1, number=1))
    return connection.execute(sa.select(at.number)).scalar_one()


def derive(database: Database) -> RouteDocument:
    """What the document must be now."""
    with database.read() as connection:
        generation = connection.execute(sa.select(tables.generation.c.number)).scalar() or 0
        digests: dict[str, dict[int, str]] = {}
        at = tables.versions.c
        for row in connection.execute(sa.select(at.model, at.number, at.digest).order_by(at.model, at.number)):
            digests.setdefault(row.model, {})[row.number] = row.digest
        live = connection.execute(sa.select(tables.aliases).where(tables.aliases.c.alias == "live")).all()
        splits = {row.model: row for row in connection.execute(sa.select(tables.routes))}
        rules = {row.name: served(row.policy) for row in connection.execute(sa.select(tables.models))}
        keys = connection.execute(sa.select(tables.keys).where(tables.keys.c.revoked == "").order_by(tables.keys.c.id))
        allowed = {row.hash: Key(row.id, row.consumer, tuple(row.scopes), row.p99, row.quota) for row in keys}
    endpoints = {}
    for row in live:
        arms = digests[row.model]
        split = splits.get(row.model)
        canary = Arm(split.canary, arms[split.canary]) if split and split.canary else None
        endpoints[row.model] = Endpoint(
            Arm(row.number, arms[row.number]), canary, split.share if canary else 0.0, bool(canary and split.paired)
        )
    unusual = {model: rule for model, rule in rules.items() if rule != Rule()}
    return RouteDocument(generation, endpoints, digests, unusual, allowed)


def served(policy: dict[str, Any] | None) -> Rule:
    """What a model's policy says of serving it."""
    settings = (policy or {}).get("settings", {})
    capture = settings.get("capture", {})
    return Rule(settings.get("answer", "prediction"), tuple(capture.get("mask", ())), tuple(capture.get("hash", ())))


def publish(database: Database, places: Places) -> int:
    """Write the document if the one that stands is of another generation or content; gives the generation.

    Raises:
        StorageUnavailable: it cannot be written; what stood there stays.
    """
    path, objects = places.routes, places.objects
    with database.locked(path.with_suffix(".lock")):
        document = derive(database)
        content = msgspec.json.encode(document)
        try:
            objects.latest(path)
            if not path.exists() or path.read_bytes() != content:
                objects.put(path, content)
        except (OSError, StorageUnavailable) as error:
            raise StorageUnavailable(
                f"The route document could not be written: {error}",
                todo="See that the disk has room and may be written; it is published again by itself.",
            ) from error
    return document.generation
