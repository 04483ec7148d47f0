"""Rollouts: begun, advanced by each closed window, ended by promotion or by going back. All of it recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from headrace.audit.log import AuditLog, Recorded
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import Conflict
from headrace.kernel.identifiers import new_id
from headrace.kernel.records import Rollout, Window
from headrace.registry.promotion import Promotions
from headrace.registry.versions import Versions
from headrace.rollout.evidence import Evidence, Verdict, fold, judge
from headrace.rollout.settings import Settings

WHO = "rollout"


class Rollouts:
    """The rollouts of a workspace."""

    def __init__(
        self, database: Database, audit: AuditLog, clock: Clock, versions: Versions, promotions: Promotions
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._versions = versions
        self._promotions = promotions

    def begin(self, model: str, candidate: int, settings: Settings, reason: str, after: str) -> Rollout:
        """Begin to move traffic from the live version to `candidate`.

        Args:
            after: the start of the newest window that was closed; evidence comes from later ones.

        Raises:
            Conflict: no version is live, or another rollout is running.
        """
        live = self._versions.get(model)
        if "live" not in live.aliases or self.running(model) is not None:
            raise Conflict(
                f"{model} has {'a rollout running' if 'live' in live.aliases else 'no live version'}.",
                todo=f"See 'headrace status {model}'; promote a first version with 'headrace promote'.",
            )
        share = settings.steps[0] if settings.steps[0] < 100 else 0.0
        rollout = Rollout(
            id=new_id(),
            model=model,
            candidate=candidate,
            baseline=live.number,
            status="running",
            share=share,
            reason=reason,
            started=self._clock(),
            state={"evidence": msgspec.to_builtins(Evidence(last=after))},
            history=({"time": to_text(self._clock()), "share": share, "why": reason},),
        )
        with self._audit.change() as change:
            change.connection.execute(tables.rollouts.insert().values(_row(rollout)))
            self._promotions.split(change, model, candidate, share, WHO, reason)
            change.entry(WHO, "begin rollout", f"{model}@{candidate}", baseline=live.number, why=reason)
        self._promotions.publish()
        return rollout

    def advance(self, rollout: Rollout, windows: list[Window], settings: Settings) -> Rollout:
        """Fold the candidate's new windows, one after the other, and do what the evidence says after each."""
        for window in windows:
            evidence = msgspec.convert(rollout.state["evidence"], Evidence)
            if rollout.status != "running" or window.start <= evidence.last or window.number != rollout.candidate:
                continue
            evidence = fold(evidence, window, settings.margin)
            verdict = judge(evidence, settings, rollout.share)
            rollout = self._apply(rollout, evidence, verdict, settings, window)
        return rollout

    def running(self, model: str) -> Rollout | None:
        """The rollout that is running, if there is one."""
        return next((r for r in self.list(model, limit=1) if r.status == "running"), None)

    def list(self, model: str, limit: int = 10) -> list[Rollout]:
        """The newest rollouts first."""
        at = tables.rollouts.c
        query = sa.select(tables.rollouts).where(at.model == model).order_by(at.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def _apply(
        self, rollout: Rollout, evidence: Evidence, verdict: Verdict, settings: Settings, window: Window
    ) -> Rollout:
        share, status = rollout.share, rollout.status
        if verdict.action == "advance":
            share = next(step for step in settings.steps if step > share)
        elif verdict.action == "finish":
            share, status = 100.0, "done"
        elif verdict.action == "roll back":
            share, status = 0.0, "rolled_back"
        note = {
            "time": to_text(self._clock()),
            "window": window.start,
            "share": share,
            "action": verdict.action,
            "why": verdict.why,
        }
        changed = msgspec.structs.replace(
            rollout,
            share=share,
            status=status,
            history=(*rollout.history, note),
            ended=self._clock() if status != "running" else None,
            state={"evidence": msgspec.to_builtins(evidence), "figures": verdict.figures},
        )
        with self._audit.change() as change:
            row = _row(changed)
            at = tables.rollouts.c
            running = (at.id == rollout.id) & (at.status == "running")
            if not change.connection.execute(tables.rollouts.update().where(running).values(row)).rowcount:
                return msgspec.structs.replace(rollout, status="superseded")
            if verdict.action != "hold":
                self._move(change, changed, verdict)
        if verdict.action != "hold":
            self._promotions.publish()
        return changed

    def _move(self, change: Recorded, rollout: Rollout, verdict: Verdict) -> None:
        subject = f"{rollout.model}@{rollout.candidate}"
        change.entry(
            WHO, f"rollout: {verdict.action}", subject, share=rollout.share, why=verdict.why, figures=verdict.figures
        )
        if rollout.status == "done":
            version = self._versions.get(subject)
            self._promotions.move(change, version, "live", WHO, verdict.why, {"rollout": rollout.id, **verdict.figures})
        elif rollout.status == "rolled_back":
            self._promotions.split(change, rollout.model, None, 0.0, WHO, verdict.why)
        else:
            self._promotions.split(change, rollout.model, rollout.candidate, rollout.share, WHO, verdict.why)


def _row(rollout: Rollout) -> dict[str, Any]:
    row = {name: getattr(rollout, name) for name in Rollout.__struct_fields__}
    ended = to_text(rollout.ended) if rollout.ended else None
    return {**row, "history": list(rollout.history), "started": to_text(rollout.started), "ended": ended}


def _record(row: Any) -> Rollout:
    fields = {name: getattr(row, name) for name in Rollout.__struct_fields__}
    ended = from_text(row.ended) if row.ended else None
    return Rollout(**{**fields, "history": tuple(row.history), "started": from_text(row.started), "ended": ended})
