"""A new user's first day: a project, a run, a promotion, a server, a prediction, its outcome and its trace."""

import json

import pytest
from tests.conftest import call, eventually


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return tmp_path_factory.mktemp("first-day") / "project"


@pytest.fixture(scope="module")
def program(project):
    from tests.conftest import headrace_command

    def run(*words, code=0):
        done = headrace_command(*words, cwd=project if project.exists() else None)
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout

    run("init", str(project))
    run("run")
    run("promote", "churn@1", "--why", "it is the first")
    return run


def test_the_version_shows_its_evidence(program):
    version = json.loads(program("show", "churn@1", "--json"))
    assert version["runtime"] == "reference"
    assert version["gate"]["passed"] and version["certificate"]["passed"]
    assert {form["form"] for form in version["certificate"]["forms"]} == {"in_process", "rest"}
    assert {form["level"] for form in version["certificate"]["forms"]} == {"L1"}
    low, value, high = (version["metrics"]["roc_auc"][k] for k in ("low", "value", "high"))
    assert 0.8 < low < value < high < 1
    assert json.loads(program("models", "--json")) == [{"model": "churn", "versions": 1, "live": "churn@1"}]


def test_it_answers_is_captured_judged_and_traced(program, project, start_headrace):
    server = start_headrace("--workspace", str(project / ".headrace"), "serve", "--port", "0")
    row = {"customer": 7, "plan": "basic", "months": 3, "calls": 8}
    status, reply = call(
        "POST", f"{server['url']}/models/churn/predict", {"rows": [row, {**row, "calls": 0, "months": 50}]}
    )
    assert status == 200
    assert (reply["model"], reply["version"]) == ("churn", 1)
    assert [p["prediction"] for p in reply["predictions"]] == [True, False]
    assert sum(reply["predictions"][0]["probabilities"].values()) == pytest.approx(1)
    same = json.loads(headrace_predict(program, project, row))
    assert same[0]["probability.true"] == reply["predictions"][0]["probabilities"]["true"]
    outcomes = project / "outcomes.csv"
    outcomes.write_text(f"prediction_id,outcome,time\n{reply['id']}.0,true,2026-01-05T00:00:00Z\n")
    program("outcomes", "outcomes.csv")
    found = json.loads(eventually(lambda: program("trace", f"{reply['id']}.0", "--json")))
    assert found["input"] == {"plan": "basic", "months": 3, "calls": 8}
    assert found["key"] == {"customer": 7}
    assert found["prediction"] is True and found["outcomes"][0]["outcome"] is True
    assert found["lineage"]["snapshot"] == found["run"]["snapshot"]
    assert found["promotions"][0]["why"] == "it is the first"


def headrace_predict(program, project, row):
    (project / "rows.jsonl").write_text(json.dumps(row))
    return program("predict", "churn", "rows.jsonl", "--json")


def test_a_sweep_tries_side_by_side_and_registers_the_best(program):
    program("run", "--sweep", "smoothing=0.5,5,500")
    runs = json.loads(program("runs", "--json"))
    trials = [r for r in runs if r["kind"] == "trial"]
    assert sorted(t["params"]["smoothing"] for t in trials) == [0.5, 5, 500]
    assert all(t["status"] == "done" and t["evaluation"] for t in trials)
    best = max(t["evaluation"]["metrics"]["roc_auc"]["value"] for t in trials)
    version = json.loads(program("show", "churn@2", "--json"))
    assert version["metrics"]["roc_auc"]["value"] == best
    lines = json.loads(program("diff", "churn@1", "churn@2", "--json"))
    assert any(line["what"] == "param smoothing" for line in lines)


def test_the_audit_log_tells_the_day(program):
    entries = json.loads(program("audit", "--json"))
    assert {"snapshot", "run", "register", "promote", "policy"} <= {entry["action"] for entry in entries}
    assert "intact" in program("audit", "--verify")
    program("rollback", "churn", code=4)


def test_status_and_doctor_answer(program):
    assert json.loads(program("status", "churn", "--json"))["live"]["version"] == "churn@1"
    assert any(f["what"] == "audit chain" and f["state"] == "good" for f in json.loads(program("doctor", "--json")))
