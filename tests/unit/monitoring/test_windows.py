"""Windows: each outcome is judged once, however late; nothing is judged twice; poison reaches nobody."""

from datetime import datetime, timedelta

import msgspec
import polars as pl
import pytest

from headrace.kernel.errors import InvalidInput
from headrace.kernel.identifiers import new_id
from headrace.monitoring.drift import build as build_drift
from headrace.monitoring.harm import HarmReference
from headrace.monitoring.quality import QualityReference
from headrace.monitoring.reference import MonitorReference
from headrace.monitoring.windows import Watched
from headrace.serving.capture import Captured
from headrace.serving.segments import framed

DAY = timedelta(days=1)
START = datetime(2013, 1, 1)


@pytest.fixture
def world(registered):
    return World(registered)


class World:
    """Answers and outcomes on days of one's choice."""

    def __init__(self, ws):
        self.ws, self.number, self.scorer = ws, 0, new_id()
        version = ws.version("late@1")
        column = pl.Series("minutes", [float(i) for i in range(600)])
        reference = MonitorReference(
            window="1d",
            drift={"minutes": build_drift(column, [column[i::10] for i in range(10)])},
            quality=QualityReference({}),
            harm=HarmReference("error_rate", True, 0.0, 0.2, 0.05, 10, 0.25),
        )
        self.watched = Watched(
            model="late",
            live=version,
            references={1: reference},
            schemas={1: version.schema},
            segments=("carrier",),
            outcomes_within=3 * DAY,
            harm_run_length=50.0,
            drift_run_length=1e4,
            slow=None,
        )

    def answer(self, day, rows=40):
        self.number += 1
        request = new_id()
        record = Captured(
            id=request,
            time=0.0,
            model="late",
            version=1,
            route="live",
            generation=1,
            latency=0.01,
            rows=rows,
            features={"minutes": [float(i) for i in range(rows)], "carrier": ["UA"] * rows},
            keys={"k": [f"{day}-{i}" for i in range(rows)]},
            moments=[(START + day * DAY + timedelta(hours=1)).isoformat()] * rows,
            predictions=[True] * rows,
            probabilities=None,
        )
        inbox = self.ws.places.predictions_inbox
        inbox.mkdir(parents=True, exist_ok=True)
        (inbox / f"{self.scorer}.{self.number:010d}.seg").write_bytes(framed(msgspec.msgpack.encode([record])))
        return [f"{request}.{i}" for i in range(rows)]

    def judge(self, ids, day, truth=True, hour=2):
        at = START + day * DAY + timedelta(hours=hour)
        self.ws.record_outcomes(
            pl.DataFrame({"prediction_id": ids, "outcome": [truth] * len(ids), "time": [at] * len(ids)})
        )

    def close(self, days):
        self.ws.tables.ingest()
        return self.ws.windows.close_through(self.watched, START + days * DAY, START)


def test_a_window_tells_what_it_saw(world):
    world.judge(world.answer(0), 0)
    window = world.close(1)[0]
    assert (window.answers, window.outcomes, window.start[:10]) == (40, 40, "2013-01-01")
    assert window.findings["harm"]["loss"] == 0.0
    assert window.findings["segments"]["carrier"]["UA"] == {"answers": 40, "loss": 0.0}
    assert world.close(1) == []


def test_outcomes_that_come_after_their_window_are_judged_in_the_next(world):
    ids = world.answer(0)
    assert world.close(1)[0].outcomes == 0
    world.judge(ids, 0)
    world.answer(1)
    assert [w.outcomes for w in world.close(2)] == [40]
    world.answer(2)
    assert [w.outcomes for w in world.close(3)] == [0]


def test_a_day_with_outcomes_alone_is_a_window_too(world):
    ids = world.answer(0)
    world.judge(ids, 2)
    world.answer(4)
    assert [(w.start[:10], w.answers, w.outcomes) for w in world.close(5)] == [
        ("2013-01-01", 40, 0),
        ("2013-01-03", 0, 40),
        ("2013-01-05", 40, 0),
    ]


def test_harm_alarms_once_and_begins_anew(world):
    for day in range(12):
        world.judge(world.answer(day), day, truth=day < 4)
    world.close(12)
    alarms = [a for a in world.ws.windows.alarms("late") if a.kind == "harm"]
    assert alarms and alarms[-1].window[:10] > "2013-01-05"
    assert alarms[-1].evidence["statistic"] >= 50
    assert len(alarms) < 4


def test_outcomes_by_key_and_poison(world):
    world.answer(0)
    keys = [f"0-{i}" for i in range(40)]
    world.ws.record_outcomes(
        pl.DataFrame({"k": keys, "outcome": [True] * 40, "time": [START + timedelta(hours=3)] * 40})
    )
    with pytest.raises(InvalidInput, match="neither a prediction_id nor key"):
        world.ws.record_outcomes(
            pl.DataFrame({"prediction_id": [None], "outcome": [99]}, schema_overrides={"prediction_id": pl.String})
        )
    with pytest.raises(InvalidInput, match="have the columns"):
        world.ws.record_outcomes(pl.DataFrame({"prediction_id": ["x"]}))
    window = world.close(1)[0]
    assert (window.outcomes, window.findings["harm"]["loss"]) == (40, 0.0)


def test_nulls_beyond_the_reference_are_a_data_alarm(world):
    world.number += 1
    record = Captured(
        id=new_id(),
        time=0.0,
        model="late",
        version=1,
        route="live",
        generation=1,
        latency=0.01,
        rows=50,
        features={"minutes": [None] * 50, "carrier": ["ZZ"] * 50},
        keys={},
        moments=[(START + timedelta(hours=1)).isoformat()] * 50,
        predictions=[True] * 50,
        probabilities=None,
    )
    inbox = world.ws.places.predictions_inbox
    inbox.mkdir(parents=True)
    (inbox / f"{world.scorer}.{world.number:010d}.seg").write_bytes(framed(msgspec.msgpack.encode([record])))
    world.close(1)
    alarm = world.ws.windows.alarms("late")[0]
    assert alarm.kind == "data"
    assert {(f["column"], f["kind"]) for f in alarm.evidence["findings"]} == {
        ("minutes", "null"),
        ("carrier", "unseen"),
    }


def test_a_collapse_of_the_traffic_is_a_data_alarm(world):
    for day in range(9):
        world.answer(day)
    world.answer(9, rows=3)
    world.close(10)
    assert [a.text for a in world.ws.windows.alarms("late") if a.text.startswith("volume")] == [
        "volume: 3 answers, 0.075 times the usual"
    ]
