"""Closing windows: what was seen of each version, the detectors' next state, and the alarms that follow.

Closing is idempotent: a window's record, its detectors' state and its alarms are one transaction, and each window
starts from the state that the one before it left.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
import sqlalchemy as sa

from headrace.audit.log import AuditLog, Recorded
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database, add_if_absent
from headrace.kernel.identifiers import new_id
from headrace.kernel.records import Alarm, Version, Window
from headrace.kernel.schema import Schema
from headrace.monitoring import drift, harm, quality
from headrace.monitoring.predictions import Tables
from headrace.monitoring.reference import PREDICTION, MonitorReference, window_length

WHO = "monitor"
_TYPES = {"boolean": pl.Boolean, "integer": pl.Int64, "number": pl.Float64, "string": pl.String, "datetime": pl.String}


class Watched(msgspec.Struct, frozen=True):
    """A model as the monitor sees it: its live version, references by version, and the policy's figures."""

    model: str
    live: Version
    references: dict[int, MonitorReference]
    schemas: dict[int, Schema]
    segments: tuple[str, ...]
    outcomes_within: timedelta
    harm_run_length: float
    drift_run_length: float
    slow: float | None


class Windows:
    """The windows and alarms of a workspace."""

    def __init__(self, database: Database, audit: AuditLog, clock: Clock, predictions: Tables) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._tables = predictions

    def close_through(self, watched: Watched, watermark: datetime, begin: datetime) -> list[Window]:
        """Close every window of a model that ended by `watermark`; `begin` is where the first one starts.

        Windows in which nothing happened are passed over.
        """
        length = window_length(watched.references[watched.live.number])
        start = self._next_start(watched.model, length, begin)
        closed: list[Window] = []
        while start + length <= watermark:
            found = self._close(watched, start, start + length)
            closed += found
            start = start + length if found else self._skip(watched.model, start, length, watermark)
        return closed

    def list(self, model: str, number: int | None = None, limit: int = 400) -> list[Window]:
        """The newest windows of a model, oldest first."""
        at = tables.windows.c
        query = sa.select(tables.windows).where(at.model == model).order_by(at.start.desc(), at.number).limit(limit)
        if number is not None:
            query = query.where(at.number == number)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [Window(**row) for row in reversed(rows)]

    def alarms(self, model: str, limit: int = 50) -> list[Alarm]:
        """The newest alarms of a model first."""
        at = tables.alarms.c
        query = sa.select(tables.alarms).where(at.model == model).order_by(at.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_alarm(row) for row in connection.execute(query)]

    def unhandled(self, model: str) -> list[Alarm]:
        """The alarms that no policy has looked at, oldest first."""
        at = tables.alarms.c
        query = sa.select(tables.alarms).where(at.model == model, at.handled == "").order_by(at.id)
        with self._database.read() as connection:
            return [_alarm(row) for row in connection.execute(query)]

    def handle(self, alarm: Alarm, how: str) -> None:
        """Note what was done about an alarm."""
        with self._audit.change() as change:
            change.connection.execute(tables.alarms.update().where(tables.alarms.c.id == alarm.id).values(handled=how))
            change.entry(WHO, "handle alarm", f"{alarm.model}@{alarm.number}", alarm=alarm.id, kind=alarm.kind, how=how)

    def _next_start(self, model: str, length: timedelta, begin: datetime) -> datetime:
        at = tables.windows.c
        with self._database.read() as connection:
            newest = connection.execute(sa.select(sa.func.max(at.end)).where(at.model == model)).scalar()
        return from_text(newest).replace(tzinfo=None) if newest else truncate(begin, length)

    def _skip(self, model: str, start: datetime, length: timedelta, watermark: datetime) -> datetime:
        """The start of the next window in which something happened."""
        answered = self._tables.predictions(model, start + length, watermark)["moment"].min()
        judged = self._tables.outcomes(start + length, watermark)["time"].min()
        ahead = [truncate(moment, length) for moment in (answered, judged) if isinstance(moment, datetime)]
        return max(start + length, min(ahead, default=watermark))

    def _close(self, watched: Watched, start: datetime, end: datetime) -> list[Window]:
        answers = self._tables.predictions(watched.model, start, end)
        cut = to_text(self._clock())
        before = self._newest_cut(watched.model)
        late = (from_text(before).replace(tzinfo=None), start - watched.outcomes_within) if before else None
        judged = self._judged(watched, self._tables.outcomes(start, end, late), start, end)
        numbers = sorted({*answers["version"].to_list(), *judged["version"].to_list()} & watched.references.keys())
        closed = [self._close_version(watched, n, start, end, answers, judged, cut) for n in numbers]
        self._record([(w, found if w.number == watched.live.number else []) for w, found in closed])
        return [window for window, _ in closed]

    def _newest_cut(self, model: str) -> str | None:
        """When the newest window was closed: outcomes that arrived later were not judged by it."""
        at = tables.windows.c
        query = sa.select(at.state).where(at.model == model).order_by(at.start.desc()).limit(1)
        with self._database.read() as connection:
            state = connection.execute(query).scalar()
        return state["cut"] if state else None

    def _judged(self, watched: Watched, outcomes: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
        """The predictions whose outcome came in this window, with it."""
        before = self._tables.predictions(watched.model, start - watched.outcomes_within, end)
        before = before.filter(pl.col("error") == "")
        by_id = outcomes.filter(pl.col("prediction_id").is_not_null())
        by_key = outcomes.filter(pl.col("prediction_id").is_null(), pl.col("key") != "{}")
        columns = ["id", "version", "route", "key", "prediction", "score", "outcome"]
        joined = [
            before.join(by_key.select("key", "outcome"), on="key").select(columns),
            before.join(by_id.select("prediction_id", "outcome"), left_on="id", right_on="prediction_id").select(
                columns
            ),
        ]
        return pl.concat(joined).unique(["id", "version"], keep="last", maintain_order=True)

    def _close_version(
        self,
        watched: Watched,
        number: int,
        start: datetime,
        end: datetime,
        answers: pl.DataFrame,
        judged: pl.DataFrame,
        cut: str,
    ) -> tuple[Window, list[dict[str, Any]]]:
        reference = watched.references[number]
        ours = answers.filter(pl.col("version") == number)
        served = ours.filter(pl.col("route") != "shadow")
        before = self._state(watched.model, number)
        alarms: list[dict[str, Any]] = []
        findings: dict[str, Any] = {"traffic": _traffic(ours, served, watched.slow)}
        features = _features(ours.filter(pl.col("error") == ""), watched.schemas[number])
        findings["data"] = [f._asdict() for f in quality.findings(reference.quality, watched.schemas[number], features)]
        state: dict[str, Any] = {"cut": cut}
        state["data"], found = _data_alarm(findings["data"], before.get("data", {}))
        alarms += found
        total = answers.filter(pl.col("route") != "shadow").height
        ratio, state["volume"] = quality.unusual_volume(total, before.get("volume", []))
        alarms += _volume_alarm(ratio, total)
        state["drift"], sizes = drift.step(reference.drift, features, before.get("drift", {}))
        findings["drift"] = _drift_findings(state["drift"], sizes)
        state["drifting"], found = _drift_alarm(state, findings["drift"], before, watched.drift_run_length)
        alarms += found
        state["harm"], findings["harm"] = _harm(reference, judged.filter(pl.col("version") == number), before)
        alarms += _harm_alarm(state, findings["harm"], watched.harm_run_length)
        if number != watched.live.number:
            findings["paired"] = _paired(reference, judged, number, watched.live.number)
        findings["segments"] = _segments(
            served, judged.filter(pl.col("version") == number), watched.segments, reference
        )
        window = Window(
            model=watched.model,
            number=number,
            start=to_text(start.replace(tzinfo=UTC)),
            end=to_text(end.replace(tzinfo=UTC)),
            answers=served.height,
            outcomes=findings["harm"]["outcomes"],
            findings=findings,
            state=state,
        )
        return window, alarms

    def _state(self, model: str, number: int) -> dict[str, Any]:
        at = tables.windows.c
        query = sa.select(at.state).where(at.model == model, at.number == number).order_by(at.start.desc()).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).scalar() or {}

    def _record(self, closed: list[tuple[Window, list[dict[str, Any]]]]) -> None:
        """The windows of all versions and their alarms, in one transaction; what stands already is left."""
        if not closed:
            return
        with self._audit.change() as change:
            for window, alarms in closed:
                row = msgspec.to_builtins(window)
                added = add_if_absent(change.connection, tables.windows, row)
                for alarm in alarms if added else ():
                    self._raise_alarm(change, window, alarm)

    def _raise_alarm(self, change: Recorded, window: Window, alarm: dict[str, Any]) -> None:
        place = {"model": window.model, "number": window.number, "window": window.start}
        entry = {**alarm, **place, "id": new_id(), "created": to_text(self._clock()), "handled": ""}
        change.connection.execute(tables.alarms.insert().values(entry))
        what = {"kind": alarm["kind"], "window": window.start, "text": alarm["text"], "evidence": alarm["evidence"]}
        change.entry(WHO, "alarm", f"{window.model}@{window.number}", **what)


