"""The results of projects' tests, kept with who ran them."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from headrace.audit.log import AuditLog
from headrace.kernel import tables
from headrace.kernel.database import Database
from headrace.kernel.records import ModelTests


class Tested:
    """What was tested of which version."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def add(self, it: ModelTests) -> None:
        """Keep the results of one time."""
        row = {"id": it.id, "model": it.model, "number": it.number, "passed": it.passed}
        failed = [result.name for result in it.results if not result.passed]
        with self._audit.change() as change:
            document = msgspec.json.encode(it).decode()
            change.connection.execute(tables.model_tests.insert().values(**row, document=document))
            change.entry(
                it.who, "test", f"{it.model}@{it.number}", passed=it.passed, tests=len(it.results), failed=failed
            )

    def newest(self, model: str, number: int) -> ModelTests | None:
        """The last results of a version; None where it was not tested."""
        at = tables.model_tests.c
        query = sa.select(at.document).where(at.model == model, at.number == number).order_by(at.id.desc()).limit(1)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else msgspec.json.decode(found, type=ModelTests)
