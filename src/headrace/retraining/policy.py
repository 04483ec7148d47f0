"""From the project file to the figures that the monitor and the rollout work with; and when a run is due."""

from __future__ import annotations

from datetime import datetime

from croniter import croniter

from headrace.batch.job import Options
from headrace.batch.schedules import Schedule
from headrace.kernel.clock import parse_duration
from headrace.rollout.settings import Settings
from headrace.training.project import ModelSection


def rollout_settings(section: ModelSection) -> Settings:
    """The rollout's policy of a model."""
    rollout = section.rollout
    return Settings(
        steps=tuple(sorted(rollout.steps)),
        windows=rollout.windows,
        errors=rollout.guard.errors,
        slow=rollout.guard.p99_latency is not None,
        margin=rollout.guard.harm,
    )


def schedules(model: str, section: ModelSection) -> list[Schedule]:
    """The schedules of a model's batch jobs."""
    return [
        Schedule(
            model=model,
            name=one.name,
            cron=one.cron,
            source=one.source,
            destination=one.destination,
            new=one.new,
            options=Options(
                keep=one.keep,
                rejects=one.max_rejects,
                sql=one.sql,
                append=one.append,
                overwrite=one.overwrite,
                capture=one.capture,
                engine=one.engine,
                tell=one.tell,
                report=one.report,
                schedule=one.name,
            ),
        )
        for one in section.schedules
    ]


def slow_seconds(section: ModelSection) -> float | None:
    """The latency above which an answer counts as slow."""
    limit = section.rollout.guard.p99_latency
    return parse_duration(limit).total_seconds() if limit else None


def due(section: ModelSection, last: datetime, now: datetime) -> str | None:
    """The cron line, if one of the model's has a moment after `last` and up to `now`."""
    lines = [trigger for trigger in section.retrain.on if len(trigger.split()) == 5]
    return next((line for line in lines if _passed(line, last, now)), None)


def proof_due(section: ModelSection, last: datetime, now: datetime) -> bool:
    """Whether the live version is to be proved now: its cron line has a moment after `last` and up to `now`."""
    return bool(section.prove) and _passed(section.prove, last, now)


def _passed(line: str, last: datetime, now: datetime) -> bool:
    return croniter(line, last).get_next(datetime) <= now