def truncate(moment: datetime, length: timedelta) -> datetime:
    """The start of the window that holds `moment`; windows count from the epoch."""
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001 - moments are UTC without a zone
    return epoch + (moment - epoch) // length * length


def _traffic(ours: pl.DataFrame, served: pl.DataFrame, slow: float | None) -> dict[str, Any]:
    requests = served.unique("request")
    return {
        "answers": served.height,
        "shadow": ours.height - served.height,
        "requests": requests.height,
        "errors": requests.filter(pl.col("error") != "").height,
        "slow": 0 if slow is None else requests.filter(pl.col("latency") > slow).height,
        "p50": requests["latency"].quantile(0.5),
        "p99": requests["latency"].quantile(0.99),
        "canary": served.filter(pl.col("route") == "canary").height,
    }


def _features(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    types = pl.Struct({column.name: _TYPES[column.type] for column in schema.features})
    decoded = frame.select(pl.col("features").str.json_decode(types)).unnest("features")
    return decoded.with_columns(frame["score"].rename(PREDICTION))


def _data_alarm(
    findings: list[dict[str, Any]], standing: dict[str, float]
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Alarm when a column first breaks its reference, and again only when it is twice as bad as then."""
    fresh = [f for f in findings if f["rate"] >= 2 * standing.get(_fault(f), 0.0)]
    if not fresh:
        return standing, []
    first = fresh[0]
    rate = f"{first['kind']} in {first['rate']:.1%} of {first['rows']} rows"
    text = f"{first['column']}: {rate}, usual is at most {first['usual']:.1%}"
    after = {**standing, **{_fault(f): f["rate"] for f in fresh}}
    return after, [{"kind": "data", "text": text, "evidence": {"findings": fresh}}]


def _volume_alarm(ratio: float, rows: int) -> list[dict[str, Any]]:
    if not ratio:
        return []
    text = f"volume: {rows} answers, {ratio:.2g} times the usual"
    return [{"kind": "data", "text": text, "evidence": {"rows": rows, "ratio": ratio}}]


def _fault(finding: dict[str, Any]) -> str:
    return f"{finding['column']} {finding['kind']}"


def _drift_findings(detectors: dict[str, float], sizes: dict[str, float]) -> dict[str, Any]:
    mean = float(np.mean(list(detectors.values()))) if detectors else 0.0
    return {"statistic": mean, "columns": drift.attributed(detectors), "divergence": sizes}


def _drift_alarm(
    state: dict[str, Any], findings: dict[str, Any], before: dict[str, Any], run_length: float
) -> tuple[list[str], list[dict[str, Any]]]:
    """Alarm when columns drift that no standing alarm has named; detectors begin anew after each."""
    standing = before.get("drifting", [])
    if findings["statistic"] < run_length:
        return standing, []
    fresh = [name for name in findings["columns"] if name not in standing]
    state["drift"] = {}
    if not fresh:
        return standing, []
    text = f"drift in {', '.join(fresh[:4])}: e-detector {findings['statistic']:.3g} passed {run_length:g}"
    evidence = {"statistic": findings["statistic"], "threshold": run_length, "columns": fresh}
    return sorted({*standing, *fresh}), [{"kind": "drift", "text": text, "evidence": evidence}]


def _harm(
    reference: MonitorReference, judged: pl.DataFrame, before: dict[str, Any]
) -> tuple[dict[str, float], dict[str, Any]]:
    state = before.get("harm", {})
    if reference.harm is None:
        return state, {"outcomes": judged.height, "loss": None}
    loss = _loss(reference.harm, judged)
    after, statistic = harm.step(reference.harm, loss, state) if loss is not None else (state, None)
    found = {"outcomes": judged.height, "loss": loss, "limit": reference.harm.limit, "kind": reference.harm.loss}
    return after, {**found, "statistic": statistic}


def _loss(reference: harm.HarmReference, judged: pl.DataFrame) -> float | None:
    truth = [msgspec.json.decode(value) for value in judged["outcome"].to_list()]
    predictions = [msgspec.json.decode(value) for value in judged["prediction"].to_list()]
    scores = judged["score"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return harm.window_loss(reference.loss, reference.positive, reference.median_error, truth, predictions, scores)


def _harm_alarm(state: dict[str, Any], findings: dict[str, Any], run_length: float) -> list[dict[str, Any]]:
    statistic = findings.get("statistic")
    findings["threshold"] = run_length
    if statistic is None or statistic < run_length:
        return []
    state["harm"] = {}
    text = (
        f"the answers became worse: e-detector {statistic:.3g} passed {run_length:g}; "
        f"{findings['kind']} of the last window {findings['loss']:.4f}, limit {findings['limit']:.4f}"
    )
    evidence = {"statistic": statistic, "threshold": run_length, "loss": findings["loss"], "limit": findings["limit"]}
    return [{"kind": "harm", "text": text, "evidence": evidence}]


def _paired(reference: MonitorReference, judged: pl.DataFrame, number: int, live: int) -> dict[str, Any] | None:
    """Both versions' loss on the very same rows."""
    if reference.harm is None:
        return None
    common = judged.filter(pl.col("version") == number).join(
        judged.filter(pl.col("version") == live).select("id"), on="id"
    )
    ours = judged.filter(pl.col("version") == number, pl.col("id").is_in(common["id"].to_list()))
    theirs = judged.filter(pl.col("version") == live, pl.col("id").is_in(common["id"].to_list()))
    loss, beside = _loss(reference.harm, ours), _loss(reference.harm, theirs)
    if loss is None or beside is None:
        return None
    return {"baseline": live, "rows": ours.height, "loss": loss, "baseline_loss": beside}


def _segments(
    served: pl.DataFrame, judged: pl.DataFrame, segments: tuple[str, ...], reference: MonitorReference
) -> dict[str, Any]:
    """Answers and loss by the values of each declared segment; shown, and the basis of no alarm."""
    found: dict[str, Any] = {}
    for name in segments:
        value = pl.col("features").str.json_path_match(f'$["{name}"]').alias("value")
        labelled = served.with_columns(value)
        outcomes = judged.join(labelled.select("id", "value"), on="id")
        found[name] = {
            str(part["value"][0]): {
                "answers": part.height,
                "loss": _loss(reference.harm, outcomes.filter(pl.col("value") == part["value"][0]))
                if reference.harm
                else None,
            }
            for part in labelled.partition_by("value")
        }
    return found


def _alarm(row: Any) -> Alarm:
    fields = {name: getattr(row, name) for name in Alarm.__struct_fields__}
    return Alarm(**{**fields, "created": from_text(row.created)})
