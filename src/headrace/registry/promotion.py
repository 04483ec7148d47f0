"""Moving an alias: only to a version that passed its gate and its certificate, and never without a reason."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from headrace.audit.log import AuditLog, Recorded
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import CertificateFailed, Conflict, GateFailed, Refused
from headrace.kernel.identifiers import check_name, new_id, parse_reference
from headrace.kernel.places import Places
from headrace.kernel.records import Promotion, Version
from headrace.registry.approvals import Approvals
from headrace.registry.routing import advance_generation, publish
from headrace.registry.versions import Versions

POLICY = "policy"
"""Who asks where a worker acts by a project's policy."""


class Promotions:
    """The aliases of a workspace and their history."""

    def __init__(
        self,
        places: Places,
        database: Database,
        audit: AuditLog,
        clock: Clock,
        versions: Versions,
        approvals: Approvals,
    ) -> None:
        self.approvals = approvals
        self._places = places
        self._database = database
        self._audit = audit
        self._clock = clock
        self._versions = versions

    def promote(
        self, reference: str, alias: str, who: str, why: str, evidence: dict[str, Any] | None = None
    ) -> Version:
        """Point `alias` at a version; `live` also ends a rollout's split, and the routes are published.

        Raises:
            NotFound: there is no such version.
            GateFailed, CertificateFailed: it is not fit to serve; nothing was changed.
            Conflict: somebody else moved the alias meanwhile; nothing was changed.
            Refused: its project asks for another person's approval, which is asked for by this.
        """
        check_name(alias, "alias")
        moves = self._moves(reference, alias)
        version = self._versions.get(reference)
        _fit(version)
        evidence = {**(evidence or {}), **self._approved(version, alias, who, why)}
        with self._audit.change() as change:
            _still(change.connection, version.name, alias, moves)
            self.move(change, version, alias, who, why, evidence)
        publish(self._database, self._places)
        return self._versions.get(version.reference)

    def approve(self, reference: str, who: str, word: str) -> Version:
        """Approve a version that waits, and make it live for the one who asked; the policy's own are rolled out by it.

        Raises:
            NotFound: nobody asked.
            Refused: the one who asked may not approve.
            Conflict: it was approved, and was live, before.
        """
        version = self._versions.get(reference)
        if "live" in version.aliases:
            return version
        approval = self.approvals.approve(version, who, word)
        since = approval.approved or self._clock()
        if any(move.number == version.number and move.time >= since for move in self.history(version.name)):
            raise Conflict(
                f"{version.reference} was approved by {approval.approved_by} and was live already.",
                todo=f"Make it live again with 'headrace promote {version.reference}'.",
            )
        if approval.asked_by == POLICY:
            return version
        return self.promote(version.reference, "live", approval.asked_by, approval.why)

    def _approved(self, version: Version, alias: str, who: str, why: str) -> dict[str, Any]:
        """Whose approval a version has, where its project asks for one.

        Raises:
            Refused: nobody's yet; it was asked for.
        """
        if alias != "live" or not self.approvals.required(version.name):
            return {}
        moved_before = any(p.number == version.number for p in self.history(version.name))
        approval = self.approvals.of(version)
        if approval is not None and approval.approved_by:
            return {"approved_by": approval.approved_by, "word": approval.word}
        if moved_before:
            return {"approved_by": "it was live before"}
        approval = self.approvals.ask(version, who, why)
        raise Refused(
            f"{version.reference} waits for another person's approval, which {approval.asked_by} asked for.",
            expected=f"somebody else than {approval.asked_by} to approve it",
            todo=f"They see 'headrace evidence {version.reference}' and say 'headrace approve {version.reference}'.",
        )

    def _moves(self, reference: str, alias: str) -> int:
        """How often an alias was moved so far, by which a later move is told."""
        with self._database.read() as connection:
            return _count_moves(connection, parse_reference(reference).model, alias)

    def move(
        self, change: Recorded, version: Version, alias: str, who: str, why: str, evidence: dict[str, Any]
    ) -> None:
        """The promotion itself, within a transaction of the caller, who publishes the routes afterwards."""
        at = tables.aliases.c
        here = (at.model == version.name) & (at.alias == alias)
        previous = change.connection.execute(sa.select(at.number).where(here)).scalar()
        change.connection.execute(tables.aliases.delete().where(here))
        row = {"model": version.name, "alias": alias, "number": version.number}
        change.connection.execute(tables.aliases.insert().values(row))
        if alias == "live":
            change.connection.execute(tables.routes.delete().where(tables.routes.c.model == version.name))
            _supersede(change, version.name, to_text(self._clock()))
            advance_generation(change.connection)
        promotion = {
            **row,
            "id": new_id(),
            "previous": previous,
            "who": who,
            "why": why,
            "evidence": evidence,
            "time": to_text(self._clock()),
        }
        change.connection.execute(tables.promotions.insert().values(promotion))
        change.entry(
            who,
            "promote",
            version.reference,
            alias=alias,
            previous=previous,
            why=why,
            evidence=evidence,
            digest=version.digest,
        )

    def rollback(self, model: str, who: str, why: str) -> Version:
        """Point `live` back at the version that it named before.

        Raises:
            Conflict: there was none.
        """
        history = self.history(model)
        current = history[0].number if history else None
        previous = next(
            (p.previous for p in history if p.number == current and p.previous not in (None, current)), None
        )
        if previous is None:
            raise Conflict(
                f"{model} has no earlier live version to go back to.",
                todo=f"See its versions with 'headrace show {model}' and promote one of them.",
            )
        return self.promote(f"{model}@{previous}", "live", who, why)

    def split(self, change: Recorded, model: str, canary: int | None, share: float, who: str, why: str) -> None:
        """Send `share` percent of the traffic to `canary`, the other arm scoring in shadow; None ends the split."""
        change.connection.execute(tables.routes.delete().where(tables.routes.c.model == model))
        if canary is not None:
            row = {"model": model, "canary": canary, "share": share, "paired": True}
            change.connection.execute(tables.routes.insert().values(row))
        generation = advance_generation(change.connection)
        change.entry(who, "route", model, canary=canary, share=share, why=why, generation=generation)

    def history(self, model: str, alias: str = "live") -> list[Promotion]:
        """The moves of an alias, newest first."""
        at = tables.promotions.c
        query = sa.select(tables.promotions).where(at.model == model, at.alias == alias).order_by(at.id.desc())
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [Promotion(**{**row, "time": from_text(row["time"])}) for row in rows]

    def publish(self) -> int:
        """Write the route document again if it is not what the database says; gives its generation."""
        return publish(self._database, self._places)


