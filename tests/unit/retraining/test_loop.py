"""A worker that begins anew knows from the tables what the one before it had already taken in."""

from datetime import datetime, timedelta

import msgspec
import pytest

from headrace.kernel.identifiers import new_id
from headrace.monitoring.quality import QualityReference
from headrace.monitoring.reference import MonitorReference
from headrace.serving.capture import Captured
from headrace.serving.segments import framed


@pytest.fixture
def world(registered, monkeypatch):
    reference = MonitorReference(window="1d", drift={}, quality=QualityReference({}), harm=None)
    version = registered.version("late@1")
    monkeypatch.setattr("headrace.retraining.loop.Loop._reference", lambda _loop, _version: (reference, version.schema))
    return registered


def answer(ws, number, day):
    record = Captured(
        id=new_id(),
        time=datetime(2013, 1, 20).timestamp(),
        model="late",
        version=1,
        route="live",
        generation=1,
        latency=0.01,
        rows=3,
        features={"minutes": [1.0] * 3, "carrier": ["UA"] * 3},
        keys={},
        moments=[(datetime(2013, 1, 1) + timedelta(days=day)).isoformat()] * 3,
        predictions=[True] * 3,
        probabilities=None,
    )
    ws.places.predictions_inbox.mkdir(parents=True, exist_ok=True)
    path = ws.places.predictions_inbox / f"{ws.places.root.name}.{number:010d}.seg"
    path.write_bytes(framed(msgspec.msgpack.encode([record])))


def test_what_was_ingested_before_a_restart_is_windowed_after_it(world):
    from headrace.training.project import ModelSection

    section = ModelSection(dataset="d", target="t", train="m:f")
    first = world.loop()
    answer(world, 1, 0)
    first._mark(world.tables.ingest())
    second = world.loop()
    answer(world, 2, 2)
    second._mark(world.tables.ingest())
    second._close(second._watched("late", section))
    assert [w.start[:10] for w in world.windows.list("late")] == ["2013-01-01"]
