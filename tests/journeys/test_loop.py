"""The loop on real flights, without servers: quiet on quiet data, and round once where the answers really get worse.

The predictions are captured as the scoring server captures them; the loop is the worker's own.
"""

import sys
from datetime import datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.conftest import EXAMPLES, address

import headrace
from headrace.data.frames import columns_of
from headrace.data.validation import conform
from headrace.kernel.identifiers import new_id
from headrace.runtimes.opening import open_bundle
from headrace.serving.capture import Captured
from headrace.serving.segments import framed

pytest.importorskip("sklearn")
MODEL = "late-arrival"
TARGET = 'target  = "late"\n'
OWNERS = 'owners  = { accuracy = "anna@example.org", speed = "berta@example.org" }\n'
DAYS = 120


@pytest.fixture(scope="module")
def flights():
    """The year 2013 in a random order: every day is like every other, so nothing gets worse."""
    sys.path.insert(0, str(EXAMPLES / "flights"))
    try:
        from flights.data import COLUMNS, history
    finally:
        sys.path.pop(0)
    year = history(2013).select(COLUMNS)
    random = np.random.default_rng(11)
    mixed = year.drop("scheduled_departure", "flight_id").sample(45_000 + DAYS * 500, shuffle=True, seed=11)
    start = datetime(2013, 1, 1)
    moments = [
        start + timedelta(minutes=float(m)) for m in np.sort(random.uniform(0, 24 * 60 * (90 + DAYS), mixed.height))
    ]
    return mixed.with_columns(
        scheduled_departure=pl.Series(moments, dtype=pl.Datetime("us")),
        flight_id=pl.format("f{}", pl.int_range(pl.len())),
    ).select(COLUMNS)


@pytest.fixture(scope="module")
def project(tmp_path_factory, flights):
    """The example's own policy and functions, on the shuffled flights."""
    import shutil

    folder = tmp_path_factory.mktemp("loop") / "flights-project"
    shutil.copytree(EXAMPLES / "flights", folder)
    (folder / "flights" / "data.py").write_text(
        "from datetime import timedelta\nimport polars as pl\n\ndef load():\n"
        "    frame = pl.concat([pl.read_parquet(p) for p in ('first.parquet', 'later.parquet')])\n"
        "    moment = pl.col('scheduled_departure')\n"
        "    return frame.filter(moment > moment.max() - timedelta(days=60))\n"
    )
    toml = (folder / "headrace.toml").read_text()
    (folder / "headrace.toml").write_text(
        toml.replace("max_iter = 100", "max_iter = 30").replace(TARGET, TARGET + OWNERS)
    )
    first = flights.filter(pl.col("scheduled_departure") < datetime(2013, 4, 1))
    first.write_parquet(folder / "first.parquet")
    first.head(0).write_parquet(folder / "later.parquet")
    return folder


@pytest.fixture
def live(project, tmp_path):
    ws = headrace.open(address(tmp_path / "ws"))
    ws.run(MODEL, project=project)
    ws.promote(f"{MODEL}@1")
    yield ws
    ws.close()


