"""The demo's own parts: it replaces its own workspace only, and says honestly what fell short."""

from types import SimpleNamespace

import pytest

from headrace.entrypoints.console.charts import Line, Mark, line_chart, parallel_chart
from headrace.entrypoints.demo.story import MARK, _short, fresh_folder
from headrace.kernel.errors import Conflict


def test_it_begins_anew_in_its_own_workspace_and_leaves_any_other(tmp_path):
    fresh_folder(tmp_path / "ws")
    (tmp_path / "ws" / "old").touch()
    fresh_folder(tmp_path / "ws")
    assert [p.name for p in (tmp_path / "ws").iterdir()] == [MARK]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "headrace.db").touch()
    with pytest.raises(Conflict, match="did not make"):
        fresh_folder(tmp_path / "mine")
    assert (tmp_path / "mine" / "headrace.db").exists()


def test_it_leaves_a_demo_that_is_running(tmp_path):
    import headrace

    fresh_folder(tmp_path / "ws")
    ws = headrace.open(tmp_path / "ws")
    ws.leases.renew("somebody")
    with pytest.raises(Conflict, match="is at work"):
        fresh_folder(tmp_path / "ws")
    ws.leases.end("somebody")
    ws.close()
    fresh_folder(tmp_path / "ws")


def test_every_part_that_falls_short_is_told():
    first, last = SimpleNamespace(number=1), SimpleNamespace(number=2)
    harm = [SimpleNamespace(kind="harm")]
    whole, broken = SimpleNamespace(intact=True), SimpleNamespace(intact=False)
    assert _short(first, last, harm, whole, {"daily": 0.6}, {"daily": 0.65}) == []
    assert len(_short(first, last, [], whole, {"daily": 0.6}, {"daily": 0.65})) == 1
    assert len(_short(first, first, [], broken, {}, {})) == 4
    assert len(_short(first, last, harm, whole, {"daily": 0.7}, {"daily": 0.65})) == 1


def test_charts_escape_what_they_show():
    chart = line_chart(["<a>", "b"], [Line("<x>", [1.0, None]), Line("y", [2.0, 3.0])], [Mark(1, "<m>")], "<t>")
    assert "<x>" not in chart and "&lt;x&gt;" in chart and "&lt;m&gt;" in chart
    assert "nothing to draw" in line_chart([], [])
    assert parallel_chart(["a"], [[1.0]]) == ""
    assert parallel_chart(["a", "<b>"], [[1.0, 2.0], [3.0, 4.0]]).count("<polyline") == 2
