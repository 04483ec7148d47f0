"""What the owners of a model are told: alarms, rollouts that ended, runs that failed, approvals that wait.

Accuracy and stability have one owner, speed and interfaces another; a rollout is judged on both, so both hear of it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from headrace.batch.schedules import Schedule
from headrace.kernel.callers import ConsumerTraffic
from headrace.kernel.errors import HeadraceError
from headrace.kernel.records import Alarm, Approval, Proof, Rollout, Run, Version
from headrace.notices.outbox import Outbox
from headrace.training.project import OwnersSection

STALE = timedelta(days=1)
"""What ended longer ago is told to nobody: a worker that begins on an old workspace finds much that did."""
FEWEST = 1000
"""Requests within a day from which on a latency objective is judged."""
PROMISED = 0.99


class Teller:
    """Writes notices to the owners of models.

    Args:
        console: the address of the console, for links; empty for none.
    """

    def __init__(self, outbox: Outbox, console: str) -> None:
        self._outbox = outbox
        self._console = console.rstrip("/")

    def alarm(self, alarm: Alarm, owners: OwnersSection) -> None:
        """An alarm of data, drift or harm."""
        subject = f"{alarm.model}: alarm of {alarm.kind}"
        text = f"{alarm.text}\n\nIn the window of {alarm.window[:16]}, version {alarm.number}."
        document = {"type": f"alarm.{alarm.kind}", "model": alarm.model, "version": alarm.number, "text": alarm.text}
        self._tell(alarm.id, alarm.model, (owners.accuracy,), subject, text, {**document, "window": alarm.window})

    def rollout(self, rollout: Rollout, owners: OwnersSection, now: datetime) -> None:
        """A rollout that ended by its evidence."""
        if rollout.status not in ("done", "rolled_back") or rollout.ended is None or now - rollout.ended > STALE:
            return
        name = f"{rollout.model}@{rollout.candidate}"
        live = rollout.status == "done"
        why = str(rollout.history[-1].get("why", "")) if rollout.history else ""
        subject = f"{name} is live" if live else f"{name} was rolled back"
        back = "" if live else f"\n{rollout.model}@{rollout.baseline} answers everything again."
        document = {
            "type": f"rollout.{rollout.status}",
            "model": rollout.model,
            "version": rollout.candidate,
            "why": why,
        }
        both = (owners.accuracy, owners.speed)
        self._tell(rollout.id, rollout.model, both, subject, f"Because {why}.{back}", document)

    def failed(self, run: Run, owners: OwnersSection, now: datetime) -> None:
        """A run of the policy's own that failed; of one kind of failure once a day. No value of a row is told."""
        if run.status != "failed" or run.ended is None or now - run.ended > STALE:
            return
        said = run.error or {}
        kind = str(said.get("kind", "fault"))
        where = "".join(f", {name} {said[name]}" for name in ("field", "row") if said.get(name) is not None)
        text = f"The run {run.id} was started because of: {run.reason}\nIt failed: {kind}{where}.\n"
        text += f"\nheadrace runs {run.model} says all of it."
        document = {"type": "run.failed", "model": run.model, "run": run.id, "kind": run.kind, "error": kind}
        what = {"prove": "proof", "deploy": "deployment"}.get(run.kind, "retraining")
        subject = f"{run.model}: a {what} failed"
        about = f"failed {run.model} {run.kind} {kind}{where} {run.ended:%Y-%m-%d}"
        told = (owners.speed or owners.accuracy) if run.kind == "deploy" else owners.accuracy
        self._tell(about, run.model, (told,), subject, text, document)

    def not_begun(self, it: Schedule, error: HeadraceError, owners: OwnersSection, now: datetime) -> None:
        """A scheduled batch job that could not be begun; of one kind of failure once a day."""
        text = f"{it.source} was to be scored to {it.destination}, by the schedule {it.cron}.\n{error}\n"
        document = {"type": "schedule.failed", "model": it.model, "schedule": it.name, "error": error.kind}
        about = f"schedule {it.model} {it.name} {error.kind} {now:%Y-%m-%d}"
        told = (owners.accuracy, *it.options.tell)
        self._tell(about, it.model, told, f"{it.model}: the scheduled job {it.name} could not be begun", text, document)

    def unproved(self, proof: Proof, owners: OwnersSection, now: datetime) -> None:
        """A proof of the policy's own that came out otherwise."""
        if proof.passed or now - proof.made > STALE:
            return
        name = f"{proof.model}@{proof.number}"
        text = f"Made again from its records it is not the same: level {proof.level}. {proof.diverged}\n"
        document = {"type": "proof.diverged", "model": proof.model, "version": proof.number, "level": proof.level}
        subject = f"{name} could not be made again"
        self._tell(f"proof {proof.id}", proof.model, (owners.accuracy,), subject, text, document)

    def packages(self, version: Version, before: Version, changed: list[str], owners: OwnersSection) -> None:
        """A version that the policy made with other packages than the one before it."""
        if not changed:
            return
        subject = f"{version.reference} was made with other packages"
        text = f"Than {before.reference}:\n" + "\n".join(changed)
        document = {"type": "packages.changed", "model": version.name, "version": version.number, "changed": changed}
        self._tell(f"packages {version.reference}", version.name, (owners.accuracy,), subject, text, document)

    def waiting(self, approval: Approval, owners: OwnersSection) -> None:
        """A version that the policy made and that waits for a person."""
        name = f"{approval.model}@{approval.number}"
        text = f"It was made because of: {approval.why}\n\nheadrace evidence {name}\nheadrace approve {name} --why ..."
        document = {"type": "approval.asked", "model": approval.model, "version": approval.number, "why": approval.why}
        self._tell(approval.id, approval.model, (owners.accuracy,), f"{name} waits for approval", text, document)

    def slow(self, traffic: ConsumerTraffic, owners: OwnersSection, now: datetime) -> None:
        """A consumer whose latency objective was not kept within a day; told once a day."""
        kept, objective = traffic.within, traffic.objective
        if kept is None or objective is None or kept >= PROMISED or traffic.requests < FEWEST:
            return
        about = f"objective {traffic.model} {traffic.consumer} {now:%Y-%m-%d}"
        subject = f"{traffic.model} is slower than {traffic.consumer} was promised"
        text = (
            f"{100 * kept:.2f} % of {traffic.requests} requests within a day were answered within "
            f"{1000 * objective:g} ms; {100 * PROMISED:g} % were promised."
        )
        document = {"type": "objective.missed", **msgspec.to_builtins(traffic)}
        self._tell(about, traffic.model, (owners.speed,), subject, text, document)

    def _tell(
        self, about: str, model: str, owners: tuple[str, ...], subject: str, text: str, document: dict[str, Any]
    ) -> None:
        link = f"\n{self._console}/models/{model}" if self._console else f"\nheadrace status {model}"
        self._outbox.tell(about, model, owners, f"[headrace] {subject}", text + link, document)
