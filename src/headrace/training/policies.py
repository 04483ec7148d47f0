"""The policy of each model, as the project that ran last gave it."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from headrace.kernel import tables
from headrace.kernel.database import Database
from headrace.training.project import Policy


def kept_policy(database: Database, model: str) -> Policy | None:
    """The policy of a model; None where no project made it."""
    with database.read() as connection:
        stored = connection.execute(sa.select(tables.models.c.policy).where(tables.models.c.name == model)).scalar()
    return msgspec.convert(stored, Policy) if stored else None
