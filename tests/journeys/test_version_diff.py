"""Two versions side by side: everything that could make them answer otherwise."""

import pytest
from tests.conftest import EXAMPLES, Threshold


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    for name in ("headrace.toml", "churn.py"):
        (folder / name).write_text((EXAMPLES / "starter" / name).read_text())
    return folder


def test_what_was_changed_is_what_differs(ws, project):
    ws.run(project=project)
    code = (project / "churn.py").read_text()
    code = code.replace("range(2000)", "range(1990)").replace(
        '"plan": plan, ', '"plan": plan, "visits": calls + months, '
    )
    (project / "churn.py").write_text(code)
    ws.run(project=project, smoothing=4.0)
    lines = {line.what: line for line in ws.diff("churn@1", "churn@2")}
    differing = {what for what, line in lines.items() if not line.same} - {"size", "one row"}
    assert {"version", "snapshot", "param smoothing", "code churn.py", "column visits"} <= differing
    assert "column 'visits' added" in lines["snapshot"].note
    assert "10 rows removed" in lines["snapshot"].note
    assert (lines["param smoothing"].first, lines["param smoothing"].second) == ("1.0", "4.0")
    assert lines["python"].same and lines["packages"].same and lines["threads"].same
    assert {"metric accuracy", "metric roc_auc", "size", "one row"} <= set(lines)
    assert all(
        line.same for what, line in {x.what: x for x in ws.diff("churn@1", "churn@1")}.items() if what != "one row"
    )


def test_versions_without_a_project_can_be_compared(registered, example):
    registered.register("late", Threshold(10.0), example=example)
    lines = {line.what: line for line in registered.diff("late@1", "late@2")}
    assert lines["schema"].same
    assert lines["snapshot"].first == ""
