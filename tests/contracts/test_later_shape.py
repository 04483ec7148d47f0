"""A later release changes the shape of the database beneath this one: what runs goes on, and what starts begins."""

import json
import os

import msgspec
import pytest
from tests.conftest import Threshold, call, eventually, headrace_command, reshape_as_later

import headrace
from headrace.kernel.errors import WorkspaceTooNew
from headrace.kernel.places import Places
from headrace.training.datasets import DatasetSection
from headrace.training.project import ModelSection, Policy

pytestmark = pytest.mark.skipif(
    os.environ.get("HEADRACE_TEST_WORKSPACE") == "later", reason="every workspace is of the later shape already"
)
ROW = {"minutes": 44.0, "carrier": "UA"}


def database_of(ws):
    places: Places = ws.places
    return places.database.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def live(registered):
    return registered


def everything(ws, example, url, number):
    """Each kind of change, by the same processes: Python, the console and the worker."""
    ws.register("late", Threshold(10.0 + number), example=example)
    assert call("POST", f"{url}/api/models/late/versions/{number}/promote", {"why": "better"})[0] == 200
    assert call("POST", f"{url}/api/keys", {"consumer": f"shop-{number}"})[0] == 200
    assert call("GET", f"{url}/api/models/late/status")[1]["live"]["version"] == f"late@{number}"
    assert ws.predict("late", [ROW])["prediction"].to_list() == [True]
    ws.outbox.tell(f"a{number}", "late", ["http://127.0.0.1:1/"], "late", "text", {})
    eventually(lambda: any(n.about == f"a{number}" and n.error for n in ws.notices()))
    assert ws.search("late@1") and ws.verify_audit().intact


def test_a_running_system_goes_on(live, example, start_headrace):
    root = live.places.url
    url = start_headrace("--workspace", root, "console", "--port", "0")["url"]
    worker = live._start_worker()
    try:
        everything(live, example, url, 2)
        reshape_as_later(database_of(live))
        everything(live, example, url, 3)
    finally:
        worker.terminate()
        worker.wait()


def test_what_starts_afterwards_begins(live, example, start_headrace):
    reshape_as_later(database_of(live))
    root = live.places.url
    url = start_headrace("--workspace", root, "console", "--port", "0")["url"]
    again = headrace.open(root)
    worker = again._start_worker()
    try:
        everything(again, example, url, 2)
    finally:
        worker.terminate()
        worker.wait()
        again.close()
    done = headrace_command("--workspace", root, "show", "late", "--json")
    assert done.returncode == 0 and len(json.loads(done.stdout)) >= 1
    assert headrace_command("--workspace", root, "workspace", "verify").returncode == 0


def test_a_move_that_would_leave_something_behind_is_refused(live, tmp_path):
    if live.places.embedded:
        pytest.skip("a folder is copied whole, with whatever is in its database")
    reshape_as_later(database_of(live))
    with pytest.raises(WorkspaceTooNew, match="later Headrace"):
        live.copy(tmp_path / "copy")


def test_what_is_as_always_is_not_kept_with_a_policy():
    """So that an earlier release, which may not know a field, goes on as long as nobody uses it."""
    section = ModelSection(dataset="d", target="t", train="m:f", seed=7)
    policy = Policy(model="m", settings=section, dataset=DatasetSection(source="rows.csv"))
    kept = msgspec.to_builtins(policy)
    assert set(kept["settings"]) == {"dataset", "target", "train", "seed"} and set(kept["dataset"]) == {"source"}
    assert msgspec.convert(kept, Policy) == policy
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**kept, "settings": {**kept["settings"], "later": 1}}, Policy)
