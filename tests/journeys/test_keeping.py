"""Keeping a workspace in order: what nothing needs is freed, what is needed stays, and all of it can be copied."""

import json
from datetime import timedelta

import polars as pl
import pytest
from tests.conftest import Threshold, headrace_command

import headrace
from headrace.kernel.errors import Conflict, InvalidInput, NotFound


def states(ws, count=4):
    frames = [pl.DataFrame({"id": range(30), "x": [float(k)] * 30, "t": ["a", "b", None] * 10}) for k in range(count)]
    return [ws.snapshots.take("numbers", frame, keys=("id",), who="me") for frame in frames]


@pytest.mark.embedded
def test_snapshots_that_nothing_needs_go_and_the_rest_is_whole(ws):
    taken = states(ws)
    ws.hold(taken[1].digest, "the audit of 2026")
    found = ws.garbage(timedelta(0))
    assert {one.name for one in found} == {f"numbers {taken[i].digest}" for i in (0, 2)}
    assert ws.snapshots.list() and ws.verify() == []
    freed = ws.gc(timedelta(0))
    assert sum(one.size for one in freed) > 0
    assert {s.digest for s in ws.snapshots.list()} == {taken[1].digest, taken[3].digest}
    assert ws.verify() == []
    assert ws.gc(timedelta(0)) == []
    ws.release(taken[1].digest[:12])
    assert [one.name for one in ws.gc(timedelta(0))] == [f"numbers {taken[1].digest}"]
    assert ws.snapshots.read(taken[3]).height == 30
    assert len(list((ws.places.datasets / "numbers").glob("*.parquet"))) == 1
    assert ws.audit(1)[0].action == "gc"


def test_new_things_are_left_alone(ws):
    states(ws)
    assert ws.garbage() == []


@pytest.mark.embedded
def test_bundles_without_a_version_and_old_drafts_go_and_versions_stay(registered, tmp_path):
    import os

    root = registered.places.root
    for folder in ("bundles/nobodys", "staging/old", "staging/new"):
        (root / folder).mkdir(parents=True)
        (root / folder / "file").write_text("x")
    os.utime(root / "staging" / "old", (0, 0))
    freed = registered.gc()
    assert sorted((one.kind, one.name) for one in freed) == [("bundle", "nobodys"), ("draft", "old")]
    assert (root / "staging" / "new").exists()
    assert registered.verify() == []
    assert registered.predict("late@1", [{"minutes": 44.0, "carrier": "UA"}])["prediction"].to_list() == [True]


def test_a_snapshot_that_a_version_was_trained_on_stays(ws, tmp_path):
    from tests.conftest import EXAMPLES

    project = tmp_path / "p"
    project.mkdir()
    for name in ("headrace.toml", "churn.py"):
        (project / name).write_text((EXAMPLES / "starter" / name).read_text())
    version = ws.run(project=project)
    first = version.lineage.snapshot
    code = (project / "churn.py").read_text()
    (project / "churn.py").write_text(code.replace("range(2000)", "range(1999)"))
    ws.run(project=project)
    (project / "churn.py").write_text(code)
    freed = ws.gc(timedelta(0))
    assert {one.kind for one in freed} == {"run"}
    assert ws.versions_on(first) == ["churn@1"]
    assert ws.prove("churn@1", same_environment=True).level == "L0"
    difference = ws.diff_data(first, ws.version("churn@2").lineage.snapshot)
    assert (difference.added, difference.removed) == (0, 1)
    assert difference.examples == ("removed customer 1999",)


def test_comparing_snapshots(ws):
    first, second = states(ws, 2)
    difference = ws.diff_data(first.digest, second.digest[:10])
    assert (difference.changed, difference.cells) == (30, {"x": 30})
    assert ws.diff_data(first.digest, first.digest).same
    other = ws.snapshots.take("others", pl.DataFrame({"a": [1]}), who="me")
    with pytest.raises(InvalidInput, match="One is of numbers, the other of others"):
        ws.diff_data(first.digest, other.digest)
    with pytest.raises(NotFound):
        ws.release(first.digest)


def test_a_copy_is_a_workspace_of_its_own(registered, example, tmp_path):
    states(registered)
    found = registered.copy(tmp_path / "elsewhere")
    assert found.files > 10
    other = headrace.open(tmp_path / "elsewhere")
    rows = [{"minutes": 44.0, "carrier": "UA"}]
    assert other.predict("late", rows).equals(registered.predict("late", rows))
    other.register("late", Threshold(2.0), example=example)
    assert (len(other.versions("late")), len(registered.versions("late"))) == (2, 1)
    assert other.verify_audit().intact
    other.close()
    with pytest.raises(Conflict, match="Something stands"):
        registered.copy(tmp_path / "elsewhere")


@pytest.mark.embedded
def test_backup_and_restore_by_the_command_line(registered, tmp_path):
    root, backup, again = registered.places.root, tmp_path / "backups" / "monday", tmp_path / "again"
    words = ["--workspace", str(root)]
    done = headrace_command(*words, "workspace", "backup", str(backup), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folder"] == str(backup)
    registered.close()
    bundle = next(p for p in (root / "bundles").iterdir())
    (bundle / "manifest.json").write_text("damaged")
    broken = headrace_command(*words, "workspace", "verify")
    assert broken.returncode == 1
    assert "was altered" in " ".join(broken.stdout.split())
    assert headrace_command("workspace", "restore", str(backup), str(again)).returncode == 0
    assert headrace_command("--workspace", str(again), "workspace", "verify").returncode == 0
    assert headrace_command("workspace", "restore", str(tmp_path / "nothing"), str(again)).returncode == 3


@pytest.mark.embedded
def test_a_damaged_workspace_is_not_copied_as_if_it_were_whole(registered, tmp_path):
    from headrace.kernel.errors import NotTrusted

    bundle = next(p for p in registered.places.bundles.iterdir())
    (bundle / "manifest.json").write_text("damaged")
    with pytest.raises(NotTrusted, match="The copy is not whole: late@1"):
        registered.copy(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_gc_and_data_by_the_command_line(ws):
    taken = states(ws)
    words = ["--workspace", ws.places.url]
    listed = json.loads(headrace_command(*words, "data", "list", "numbers", "--json").stdout)
    assert [one["digest"] for one in listed] == [s.digest for s in reversed(taken)]
    assert headrace_command(*words, "data", "diff", taken[0].digest, taken[1].digest).returncode == 1
    assert headrace_command(*words, "data", "pin", taken[0].digest, "--why", "kept").returncode == 0
    assert headrace_command(*words, "data", "show", taken[0].digest[:8]).returncode == 0
    said = headrace_command(*words, "gc", "--older", "0s", "--dry-run")
    assert "2 things" in said.stdout
    assert headrace_command(*words, "gc", "--older", "0s", "--json").returncode == 4
    assert len(ws.snapshots.list()) == 4
    assert headrace_command(*words, "gc", "--older", "0s", "--yes").returncode == 0
    assert len(ws.snapshots.list()) == 2
    assert headrace_command(*words, "data", "unpin", taken[0].digest).returncode == 0
