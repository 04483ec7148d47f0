"""Workers are killed at random moments under load: every run ends done, once, and the audit chain stays whole.

CI kills a few times with a fixed seed; `make soak` 200 times.
"""

import os
import random
import signal
import time

from tests.conftest import EXAMPLES, eventually
from tests.faults.test_kill_at_every_step import start_worker

import headrace

KILLS = 200 if os.environ.get("HEADRACE_SOAK") else 4


def test_random_kills_lose_and_repeat_nothing(tmp_path):
    chance = random.Random(7)
    project = tmp_path / "project"
    project.mkdir()
    for name in ("headrace.toml", "churn.py"):
        (project / name).write_text((EXAMPLES / "starter" / name).read_text())
    ws = headrace.open(tmp_path / "ws")
    runs = [ws.start_run(project=project, smoothing=float(i + 1)) for i in range(max(2, KILLS // 4))]
    for _ in range(KILLS):
        worker = start_worker(tmp_path / "ws")
        time.sleep(chance.uniform(0.5, 4.0))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    worker = start_worker(tmp_path / "ws")
    try:
        eventually(lambda: all(ws.run_store.get(r).status == "done" for r in runs), 60 + 10 * len(runs))
    finally:
        worker.terminate()
        worker.wait()
    versions = ws.versions("churn")
    assert sorted(v.lineage.run for v in versions) == sorted(runs)
    assert [v.number for v in versions] == list(range(len(runs), 0, -1))
    assert ws.verify_audit().intact
    ws.close()