class World:
    """Answers days of flights by what is live, and lets the truth be known."""

    def __init__(self, ws):
        self.ws = ws
        self.loop = ws.loop()
        self.scorers = {}
        self.number = 0
        self.scorer_id = new_id()

    def scorer(self, number):
        if number not in self.scorers:
            digest = self.ws.version(f"{MODEL}@{number}").digest
            self.scorers[number] = open_bundle(self.ws.places.bundles / digest, digest)
        return self.scorers[number]

    def day(self, frame):
        rollout = self.ws.rollouts.running(MODEL)
        live = int(self.ws.version(MODEL).number)
        request = new_id()
        records = [self.captured(frame, live, "live", request)]
        if rollout is not None:
            records.append(self.captured(frame, rollout.candidate, "shadow", request))
        self.number += 1
        inbox = self.ws.places.predictions_outbox
        inbox.mkdir(parents=True, exist_ok=True)
        content = b"".join(framed(msgspec.msgpack.encode([record])) for record in records)
        (inbox / f"{self.scorer_id}.{self.number:010d}.seg").write_bytes(content)
        ids = [f"{request}.{i}" for i in range(frame.height)]
        self.ws.record_outcomes(
            pl.DataFrame({"prediction_id": ids, "outcome": frame["late"], "time": frame["scheduled_departure"]})
        )
        self.loop.turn()

    def captured(self, frame, number, route, request):
        scorer = self.scorer(number)
        columns = columns_of(conform(frame, scorer.schema), scorer.schema)
        answers = scorer.answer(columns, frame.height)
        features = {
            name: [None if v != v else v for v in np.asarray(values, dtype=object).tolist()]
            for name, values in columns.items()
        }
        return Captured(
            id=request,
            time=0.0,
            model=MODEL,
            version=number,
            route=route,
            generation=1,
            latency=0.005,
            rows=frame.height,
            features=features,
            keys={"flight_id": frame["flight_id"].to_list()},
            moments=frame["scheduled_departure"].dt.to_string("iso:strict").to_list(),
            predictions=answers.predictions,
            probabilities=answers.probabilities,
        )


def days_of(flights, spoil_from=None):
    later = flights.filter(pl.col("scheduled_departure") >= datetime(2013, 4, 1))
    for part in later.with_columns(day=pl.col("scheduled_departure").dt.date()).partition_by(
        "day", maintain_order=True
    ):
        frame = part.drop("day")
        if spoil_from is not None and part["day"][0] >= spoil_from:
            frame = frame.with_columns(late=pl.col("late") ^ (pl.col("hour") < 12))
        yield frame


def test_the_same_policy_on_quiet_data_stays_quiet(live, flights):
    world = World(live)
    for frame in days_of(flights):
        world.day(frame)
    windows = live.windows.list(MODEL)
    assert len(windows) >= DAYS - 3
    assert all(window.findings["harm"]["statistic"] is not None for window in windows)
    assert live.windows.alarms(MODEL) == []
    assert [run.created_by == "policy" for run in live.runs()] == [False]
    assert live.version(MODEL).number == 1


def test_real_harm_alarms_retrains_rolls_out_and_ends_with_a_better_version(live, flights, project):
    """The world turns: the morning flights that were on time are now late. Nobody tells the loop.

    The project loads the last sixty days. While they are mostly of the old world, the gate refuses what they teach;
    the loop alarms on, and in the end a version comes through.
    """
    world = World(live)
    turned = datetime(2013, 4, 20).date()
    seen = []
    for frame in days_of(flights, turned):
        world.day(frame)
        seen.append(frame)
        if live.run_store.unfinished():
            pl.concat(seen).write_parquet(project / "later.parquet")
            for run in live.run_store.unfinished():
                live.wait(run.id)
        if live.version(MODEL).number > 1:
            break
    alarms = live.windows.alarms(MODEL)
    harm = [alarm for alarm in alarms if alarm.kind == "harm"]
    assert harm and harm[-1].window[:10] >= "2013-04-20"
    version = live.version(MODEL)
    assert version.number > 1 and version.gate.passed
    assert all(not v.gate.passed for v in live.versions(MODEL) if 1 < v.number < version.number)
    rollout = live.rollouts.list(MODEL)[0]
    assert rollout.status == "done"
    assert [note["share"] for note in rollout.history if note.get("action") == "advance"] == [5, 25, 50]
    promotion = live.promotions.history(MODEL)[0]
    assert promotion.who == "rollout" and promotion.evidence["harm_interval"][1] < 0.02
    actions = {entry.action for entry in live.audit(500)}
    assert {
        "alarm",
        "handle alarm",
        "run",
        "begin rollout",
        "rollout: advance",
        "rollout: finish",
        "promote",
    } <= actions
    assert live.verify_audit().intact
    told = [(notice.receiver[0], notice.subject) for notice in live.notices(limit=1000)]
    assert {who for who, what in told if what == f"[headrace] {MODEL}@{version.number} is live"} == {"a", "b"}
    assert told.count(("a", f"[headrace] {MODEL}: alarm of harm")) == len(harm)
