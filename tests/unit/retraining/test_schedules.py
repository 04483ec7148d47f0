"""What the policy does by the clock: the live version is proved at its hour, and what needs approval waits for it."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import EXAMPLES

import headrace
from headrace.kernel.errors import InvalidProject

NIGHT = 'prove = "0 3 * * *"\n'


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    toml = (EXAMPLES / "starter" / "headrace.toml").read_text()
    (folder / "headrace.toml").write_text(toml.replace("seed    = 1\n", f"seed    = 1\n{NIGHT}"))
    (folder / "churn.py").write_text((EXAMPLES / "starter" / "churn.py").read_text())
    return folder


def test_the_live_version_is_proved_at_its_hour(project, tmp_path):
    now = [datetime(2026, 3, 1, 2, 58, tzinfo=UTC)]
    ws = headrace.open(tmp_path / "ws")
    ws.run(project=project)
    ws.promote("churn@1")
    timed = headrace.open(tmp_path / "ws", clock=lambda: now[0])
    loop = timed.loop()

    def proofs():
        return [run for run in ws.runs("churn") if run.kind == "prove"]

    loop.turn()
    now[0] += timedelta(minutes=1)
    loop.turn()
    assert proofs() == []
    now[0] += timedelta(minutes=2)
    loop.turn()
    loop.turn()
    (run,) = proofs()
    assert (run.created_by, run.reason, run.params) == ("policy", "schedule 0 3 * * *", {"version": "churn@1"})
    now[0] += timedelta(days=1)
    loop.turn()
    assert len(proofs()) == 2
    timed.close()
    ws.close()


def test_a_schedule_that_is_none_is_named(project, ws):
    path = project / "headrace.toml"
    path.write_text(path.read_text().replace("0 3 * * *", "each night"))
    with pytest.raises(InvalidProject, match="'each night' is no schedule"):
        ws.start_run(project=project)
