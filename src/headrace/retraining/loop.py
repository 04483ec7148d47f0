"""One turn of the loop for every model: ingest, close windows, heed alarms, follow runs, advance rollouts.

The worker that has the duty calls `turn` again and again. Every decision is made from what stands in the database,
so a turn that was killed is simply made again by the next.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import msgspec
import polars as pl
import sqlalchemy as sa

from headrace.batch.schedules import Schedules
from headrace.delivery.deployments import Deployments
from headrace.kernel import tables
from headrace.kernel.callers import ConsumerTraffic
from headrace.kernel.clock import Clock, from_text, parse_duration
from headrace.kernel.database import Database
from headrace.kernel.errors import HeadraceError, NotFound, StorageUnavailable
from headrace.kernel.identifiers import new_id
from headrace.kernel.places import Places
from headrace.kernel.records import Alarm, Run, Version
from headrace.kernel.schema import Schema
from headrace.monitoring.predictions import Tables
from headrace.monitoring.reference import MonitorReference
from headrace.monitoring.windows import Watched, Windows
from headrace.notices.receivers import receivers
from headrace.registry.promotion import POLICY, Promotions
from headrace.registry.versions import Versions
from headrace.retraining.policy import due, proof_due, rollout_settings, schedules, slow_seconds
from headrace.retraining.telling import STALE, Teller
from headrace.rollout.rollouts import Rollouts
from headrace.runtimes.bundle import MONITOR
from headrace.training.policies import kept_policy
from headrace.training.project import ModelSection, Policy
from headrace.training.proofs import Proofs
from headrace.training.runs import Runs
from headrace.training.tested import Tested
from headrace.training.version_diff import packages_changed

GRACE = timedelta(seconds=5)
LOOK = "data: looked at every"
FOLLOWED = 5
TRAFFIC_EVERY = timedelta(minutes=10)
AGAIN = timedelta(minutes=5)
"""After this time a job is tried again that could not begin because its source or destination could not be reached."""


class Start(Protocol):
    """Starts a durable run of a model for a reason."""

    def __call__(self, model: str, reason: str, who: str, run: str, only_if_changed: bool = False) -> str: ...


class Prove(Protocol):
    """Starts the proof of a version for a reason."""

    def __call__(self, version: Version, reason: str, who: str) -> str: ...


class Deploy(Protocol):
    """Starts putting a version on targets for a reason."""

    def __call__(self, version: Version, targets: list[str], who: str, reason: str, run: str) -> str: ...


class Rooms(NamedTuple):
    """What the loop works with; `tend` looks after the servers that were deployed on this machine."""

    places: Places
    database: Database
    versions: Versions
    promotions: Promotions
    predictions: Tables
    windows: Windows
    rollouts: Rollouts
    runs: Runs
    start: Start
    prove: Prove
    teller: Teller
    traffic: Callable[[], list[ConsumerTraffic]]
    proofs: Proofs
    schedules: Schedules
    deployments: Deployments
    deploy: Deploy
    tend: Callable[[], int]
    tested: Tested


class Loop:
    """The loop of one worker; the marks of time it keeps are only a cache of what the tables say."""

    def __init__(self, rooms: Rooms, clock: Clock) -> None:
        self._rooms = rooms
        self._clock = clock
        self._watermarks: dict[str, datetime] = {}
        self._begins: dict[str, datetime] = {}
        self._lags: dict[str, timedelta] = {}
        self._recalled: set[str] = set()
        self._references: dict[str, tuple[MonitorReference, Any]] = {}
        self._cron: dict[str, datetime] = {}
        self._held_up: dict[tuple[str, str], datetime] = {}
        self._looked: dict[str, datetime] = {}
        self._traffic_at: datetime | None = None
        self._compared: set[str] = set()
        self._deployed: set[str] = set()

    def turn(self) -> None:
        """Make one turn."""
        self._rooms.promotions.publish()
        self._rooms.tend()
        fresh = self._rooms.predictions.ingest()
        self._mark(fresh)
        failed: Exception | None = None
        policies: dict[str, Policy] = {}
        for model in self._rooms.versions.models():
            try:
                policy = kept_policy(self._rooms.database, model)
                if policy is not None:
                    policies[model] = policy
                    self._turn_model(model, policy)
            except Exception as error:
                failed = error
        self._follow_traffic(policies)
        if failed is not None:
            raise failed

    def _turn_model(self, model: str, policy: Policy) -> None:
        section = policy.settings
        watched = self._watched(model, section)
        if watched is not None:
            self._close(watched)
            for alarm in self._rooms.windows.unhandled(model):
                self._rooms.teller.alarm(alarm, section.owners)
                self._heed(alarm, section)
            self._follow_rollout(model, section)
        self._on_schedule(model, section)
        self._begin_jobs(model, section)
        self._deploy_live(model, section)
        self._follow_runs(model, section)

    def _mark(self, fresh: pl.DataFrame) -> None:
        """Move each model's watermark to the median moment of the newest batch: one stray moment moves nothing.

        Where a model has a time column, rows that were sent without it have only their arrival, and move nothing.
        """
        for part in fresh.partition_by("model"):
            model = part["model"][0]
            if self._rooms.versions.get(model).schema.having("time"):
                part = part.filter(pl.col("moment") != pl.col("time"))
            median = part["moment"].median()
            if not isinstance(median, datetime):
                continue
            self._watermarks[model] = max(self._watermarks.get(model, median), median)
            self._begins.setdefault(model, part["moment"].min())  # type: ignore[arg-type]
            self._lags[model] = abs(part["time"].max() - median)  # type: ignore[operator]

    def _close(self, watched: Watched) -> None:
        model = watched.model
        length = parse_duration(watched.references[watched.live.number].window)
        if model not in self._recalled:
            self._recall(model)
            self._recalled.add(model)
        watermark = self._watermarks.get(model)
        if watermark is None:
            return
        if self._lags.get(model, timedelta.max) < length:
            watermark = max(watermark, self._clock().replace(tzinfo=None) - GRACE)
        begin = self._begins.get(model, watermark - length)
        self._rooms.windows.close_through(watched, watermark, begin)

    def _recall(self, model: str) -> None:
        """The marks of time as the tables say, for a worker that has just begun."""
        newest = self._rooms.windows.list(model, limit=1)
        since = from_text(newest[-1].end).replace(tzinfo=None) if newest else datetime.min  # noqa: DTZ901
        waiting = self._rooms.predictions.predictions(model, since, datetime.max)  # noqa: DTZ901
        if waiting.height:
            self._mark(waiting.filter(pl.col("date") == pl.col("date").max()))
            self._begins[model] = waiting["moment"].min()  # type: ignore[assignment]

    def _watched(self, model: str, section: ModelSection) -> Watched | None:
        versions = {v.number: v for v in self._rooms.versions.list(model)}
        live = next((v for v in versions.values() if "live" in v.aliases), None)
        rollout = self._rooms.rollouts.running(model)
        wanted = [live, versions.get(rollout.candidate) if rollout else None, *self._recent(versions)]
        loaded = {v.number: found for v in wanted if v is not None and (found := self._reference(v)) is not None}
        if live is None or live.number not in loaded:
            return None
        return Watched(
            model=model,
            live=live,
            references={n: found[0] for n, found in loaded.items()},
            schemas={n: _seen(found[1], section) for n, found in loaded.items()},
            segments=section.monitor.segment,
            outcomes_within=parse_duration(section.monitor.outcomes_within),
            harm_run_length=section.monitor.harm_run_length,
            drift_run_length=section.monitor.drift_run_length,
            slow=slow_seconds(section),
        )

    def _recent(self, versions: dict[int, Version]) -> list[Version]:
        """The versions whose answers may still be waiting for their outcomes: the last three."""
        return [versions[number] for number in sorted(versions)[-3:]]

    def _reference(self, version: Version) -> tuple[MonitorReference, Any] | None:
        if version.digest not in self._references:
            path = self._rooms.places.objects.need(self._rooms.places.bundles / version.digest) / MONITOR
            if not path.exists():
                return None
            reference = msgspec.json.decode(path.read_bytes(), type=MonitorReference)
            self._references[version.digest] = (reference, version.schema)
        return self._references[version.digest]

    def _heed(self, alarm: Alarm, section: ModelSection) -> None:
        """Do about an alarm what the policy says: retrain, or only let it be seen."""
        if alarm.kind not in section.retrain.on or alarm.kind == "data":
            self._rooms.windows.handle(alarm, "shown; the policy does not retrain on it")
            return
        busy = self._busy(alarm.model)
        if busy:
            self._rooms.windows.handle(alarm, f"shown; {busy}")
            return
        run = f"{alarm.id}-retrain"
        self._rooms.start(
            alarm.model, f"alarm {alarm.kind} in the window of {alarm.window[:10]}: {alarm.text}", POLICY, run
        )
        self._rooms.windows.handle(alarm, f"run {run}")

    def _busy(self, model: str) -> str:
        unfinished = [run for run in self._rooms.runs.unfinished() if run.kind not in ("prove", "deploy")]
        if any(run.model == model and run.created_by == POLICY for run in unfinished):
            return "a retraining is under way"
        return "a rollout is under way" if self._rooms.rollouts.running(model) else ""

    def _on_schedule(self, model: str, section: ModelSection) -> None:
        now = self._clock()
        last = self._cron.setdefault(model, now)
        line = due(section, last, now)
        if line is not None and not self._busy(model):
            self._rooms.start(model, f"schedule {line}", POLICY, new_id())
        if "data" in section.retrain.on and self._look_due(model, section, now) and not self._busy(model):
            self._rooms.start(model, f"{LOOK} {section.retrain.every}", POLICY, new_id(), True)
        live = self._live(model) if proof_due(section, last, now) else None
        if live is not None:
            version = self._rooms.versions.get(f"{model}@{live}")
            self._rooms.prove(version, f"schedule {section.prove}", POLICY)
        self._cron[model] = now

    def _deploy_live(self, model: str, section: ModelSection) -> None:
        """Put what became live on the targets of the policy: one run for each move of the alias."""
        if "promoted" not in section.deploy.on or not section.deploy.targets:
            return
        move = next(iter(self._rooms.promotions.history(model)), None)
        if move is None or move.id in self._deployed:
            return
        run = f"{move.id}-deploy"
        if not self._rooms.runs.known(run):
            standing = {one.target: one.version for one in self._rooms.deployments.current(model)}
            targets = [one for one in section.deploy.targets if standing.get(one) != move.number]
            version = self._rooms.versions.get(f"{model}@{move.number}")
            if targets:
                self._rooms.deploy(version, targets, POLICY, f"{version.reference} became live: {move.why}", run)
        self._deployed.add(move.id)

    def _begin_jobs(self, model: str, section: ModelSection) -> None:
        """Begin the batch jobs that are due."""
        live = self._live(model) if section.schedules else None
        for schedule in schedules(model, section) if live is not None else ():
            if self._clock() < self._held_up.get((model, schedule.name), self._clock()):
                continue
            try:
                version = self._rooms.versions.get(f"{model}@{live}")
                self._rooms.schedules.turn(schedule, version, POLICY)
            except HeadraceError as error:
                if isinstance(error, StorageUnavailable):
                    self._held_up[model, schedule.name] = self._clock() + AGAIN
                self._rooms.teller.not_begun(schedule, error, section.owners, self._clock())

    def _look_due(self, model: str, section: ModelSection, now: datetime) -> bool:
        """Whether it is time to see if the dataset changed."""
        if model not in self._looked:
            before = [run.created for run in self._rooms.runs.list(model, limit=1, reason=LOOK)]
            self._looked[model] = before[0] if before else now
        if now - self._looked[model] < parse_duration(section.retrain.every):
            return False
        self._looked[model] = now
        return True

    def _follow_runs(self, model: str, section: ModelSection) -> None:
        """What became of the policy's own runs: a version that passed its gate is rolled out, any other is left."""
        for run in self._rooms.runs.list(model, limit=FOLLOWED):
            if run.created_by == POLICY:
                self._rooms.teller.failed(run, section.owners, self._clock())
                if run.kind == "prove" and run.status == "done":
                    self._rooms.teller.unproved(self._rooms.proofs.get(run.id), section.owners, self._clock())
        for run in self._rooms.runs.list(model, limit=FOLLOWED, made=True):
            if run.created_by != POLICY or run.status != "done" or run.version is None:
                continue
            version = self._rooms.versions.get(f"{model}@{run.version}")
            if self._untried(version, run):
                self._roll_out(version, run, section)
            self._compare(version, section)

    def _compare(self, version: Version, section: ModelSection) -> None:
        """Tell of packages that are others than those of the version before, once."""
        fresh = self._clock() - version.created <= STALE
        if version.reference in self._compared or not fresh or not receivers(section.owners.accuracy):
            return
        earlier = self._rooms.versions.list(version.name, limit=1, before=version.number)
        if earlier:
            folders = [self._rooms.versions.folder(one) for one in (earlier[0], version)]
            self._rooms.teller.packages(version, earlier[0], packages_changed(*folders), section.owners)
        self._compared.add(version.reference)

    def _untried(self, version: Version, run: Run) -> bool:
        gate_passed = version.gate is None or version.gate.passed
        certified = version.certificate is not None and version.certificate.passed
        if not gate_passed or not certified or "live" in version.aliases:
            return False
        at = tables.rollouts.c
        with self._rooms.database.read() as connection:
            query = sa.select(at.id).where(at.model == version.name, at.candidate == version.number)
            return connection.execute(query).first() is None

    def _roll_out(self, version: Version, run: Run, section: ModelSection) -> None:
        if section.require_approval:
            approval = self._rooms.promotions.approvals.ask(version, POLICY, run.reason)
            if not approval.approved_by:
                self._rooms.teller.waiting(approval, section.owners)
                return
        live = self._live(version.name)
        if live is None or live > version.number or self._rooms.rollouts.running(version.name):
            return
        newest = self._rooms.windows.list(version.name, limit=1)
        after = newest[-1].start if newest else ""
        self._rooms.rollouts.begin(version.name, version.number, rollout_settings(section), run.reason, after)

    def _live(self, model: str) -> int | None:
        try:
            version = self._rooms.versions.get(model)
        except NotFound:
            return None
        return version.number if "live" in version.aliases else None

    def _follow_rollout(self, model: str, section: ModelSection) -> None:
        rollout = self._rooms.rollouts.running(model)
        if rollout is not None:
            windows = self._rooms.windows.list(model, rollout.candidate)
            self._rooms.rollouts.advance(rollout, windows, rollout_settings(section))
        for ended in self._rooms.rollouts.list(model, limit=1):
            self._rooms.teller.rollout(ended, section.owners, self._clock())

    def _follow_traffic(self, policies: dict[str, Policy]) -> None:
        """Tell whose latency objective is not kept."""
        now = self._clock()
        if self._traffic_at is not None and now - self._traffic_at < TRAFFIC_EVERY:
            return
        self._traffic_at = now
        if any(policy.settings.owners.speed for policy in policies.values()):
            for traffic in self._rooms.traffic():
                if traffic.model in policies:
                    self._rooms.teller.slow(traffic, policies[traffic.model].settings.owners, now)


def _seen(schema: Schema, section: ModelSection) -> Schema:
    """The columns whose values are written down: what is masked or hashed is not watched."""
    hidden = {*section.capture.mask, *section.capture.hash}
    return msgspec.structs.replace(schema, columns=tuple(c for c in schema.columns if c.name not in hidden))
