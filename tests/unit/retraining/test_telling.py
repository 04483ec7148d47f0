"""What owners are told of the loop, in words and for programs."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import Threshold

from headrace.kernel.callers import ConsumerTraffic
from headrace.kernel.records import Alarm, Approval, Rollout, Run
from headrace.retraining.telling import FEWEST, Teller
from headrace.training.project import OwnersSection
from headrace.training.version_diff import packages_changed

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
OWNERS = OwnersSection(accuracy="anna@example.org", speed="berta@example.org")


@pytest.fixture
def teller(ws):
    return Teller(ws.outbox, "https://headrace.example.org/")


def told(ws):
    return sorted((n.receiver.partition("@")[0], n.subject) for n in ws.notices())


def test_an_alarm_goes_to_the_owner_of_accuracy(ws, teller):
    alarm = Alarm(
        id="a1",
        model="late",
        number=3,
        kind="drift",
        window="2026-01-01T00:00",
        text="minutes moved",
        evidence={},
        created=NOW,
    )
    for _ in range(2):
        teller.alarm(alarm, OWNERS)
    (notice,) = ws.notices("late")
    assert (notice.receiver, notice.subject) == ("anna@example.org", "[headrace] late: alarm of drift")
    assert "minutes moved" in notice.text and notice.text.endswith("https://headrace.example.org/models/late")
    assert notice.document == {
        "type": "alarm.drift",
        "model": "late",
        "version": 3,
        "text": "minutes moved",
        "window": "2026-01-01T00:00",
    }


def rollout(status, ended):
    return Rollout(
        id=f"r {status} {ended}",
        model="late",
        candidate=2,
        baseline=1,
        status=status,
        share=0.0,
        reason="drift",
        started=NOW,
        ended=ended,
        state={},
        history=({"why": "2 % of its answers failed"},),
    )


def test_both_owners_hear_how_a_rollout_ended(ws, teller):
    for status, ended in (("running", None), ("superseded", NOW), ("rolled_back", NOW - timedelta(days=2))):
        teller.rollout(rollout(status, ended), OWNERS, NOW)
    assert told(ws) == []
    teller.rollout(rollout("rolled_back", NOW), OWNERS, NOW)
    assert told(ws) == [
        ("anna", "[headrace] late@2 was rolled back"),
        ("berta", "[headrace] late@2 was rolled back"),
    ]
    assert "Because 2 % of its answers failed.\nlate@1 answers everything again." in ws.notices()[0].text
    teller.rollout(rollout("done", NOW), OWNERS, NOW)
    assert ("berta", "[headrace] late@2 is live") in told(ws)


def run(name, error, **more):
    return Run(
        id=name, model="late", kind="train", status="failed", reason="schedule", created_by="policy", created=NOW,
        params={}, error=error, **{"ended": NOW, **more},
    )  # fmt: skip


def test_a_failed_run_is_told_once_a_day_and_without_values(ws, teller):
    error = {"error": "Row 3: 'Anna' is no number", "kind": "schema_violation", "field": "name", "row": 3}
    for name, ended in (("u1", NOW), ("u2", NOW + timedelta(hours=1)), ("u3", NOW + timedelta(days=1))):
        teller.failed(run(name, error, ended=ended), OWNERS, NOW)
    assert len(ws.notices()) == 2
    notice = ws.notices()[0]
    assert notice.subject == "[headrace] late: a retraining failed"
    assert "schema_violation, field name, row 3" in notice.text and "Anna" not in notice.text + str(notice.document)


def test_a_version_that_waits_says_how_it_is_approved(ws, teller):
    approval = Approval(
        id="p1",
        model="late",
        number=4,
        asked_by="policy",
        asked=NOW,
        why="drift",
        approved_by="",
        approved=None,
        word="",
    )
    teller.waiting(approval, OWNERS)
    (notice,) = ws.notices()
    assert notice.subject == "[headrace] late@4 waits for approval" and "headrace approve late@4" in notice.text


def test_a_promise_of_speed_that_is_not_kept_is_told_once_a_day(ws, teller):
    def traffic(requests, within):
        return ConsumerTraffic(
            consumer="shop", model="late", requests=requests, rows=requests, failed=0, objective=0.02, within=within
        )

    for one in (traffic(FEWEST - 1, 0.5), traffic(FEWEST, 0.99), traffic(FEWEST, None)):
        teller.slow(one, OWNERS, NOW)
    assert told(ws) == []
    for hours in (0, 1, 24):
        teller.slow(traffic(FEWEST, 0.905), OWNERS, NOW + timedelta(hours=hours))
    assert told(ws) == [("berta", "[headrace] late is slower than shop was promised")] * 2
    assert "90.50 % of 1000 requests within a day were answered within 20 ms" in ws.notices()[0].text


def test_other_packages_are_told(ws, teller, example):
    first, second = (ws.register("late", Threshold(limit), example=example) for limit in (30.0, 20.0))
    folders = [ws.version_store.folder(version) for version in (first, second)]
    assert packages_changed(*folders) == []
    path = folders[1] / "environment" / "environment.json"
    document = json.loads(path.read_text())
    name = document["needed"][0] if document["needed"] else "polars"
    document["packages"][name]["version"] = "99.0"
    path.unlink()  # the two versions share the file
    path.write_text(json.dumps(document))
    (line,) = packages_changed(*folders)
    assert line.startswith(f"{name} ") and line.endswith("-> 99.0")
    teller.packages(second, first, [], OWNERS)
    assert told(ws) == []
    teller.packages(second, first, [line], OWNERS)
    assert told(ws) == [("anna", "[headrace] late@2 was made with other packages")] and line in ws.notices()[0].text


def test_nobody_is_told_where_nobody_is_named(ws, teller):
    alarm = Alarm(id="a", model="late", number=1, kind="data", window="w", text="t", evidence={}, created=NOW)
    teller.alarm(alarm, OwnersSection(accuracy="the forecasting team"))
    assert ws.notices() == []