def _count_moves(connection: sa.Connection, model: str, alias: str) -> int:
    at = tables.promotions.c
    return connection.execute(sa.select(sa.func.count()).where(at.model == model, at.alias == alias)).scalar_one()


def _still(connection: sa.Connection, model: str, alias: str, moves: int) -> None:
    """See that nobody moved the alias since it had been moved `moves` times.

    Raises:
        Conflict: somebody did.
    """
    if _count_moves(connection, model, alias) == moves:
        return
    at = tables.promotions.c
    query = sa.select(tables.promotions).where(at.model == model, at.alias == alias).order_by(at.id.desc()).limit(1)
    moved = connection.execute(query).one()
    raise Conflict(
        f"While this was asked for, {moved.who} made {model}@{moved.number} {alias} ({moved.why}).",
        expected="nobody else to move the alias at the same time",
        todo=f"Look at it with 'headrace show {model}', and promote again if you still want to.",
    )


def _supersede(change: Recorded, model: str, now: str) -> None:
    """End the rollouts that are running: whoever moves `live` has decided otherwise."""
    at = tables.rollouts.c
    running = (at.model == model) & (at.status == "running")
    change.connection.execute(tables.rollouts.update().where(running).values(status="superseded", ended=now))


def _fit(version: Version) -> None:
    if version.gate is not None and not version.gate.passed:
        short = "; ".join(f"{c.name}: asked {c.asked}, found {c.found}" for c in version.gate.checks if not c.passed)
        raise GateFailed(
            f"{version.reference} did not pass its gate: {short}.",
            todo="Promote another version, or change the gate in headrace.toml and run again.",
        )
    if version.certificate is None or not version.certificate.passed:
        failures = "; ".join(version.certificate.failures) if version.certificate else "there is none"
        raise CertificateFailed(
            f"The certificate of {version.reference} did not pass: {failures}.",
            todo=f"Mend what it names, then run 'headrace certify {version.reference}'.",
        )
