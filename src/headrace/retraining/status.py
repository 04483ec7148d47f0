"""The loop as it stands, for one model: what is live, what it answered, what was seen, what is moving."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.kernel.records import Version
from headrace.retraining.loop import Rooms


def loop_status(rooms: Rooms, model: str) -> dict[str, Any]:
    """The status of one model.

    Raises:
        NotFound: there is no such model.
    """
    newest = rooms.versions.get(model)
    live = newest if "live" in newest.aliases else None
    windows = rooms.windows.list(model)
    rollout = next(iter(rooms.rollouts.list(model, limit=1)), None)
    unfinished = [run for run in rooms.runs.unfinished() if run.model == model]
    last = windows[-1] if windows else None
    return {
        "model": model,
        "live": None if live is None else _version(live),
        "versions": len(rooms.versions.list(model)),
        "windows": len({window.start for window in windows}),
        "last_window": msgspec.to_builtins(last) if last else None,
        "answers": sum(window.answers for window in windows),
        "alarms": [msgspec.to_builtins(alarm) for alarm in rooms.windows.alarms(model, limit=10)],
        "rollout": msgspec.to_builtins(rollout) if rollout else None,
        "deployed": [msgspec.to_builtins(one) for one in rooms.deployments.current(model)],
        "runs": [{"id": run.id, "kind": run.kind, "status": run.status, "reason": run.reason} for run in unfinished],
    }


def loop_progress(rooms: Rooms, model: str) -> dict[str, Any]:
    """How far the loop is: the end of the last closed window, alarms so far, runs and rollout under way.

    An alarm that no turn has looked at yet counts as a run under way, because it may start one.
    """
    last = rooms.windows.list(model, limit=1)
    rollout = rooms.rollouts.running(model)
    unfinished = [run.id for run in rooms.runs.unfinished() if run.model == model]
    return {
        "closed": last[-1].end if last else None,
        "runs": unfinished + [alarm.id for alarm in rooms.windows.unhandled(model)],
        "rollout": None if rollout is None else {"candidate": rollout.candidate, "share": rollout.share},
    }


def _version(version: Version) -> dict[str, Any]:
    return {
        "version": version.reference,
        "digest": version.digest,
        "runtime": version.runtime,
        "created": version.created,
        "metrics": {name: msgspec.to_builtins(metric) for name, metric in version.metrics.items()},
    }
