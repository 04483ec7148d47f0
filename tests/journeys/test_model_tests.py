"""What a project expects of a version beyond its metrics is tested, kept, and counted for its ML Test Score."""

import json
import shutil

import pytest
from tests.conftest import EXAMPLES, headrace_command

from headrace.kernel.errors import InvalidProject, NotFound

TESTS = """
[[model.churn.test]]
kind = "invariance"
columns = ["customer"]

[[model.churn.test]]
kind = "invariance"
name = "plans are alike"
columns = ["plan"]
within = 0.01

[[model.churn.test]]
kind = "directional"
column = "months"
by = 12
answer = "rises"

[[model.churn.test]]
kind = "directional"
column = "plan"
by = 1
answer = "rises"

[[model.churn.test]]
kind = "quality"
metric = "accuracy"
min = 0.999

[[model.churn.test]]
kind = "quality"
metric = "log_loss"
by = "plan"
max = 0.9

[[model.churn.test]]
kind = "quality"
name = "of nothing"
metric = "beauty"
min = 1

[[model.churn.test]]
kind = "overfit"
name = "too much to ask"
metric = "accuracy"
min = 1.01

[[model.churn.test]]
kind = "function"
function = "churn:complains"

[[model.churn.test]]
kind = "function"
function = "churn:is_false"
options = { word = "no" }

[[model.churn.test]]
kind = "function"
function = "churn:absent"
"""
FUNCTIONS = """

def complains(predict, frame):
    assert frame.height == 1, f"there are {frame.height} rows"


def is_false(predict, frame, word):
    assert predict(frame).columns == ["prediction", "probability.false", "probability.true"]
    return word != "no"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tested") / "project"
    shutil.copytree(EXAMPLES / "starter", folder)
    return folder


@pytest.fixture
def made(ws, project):
    ws.run("churn", project=project)
    return ws


def test_the_tests_of_the_example_pass_and_are_evidence(made, project):
    assert made.tests("churn@1") is None
    before = made.evidence("churn@1")["ml-test-score.md"]
    assert "| I2 model specification code is unit tested | 0 | missing: a test of kind overfit" in before
    seen = []
    tests = made.test("churn@1", saying=seen.append)
    assert tests.passed and [one.kind for one in tests.results] == ["directional", "quality", "overfit", "function"]
    assert tuple(seen) == tests.results == made.tests("churn@1").results
    again = made.test("churn@1", project=project)
    assert again.results == tests.results, "the same version gives the same results"
    after = made.evidence("churn@1")
    assert (
        "unit tested | 1 | 2 tests passed, among them one that learns a few rows by heart" in after["ml-test-score.md"]
    )
    assert "| D7 all input feature code is tested | 0.5 | 1 tests passed" in after["ml-test-score.md"]
    assert json.loads(after["tests.json"])["passed"] is True
    entry = next(entry for entry in made.audit() if entry.action == "test")
    assert entry.subject == "churn@1" and entry.detail["tests"] == 4 and entry.detail["failed"] == []


def test_each_kind_fails_and_says_by_how_much(made, project, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(project, other)
    toml = (project / "headrace.toml").read_text()
    (other / "headrace.toml").write_text(toml[: toml.index("# What is expected")] + TESTS)
    (other / "churn.py").write_text((project / "churn.py").read_text() + FUNCTIONS)
    tests = made.test("churn@1", project=other)
    found = {one.name: (one.passed, one.found) for one in tests.results}
    assert not tests.passed and len(found) == 11
    assert found["does not depend on customer"] == (True, "in 100.0 %; the most is 0")
    passed, said = found["plans are alike"]
    assert not passed and said.startswith("in ")
    passed, said = found["rises where months changes by 12"]
    assert not passed and "the most the other way 0." in said
    assert found["rises where plan changes by 1"][1].startswith("'plan' is no number")
    assert found["accuracy"][0] is False and found["accuracy"][1].startswith("short: all rows 0.9")
    assert found["log_loss by plan"][0] is True
    assert found["of nothing"][1].startswith("There is no metric 'beauty'. Expected: ")
    assert found["too much to ask"] == (False, "1.0000")
    passed, said = found["churn:complains"]
    assert not passed and said.startswith("AssertionError: there are 500 rows (churn.py, line ")
    assert found["churn:is_false"] == (False, "False")
    assert "churn:absent cannot be imported" in found["churn:absent"][1]
    score = made.evidence("churn@1")["ml-test-score.md"]
    assert "unit tested | 0 | not: plans are alike, rises where months changes by 12" in score


def test_the_command_line_says_it_by_its_exit_code(made, project, tmp_path):
    done = headrace_command("--workspace", made.places.url, "test", "churn", cwd=project)
    assert done.returncode == 0 and "4 of 4 tests passed" in done.stdout and "passed  accuracy by plan" in done.stderr
    other = tmp_path / "short"
    shutil.copytree(project, other)
    toml = (other / "headrace.toml").read_text().replace("min    = 0.65", "min    = 0.999")
    (other / "headrace.toml").write_text(toml)
    done = headrace_command("--workspace", made.places.url, "test", "churn@1", "--project", str(other), "--json")
    assert done.returncode == 1
    assert [one["passed"] for one in json.loads(done.stdout)["results"]] == [True, False, True, True]


def test_what_cannot_be_tested_is_said(registered, made, project, tmp_path):
    with pytest.raises(NotFound, match="not made by a project"):
        registered.test("late@1")
    bare = tmp_path / "bare"
    shutil.copytree(project, bare)
    toml = (bare / "headrace.toml").read_text()
    (bare / "headrace.toml").write_text(toml[: toml.index("# What is expected")])
    with pytest.raises(InvalidProject, match="declares no test"):
        made.test("churn@1", project=bare)
    for wrong, said in (
        ('kind = "beauty"', r"kind is 'beauty'. Expected: one of invariance"),
        ('kind = "quality"', r"missing required field `metric`"),
        ('kind = "invariance"\ncolumns = []', r"length >= 1"),
        ('kind = "function"\nfunction = "churn"', r"matching regex"),
        ('kind = "overfit"\nmetric = "a"\nrow = 3', r"unknown key 'row'"),
    ):
        (bare / "headrace.toml").write_text(
            toml[: toml.index("# What is expected")] + f"\n[[model.churn.test]]\n{wrong}\n"
        )
        with pytest.raises(InvalidProject, match=said):
            made.test("churn@1", project=bare)
