"""The record of deployments: what was put on which target by whom, and what came of it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from headrace.audit.log import AuditLog
from headrace.delivery.targets.target import Deployable, Rendered
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database, add_if_absent
from headrace.kernel.places import Places
from headrace.kernel.records import Record

Status = Literal["running", "deployed", "failed"]


class Deployment(Record, frozen=True, kw_only=True):
    """A version that was put on a target. `text` is what came of it; `folder` is where its files were written."""

    id: str
    model: str
    version: int
    target: str
    kind: str
    status: Status
    image: str
    folder: str
    who: str
    why: str
    created: datetime
    ended: datetime | None = None
    text: str = ""

    @property
    def reference(self) -> str:
        """The version as people write it."""
        return f"{self.model}@{self.version}"


class Deployments:
    """The deployments of a workspace."""

    def __init__(self, places: Places, database: Database, audit: AuditLog, clock: Clock) -> None:
        self._places = places
        self._database = database
        self._audit = audit
        self._clock = clock

    @contextmanager
    def alone(self, model: str, target: str) -> Generator[None, None, None]:
        """Nobody else puts a version of the model on the target within the block."""
        with self._database.locked(self._places.root / "deployments" / f"{model}.{target}.lock"):
            yield

    def begin(self, identity: str, it: Deployable, kind: str, rendered: Rendered, who: str, why: str) -> None:
        """Enter a deployment that begins; one of this identity that was interrupted begins anew."""
        row = {
            "id": identity,
            "model": it.model,
            "number": it.version,
            "target": it.target,
            "kind": kind,
            "status": "running",
            "image": it.image,
            "folder": it.folder,
            "rendered": msgspec.to_builtins(rendered),
            "who": who,
            "why": why,
            "created": to_text(self._clock()),
            "ended": "",
            "text": "",
        }
        at = tables.deployments.c
        open_ends = (at.model == it.model) & (at.target == it.target) & (at.status == "running") & (at.id != identity)
        interrupted = {"status": "failed", "ended": to_text(self._clock()), "text": "interrupted"}
        with self._database.write() as connection:
            connection.execute(tables.deployments.update().where(open_ends).values(interrupted))
            if not add_if_absent(connection, tables.deployments, row):
                connection.execute(tables.deployments.update().where(at.id == identity).values(row))

    def restate(self, identity: str, rendered: Rendered) -> None:
        """Note that what stands somewhere was brought up to date since."""
        here = tables.deployments.c.id == identity
        with self._database.write() as connection:
            connection.execute(tables.deployments.update().where(here).values(rendered=msgspec.to_builtins(rendered)))

    def end(self, identity: str, status: Status, text: str, facts: dict[str, Any]) -> Deployment:
        """Mark a deployment as ended, with an entry in the audit log."""
        here = tables.deployments.c.id == identity
        values = {"status": status, "ended": to_text(self._clock()), "text": text}
        with self._audit.change() as change:
            change.connection.execute(tables.deployments.update().where(here).values(values))
            row = change.connection.execute(sa.select(tables.deployments).where(here)).one()
            entry = {"target": row.target, "kind": row.kind, "image": row.image, "why": row.why, "text": text, **facts}
            action = "deploy" if status == "deployed" else "deployment failed"
            change.entry(row.who, action, f"{row.model}@{row.number}", **entry)
        return _deployment(row)

    def standing(self, model: str, target: str) -> tuple[Deployment, Rendered] | None:
        """What stands on a target: the last that succeeded, with what it consisted of."""
        at = tables.deployments.c
        here = (at.model == model) & (at.target == target) & (at.status == "deployed")
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.deployments).where(here).order_by(at.id.desc()).limit(1)).first()
        return None if row is None else (_deployment(row), msgspec.convert(row.rendered, Rendered))

    def list(self, model: str | None = None, limit: int = 50) -> list[Deployment]:
        """The newest first."""
        at = tables.deployments.c
        query = sa.select(tables.deployments).order_by(at.id.desc()).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query.where(at.model == model) if model else query).all()
        return [_deployment(row) for row in rows]

    def current(self, model: str) -> list[Deployment]:
        """What stands on each target of a model."""
        return self._newest(tables.deployments.c.model == model)

    def of_kind(self, kind: str) -> list[Deployment]:
        """What stands on all targets of a kind."""
        return self._newest(tables.deployments.c.kind == kind)

    def _newest(self, which: Any) -> list[Deployment]:
        at = tables.deployments.c
        newest = sa.select(sa.func.max(at.id)).where(which, at.status == "deployed").group_by(at.model, at.target)
        query = sa.select(tables.deployments).where(at.id.in_(newest)).order_by(at.model, at.target)
        with self._database.read() as connection:
            return [_deployment(row) for row in connection.execute(query).all()]

    def count(self, model: str, target: str) -> int:
        """How many deployments there were."""
        at = tables.deployments.c
        query = sa.select(sa.func.count()).where(at.model == model, at.target == target)
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()


def _deployment(row: Any) -> Deployment:
    return Deployment(
        id=row.id,
        model=row.model,
        version=row.number,
        target=row.target,
        kind=row.kind,
        status=row.status,
        image=row.image,
        folder=row.folder,
        who=row.who,
        why=row.why,
        created=from_text(row.created),
        ended=from_text(row.ended) if row.ended else None,
        text=row.text,
    )
