"""Approval: where a project asks for it, a version becomes live only by another person's word."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from headrace.audit.log import AuditLog
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import NotFound, Refused
from headrace.kernel.identifiers import new_id
from headrace.kernel.records import Approval, Version


class Approvals:
    """The requests for approval of a workspace, and who approved them."""

    def __init__(self, database: Database, audit: AuditLog, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    def required(self, model: str) -> bool:
        """Whether the model's project asks for approval."""
        query = sa.select(tables.models.c.policy).where(tables.models.c.name == model)
        with self._database.read() as connection:
            policy = connection.execute(query).scalar()
        return bool((policy or {}).get("settings", {}).get("require_approval", False))

    def of(self, version: Version) -> Approval | None:
        """The newest request about a version, approved or not."""
        at = tables.approvals.c
        return next(iter(self._load((at.model == version.name) & (at.number == version.number))), None)

    def list(self, pending: bool = False) -> list[Approval]:
        """The newest requests first; only those that wait, where `pending`."""
        return self._load(tables.approvals.c.approved_by == "" if pending else sa.true())

    def ask(self, version: Version, who: str, why: str) -> Approval:
        """Ask that a version may become live; a request that waits already stays as it is."""
        standing = self.of(version)
        if standing is not None:
            return standing
        row = {
            "id": new_id(),
            "model": version.name,
            "number": version.number,
            "asked_by": who,
            "asked": to_text(self._clock()),
            "why": why,
            "approved_by": "",
            "approved": "",
            "word": "",
        }
        with self._audit.change() as change:
            change.connection.execute(tables.approvals.insert().values(row))
            change.entry(who, "ask approval", version.reference, why=why, digest=version.digest)
        return _approval(row)

    def approve(self, version: Version, who: str, word: str) -> Approval:
        """Approve a version.

        Raises:
            NotFound: nobody asked.
            Refused: the one who asked may not approve.
        """
        standing = self.of(version)
        if standing is None:
            raise NotFound(
                f"Nobody asked that {version.reference} may become live.",
                todo=f"Ask with 'headrace promote {version.reference}'.",
            )
        if standing.asked_by == who:
            raise Refused(
                f"{who} asked for {version.reference}, and so may not approve it.",
                expected="another person",
                todo="Let somebody else look at its evidence and approve.",
            )
        if standing.approved_by:
            return standing
        at = tables.approvals.c
        values = {"approved_by": who, "approved": to_text(self._clock()), "word": word}
        with self._audit.change() as change:
            changed = change.connection.execute(
                tables.approvals.update().where(at.id == standing.id, at.approved_by == "").values(values)
            )
            if changed.rowcount:
                asked = {"asked_by": standing.asked_by, "digest": version.digest}
                change.entry(who, "approve", version.reference, why=word, **asked)
        return self.of(version) or standing

    def _load(self, where: Any) -> list[Approval]:
        at = tables.approvals.c
        query = sa.select(tables.approvals).where(where).order_by(at.id.desc()).limit(1000)
        with self._database.read() as connection:
            return [_approval(dict(row)) for row in connection.execute(query).mappings()]


def _approval(row: dict[str, Any]) -> Approval:
    approved = from_text(row["approved"]) if row["approved"] else None
    return Approval(**{**row, "asked": from_text(row["asked"]), "approved": approved})
