"""A project file and a workspace drift apart, are held against each other, and brought together without a run."""

import json
import shutil

import pytest
from tests.conftest import EXAMPLES, headrace_command

from headrace.kernel.errors import InvalidProject, NotFound


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("applied") / "project"
    shutil.copytree(EXAMPLES / "starter", folder)
    return folder


@pytest.fixture
def project(original, tmp_path):
    shutil.copytree(original, tmp_path / "project")
    return tmp_path / "project"


def change(project, before, after, file="headrace.toml"):
    text = (project / file).read_text()
    assert before in text
    (project / file).write_text(text.replace(before, after))


def lines(changes):
    return [(one.model, one.what, one.before, one.after) for one in changes]


def test_what_would_change_is_listed_applied_and_then_nothing(ws, project):
    assert lines(ws.plan(project)) == [("churn", "model.churn", "", "new")]
    ws.apply(project)
    assert ws.plan(project) == [] and ws.versions("churn") == [], "without a run"
    change(project, "min = 0.7 ", "min = 0.8 ")
    change(project, 'key  = ["customer"]', 'key  = ["customer", "plan"]')
    change(project, "seed    = 1\n", "")
    with (project / "headrace.toml").open("a") as toml:
        toml.write('\n[model.churn.capture]\nhash = ["plan"]\n\n[target.near]\nkind = "process"\nport = 8123\n')
        toml.write('\n[model.churn.deploy]\non = ["promoted"]\ntargets = ["near"]\n')
    (project / "churn.py").write_text((project / "churn.py").read_text() + "# other\n")
    found = lines(ws.plan(project))
    code = found[-1]
    assert code[1] == "code churn.py" and code[2] != code[3] and len(code[2]) == len(code[3]) == 12
    assert found[:-1] == [
        ("churn", "dataset.customers.key", '["customer"]', '["customer","plan"]'),
        ("churn", "model.churn.capture.hash", "", '["plan"]'),
        ("churn", "model.churn.deploy.on", "", '["promoted"]'),
        ("churn", "model.churn.deploy.targets", "", '["near"]'),
        ("churn", "model.churn.gate.accuracy.min", "0.7", "0.8"),
        ("churn", "model.churn.seed", "1", ""),
        ("churn", "target.near.kind", "", "process"),
        ("churn", "target.near.port", "", "8123"),
    ]
    generation = ws.promotions.publish()
    assert lines(ws.apply(project)) == found
    assert ws.plan(project) == []
    assert ws.promotions.publish() == generation + 1, "what may not be written down is published at once"
    assert [entry.action for entry in ws.audit(subject="churn")][:2] == ["policy", "policy"]
    (project / "churn.py").write_text((project / "churn.py").read_text() + "# again\n")
    ws.apply(project)
    assert [entry.action for entry in ws.audit(1, "churn")] == ["code"]


def test_drift_is_shown_until_it_is_applied(ws, project):
    ws.run("churn", project=project)
    assert ws.status("churn")["drift"] == []
    change(project, "min = 0.7 ", "min = 0.6 ")
    (drift,) = ws.status("churn")["drift"]
    assert (drift["what"], drift["before"], drift["after"]) == ("model.churn.gate.accuracy.min", "0.7", "0.6")
    change(project, 'target  = "churned"', "target  =")
    (drift,) = ws.status("churn")["drift"]
    assert drift["what"] == "headrace.toml" and "is not TOML" in drift["after"]
    with pytest.raises(InvalidProject):
        ws.apply(project)
    shutil.rmtree(project)
    assert ws.status("churn")["drift"] == [], "a folder that cannot be reached is nothing that drifted"


def test_what_was_deployed_and_then_altered_is_drift_too(registered, tmp_path):
    registered.write_deployment("late@1", "process", project=tmp_path)  # only written: nothing stands there yet
    assert registered.status("late")["drift"] == []
    deployer, asked = registered.deployer, registered._asked("late@1", "process", tmp_path, {}, "")
    it, made = deployer._rendered(asked, "")
    registered.deployment_store.begin("0", it, "process", made, "anna", "")
    registered.deployment_store.end("0", "deployed", "", {})
    assert registered.status("late")["drift"] == []
    folder = tmp_path / "deploy/late/process"
    (folder / "routes.json").write_text("{}")
    next(folder.glob("*.service")).unlink()
    found = [
        (one["what"].rpartition("/")[2], one["before"], one["after"]) for one in registered.status("late")["drift"]
    ]
    assert found == [("headrace-late-process.service", "late@1", "gone"), ("routes.json", "late@1", "altered")]


def test_a_model_that_left_the_file_stays_as_it_is(ws, project):
    text = (project / "headrace.toml").read_text()
    (project / "headrace.toml").write_text(
        text
        + text[text.index("[model.churn]") :]
        .replace("churn]", "other]")
        .replace("model.churn.", "model.other.")
        .replace("model.churn]", "model.other]")
    )
    ws.apply(project)
    (project / "headrace.toml").write_text(text)
    assert lines(ws.plan(project)) == [
        ("other", "model.other", "there", "not in headrace.toml any more; it stays as it is")
    ]
    ws.apply(project)
    assert "other" in ws.starter.kept() and ws.starter.kept()["other"].policy


def test_the_command_line_says_it_and_checks_it(ws, project):
    command = ("--workspace", ws.places.url)
    planned = headrace_command(*command, "plan", "--check", cwd=project)
    assert planned.returncode == 1 and "churn  model.churn: not set -> new" in planned.stdout
    applied = headrace_command(*command, "apply", "--json", cwd=project)
    assert json.loads(applied.stdout)[0]["after"] == "new"
    planned = headrace_command(*command, "plan", "--check", cwd=project)
    assert planned.returncode == 0 and "nothing would change" in planned.stdout


def test_a_comparison_for_a_review_shows_what_differs_and_lets_nobody_write_into_it(ws, project):
    ws.run("churn", project=project)
    with pytest.raises(NotFound, match="No version of churn is live"):
        ws.diff("churn@live", "churn@1")
    ws.promote("churn@1")
    change(project, "smoothing = 1.0", "smoothing = 2.0")
    ws.run("churn", project=project, reason="a | b <img src=x> @everyone")
    done = headrace_command("--workspace", ws.places.url, "diff", "churn@live", "churn@2", "--format", "markdown")
    assert done.returncode == 0 and "| param smoothing | 1.0 | 2.0 |  |" in done.stdout
    assert "<details>" in done.stdout and "| gate | passed | passed |  |" in done.stdout

    from headrace.training.comparison import as_markdown, line

    hostile = "x | y\n| z | <script>alert(1)</script> [a](http://b) ![c](d) `e` @everyone #1"
    text = as_markdown("a@1", "b@2", [line(hostile, hostile, "other")])
    rows = [row for row in text.splitlines() if row.startswith("| x")]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 5
    for mark in ("<script>", " [a]", " @everyone", " `e`", " ![c"):
        assert mark not in text
