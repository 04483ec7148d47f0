"""A person's captured rows are erased from the disk, and the audit chain stays whole."""

import json
from datetime import timedelta

import polars as pl
import pytest
from tests.conftest import EXAMPLES, call, eventually, headrace_command

import headrace
from headrace.kernel.errors import InvalidInput, NotFound


@pytest.fixture
def served(ws, tmp_path, start_headrace):
    """A model with the key `customer`, which answers, and what it answered to three people."""
    folder = tmp_path / "p"
    folder.mkdir()
    for name in ("headrace.toml", "churn.py"):
        (folder / name).write_text((EXAMPLES / "starter" / name).read_text())
    ws.run(project=folder)
    ws.promote("churn@1")
    server = start_headrace("--workspace", ws.places.url, "serve", "--port", "0")
    ids = {}
    for customer in (7_070_701, 7_070_702, 7_070_703):
        for _ in range(3):
            row = {"customer": customer, "plan": "pro", "months": 3, "calls": 9}
            ids[customer] = call("POST", f"{server['url']}/models/churn/predict", row)[1]["id"]
        ws.record_outcomes(pl.DataFrame({"customer": [customer], "outcome": [True]}))
    ws.record_outcomes([{"prediction_id": f"{ids[7_070_701]}.0", "outcome": False}])
    return ws, ids, server


def known(ws, prediction):
    try:
        return ws.trace(prediction)
    except NotFound:
        return None


def on_disk(root, text):
    """The files under `root` in which a text stands, as it is or in a table."""
    found = []
    for path in (root / "predictions", root / "outcomes"):
        for file in path.rglob("*"):
            if file.suffix == ".parquet":
                frame = pl.read_parquet(file, hive_partitioning=False)
                found += [file] if any(text in str(row) for row in frame.rows()) else []
            elif file.is_file() and text.encode() in file.read_bytes():
                found.append(file)
    return found


@pytest.mark.embedded
def test_a_person_is_forgotten_and_the_others_are_not(served):
    ws, ids, server = served
    eventually(lambda: known(ws, ids[7_070_703]))
    ws.tables.ingest()
    assert on_disk(ws.places.root, "7070701")
    found = ws.forget(customer=7_070_701)
    assert (found.predictions, found.outcomes) == (3, 2)
    assert on_disk(ws.places.root, "7070701") == []
    with pytest.raises(NotFound):
        ws.trace(ids[7_070_701])
    traced = ws.trace(ids[7_070_702])
    assert traced["key"] == {"customer": 7_070_702}
    assert len(traced["outcomes"]) == 1
    entry = ws.audit(1)[0]
    assert (entry.action, entry.detail["predictions"]) == ("forget", 3)
    assert "7070701" not in json.dumps(entry.detail)
    assert entry.detail["key"]["customer"].startswith("hash:")
    assert ws.verify_audit().intact
    again = call(
        "POST", f"{server['url']}/models/churn/predict", {"customer": 5, "plan": "pro", "months": 1, "calls": 1}
    )
    eventually(lambda: ws.tables.ingest().height or ws.tables.find(f"{again[1]['id']}.0")[0].height)
    assert ws.forget(customer=7_070_701).predictions == 0
    with pytest.raises(InvalidInput):
        ws.forget()


def test_by_the_command_line(served):
    ws, ids, _ = served
    eventually(lambda: known(ws, ids[7_070_703]))
    words = ["--workspace", ws.places.url, "forget", "customer=7070702"]
    assert headrace_command(*words, "--json").returncode == 4
    done = headrace_command(*words, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"predictions": 3, "outcomes": 1}


@pytest.mark.embedded
def test_what_is_too_old_goes(served):
    ws, ids, _ = served
    taken = []
    eventually(lambda: taken.append(ws.tables.ingest().height) or sum(taken) == 9)
    assert ws.expire() == 0
    later = headrace.open(ws.places.root, clock=lambda: ws.clock() + timedelta(days=401))
    assert later.expire() == 9
    assert later.audit(1)[0].action == "expire"
    later.close()
    with pytest.raises(NotFound):
        ws.trace(ids[7_070_701])
