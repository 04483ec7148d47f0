"""A worker is killed in the middle of every step; the next one finishes the run and does no finished step again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import EXAMPLES, eventually

import headrace

STEPS = ("snapshot", "train", "evaluate", "register")


def start_worker(root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "headrace", "--workspace", str(root), "worker"]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HEADRACE_TURN_SECONDS": "0.05"},
    )


@pytest.mark.parametrize("victim", STEPS)
def test_kill_in_the_middle_of(victim, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "headrace.toml").write_text((EXAMPLES / "starter" / "headrace.toml").read_text())
    (project / "churn.py").write_text((EXAMPLES / "starter" / "churn.py").read_text())
    ws = headrace.open(tmp_path / "ws")
    run = ws.start_run(project=project)
    worker = start_worker(tmp_path / "ws")
    try:
        eventually(lambda: any(s.name == victim and s.status == "running" for s in ws.run_store.get(run).steps), 40)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    before = {step.name: step for step in ws.run_store.get(run).steps}
    second = start_worker(tmp_path / "ws")
    try:
        found = eventually(lambda: (r := ws.run_store.get(run)).status in ("done", "failed") and r, 60)
    finally:
        second.terminate()
        second.wait()
    after = {step.name: step for step in found.steps}
    assert found.status == "done", found.error
    assert set(after) == set(STEPS)
    for name, step in before.items():
        if step.status == "done":
            assert (after[name].attempts, after[name].worker, after[name].ended) == (
                step.attempts,
                step.worker,
                step.ended,
            )
    assert after[victim].status == "done"
    assert ws.versions("churn")[0].lineage.run == run
    assert len(ws.versions("churn")) == 1
    assert ws.verify_audit().intact
    assert not list((tmp_path / "ws" / "staging").glob("*")) or victim == "register"
    ws.close()


def test_two_living_workers_never_share_a_run(tmp_path):
    ws = headrace.open(tmp_path / "ws")
    project = tmp_path / "project"
    project.mkdir()
    for name in ("headrace.toml", "churn.py"):
        (project / name).write_text((EXAMPLES / "starter" / name).read_text())
    workers = [start_worker(tmp_path / "ws") for _ in range(2)]
    try:
        runs = [ws.start_run(project=project, smoothing=float(i + 1)) for i in range(3)]
        eventually(lambda: all(ws.run_store.get(r).status == "done" for r in runs), 90)
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()
    assert all(step.attempts == 1 for r in runs for step in ws.run_store.get(r).steps)
    assert [v.number for v in ws.versions("churn")] == [3, 2, 1]
    ws.close()
