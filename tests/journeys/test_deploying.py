"""A version is put on a target: planned, put there, asked, and taken back where it does not answer as it should."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import EXAMPLES, Threshold, call, eventually, headrace_command
from tests.faults.load import ROW, Clients

from headrace.delivery.containers import free_port
from headrace.kernel.errors import DeploymentFailed, InvalidInput, NotFound, Unavailable

pytestmark = pytest.mark.embedded


def processes_in(folder):
    """The numbers of the servers that follow a route document below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"serve" in words and any(word.startswith(str(folder).encode()) for word in words):
                found.append(int(path.parent.name))
    return found


@pytest.fixture
def place(tmp_path):
    """A project folder, the options of a process there, and its port; the server ends with the test."""
    port = free_port()
    yield tmp_path, {"manager": "none", "port": str(port), "wait": "20s"}, port
    for number in processes_in(tmp_path):
        os.kill(number, signal.SIGTERM)
    eventually(lambda: not processes_in(tmp_path))


@pytest.fixture
def two(registered, example):
    registered.register("late", Threshold(10.0), example=example)
    return registered


def answers(port):
    return call("POST", f"http://127.0.0.1:{port}/models/late/predict", ROW)[1]


def test_a_new_version_is_taken_over_without_a_request_lost(two, place):
    folder, options, port = place
    first = two.plan_deployment("late@1", "process", project=folder, options=options)
    assert {file.what for file in first.files} == {"new"} and first.standing == ""
    assert not (folder / "deploy").exists(), "a plan writes nothing"
    done = two.deploy("late@1", "process", project=folder, options=options, why="to begin with")
    assert done.status == "deployed" and "golden rows" in done.text
    assert answers(port)["version"] == 1

    again = two.plan_deployment("late@1", "process", project=folder, options=options)
    assert not again.changes
    plan = two.plan_deployment("late@2", "process", project=folder, options=options)
    assert plan.standing == "late@1"
    changed = {file.path: file.diff for file in plan.files if file.what == "changed"}
    assert list(changed) == ["process/routes.json"] and '+   "2"' in changed["process/routes.json"]
    (server,) = processes_in(folder)
    with Clients(port, 4) as clients:
        two.deploy("late@2", "process", project=folder, options=options)
        seen = len(clients.answered)
        eventually(lambda: len(clients.answered) > seen + 50)
    assert not clients.failed and not clients.refused and {one.status for one in clients.answered} == {200}
    assert answers(port)["version"] == 2
    assert processes_in(folder) == [server], "no process was started anew"
    assert [(one.reference, one.status) for one in two.deployments("late")] == [
        ("late@2", "deployed"),
        ("late@1", "deployed"),
    ]
    entry = next(entry for entry in two.audit() if entry.action == "deploy" and entry.subject == "late@1")
    assert (entry.detail["target"], entry.detail["why"]) == ("process", "to begin with")


def test_what_does_not_answer_as_it_should_is_taken_back(two, place):
    folder, options, port = place
    two.deploy("late@1", "process", project=folder, options=options)
    bundle = two.version("late@2").digest
    before = (folder / "deploy/late/process/routes.json").read_text()

    def spoil(line):  # it was copied and found whole; the server, which opens it a moment later, finds it altered
        if line.startswith("writing"):
            (folder / f"deploy/late/process/bundles/{bundle}/schema.json").write_text("{}")

    with pytest.raises(DeploymentFailed, match=r"version 1 answers; it says: .*late@1 was put back") as raised:
        two.deploy("late@2", "process", project=folder, options={**options, "wait": "3s"}, saying=spoil)
    assert bundle[:12] in raised.value.text
    assert (folder / "deploy/late/process/routes.json").read_text() == before
    assert answers(port)["version"] == 1
    newest = two.deployments("late")[0]
    assert (newest.reference, newest.status) == ("late@2", "failed")
    assert any(entry.action == "deployment failed" for entry in two.audit())

    done = two.deploy("late@2", "process", project=folder, options=options)  # the spoilt copy is replaced
    assert done.status == "deployed" and answers(port)["version"] == 2


def test_where_nothing_stood_before_it_is_taken_away(registered, place, start_headrace, tmp_path):
    folder, options, port = place
    start_headrace("--workspace", str(tmp_path / "ws"), "serve", "--port", str(port), "--grpc-port", "off")
    registered.register("other", Threshold(3.0), example=pl.DataFrame({"minutes": [1.0], "carrier": ["UA"]}))
    with pytest.raises(DeploymentFailed, match=r"404 .*It was taken away again"):
        registered.deploy("other@1", "process", project=folder, options={**options, "wait": "1s"})
    assert not (folder / "deploy/other/process/routes.json").exists()


def test_what_it_answers_comes_home_and_what_only_checked_it_does_not(registered, place):
    folder, options, port = place
    registered.deploy("late@1", "process", project=folder, options=options)
    reply = call("POST", f"http://127.0.0.1:{port}/models/late/predict", {"rows": [ROW, ROW]})[1]
    loop = registered.loop()

    def arrived():
        loop.turn()
        return registered.tables.find(f"{reply['id']}.1")[0].height

    eventually(arrived)
    everything = registered.tables.predictions("late", datetime(2000, 1, 1), datetime(3000, 1, 1))
    assert sorted(everything["id"]) == [f"{reply['id']}.{i}" for i in (0, 1)], "golden rows are no predictions"
    assert registered.trace(f"{reply['id']}.0")["version"] == 1


def test_the_console_shows_what_stands_where_and_what_was_altered(registered, place, start_headrace, tmp_path):
    folder, options, _ = place
    registered.deploy("late@1", "process", project=folder, options=options)
    console = start_headrace("--workspace", str(tmp_path / "ws"), "console", "--port", "0")

    def page():
        with urllib.request.urlopen(f"{console['url']}/models/late", timeout=30) as response:
            return response.read().decode()

    assert "Deployments" in page() and "golden rows as it should" in page() and "Drift" not in page()
    next((folder / "deploy/late/process").glob("*.service")).write_text("")
    assert "Drift" in page() and "headrace-late-process.service" in page()


def test_one_that_is_killed_is_made_again(two, place, tmp_path):
    folder, options, port = place
    two.deploy("late@1", "process", project=folder, options=options)
    routes = folder / "deploy/late/process/routes.json"
    before = routes.read_text()
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "headrace", "--workspace", str(tmp_path / "ws"), "deploy", "late@2", "process"]
    with subprocess.Popen(
        [*command, "--project", str(folder), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        eventually(lambda: routes.read_text() != before)
        process.kill()
    killed = two.deployments("late")[0]
    if killed.status != "deployed":  # it had not come to its end
        assert (killed.reference, killed.status) == ("late@2", "running")
    assert two.deploy("late@2", "process", project=folder, options=options).status == "deployed"
    assert answers(port)["version"] == 2
    assert {one.status for one in two.deployments("late")} <= {"deployed", "failed"}


def test_a_key_that_is_revoked_is_revoked_there_too(registered, place):
    folder, options, port = place
    registered.deploy("late@1", "process", project=folder, options=options)
    record, key = registered.create_key("shop", ["predict"])
    loop, url = registered.loop(), f"http://127.0.0.1:{port}/models/late/predict"

    def status(shown):
        request = urllib.request.Request(url, json.dumps(ROW).encode(), {"authorization": f"Bearer {shown}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert status(key) == 401
    loop.turn()
    eventually(lambda: status(key) == 200)
    assert registered.status("late")["drift"] == [], "what was brought up to date is no drift"
    registered.revoke_key(record.id)
    loop.turn()
    eventually(lambda: status(key) == 401)
    assert not registered.plan_deployment("late@1", "process", project=folder, options=options).changes


def test_a_folder_that_cannot_be_written_changes_nothing(two, place):
    folder, options, port = place
    two.deploy("late@1", "process", project=folder, options=options)
    routes = folder / "deploy/late/process/routes.json"

    def spoil(line):  # a folder where a file should be
        if line.startswith("writing"):
            routes.unlink()
            routes.mkdir()

    with pytest.raises(DeploymentFailed, match=r"routes.json could not be written: Is a directory"):
        two.deploy("late@2", "process", project=folder, options=options, saying=spoil)
    assert two.deployments("late")[0].status == "failed" and answers(port)["version"] == 1
    routes.rmdir()
    assert two.deploy("late@2", "process", project=folder, options=options).status == "deployed"


def test_each_thing_that_is_absent_or_wrong_is_said(registered, place, monkeypatch):
    folder, *_ = place
    with pytest.raises(NotFound, match="no target 'mars'"):
        registered.deploy("late@1", "mars", project=folder)
    with pytest.raises(InvalidInput, match="unknown field `prot`"):
        registered.deploy("late@1", "process", project=folder, options={"prot": "1"})
    with pytest.raises(InvalidInput, match="does not say what the image is called"):
        registered.deploy("late@1", "kubernetes", project=folder)
    with pytest.raises(InvalidInput, match="as whom"):
        registered.deploy("late@1", "process", project=folder, options={"scope": "system"})
    monkeypatch.setenv("PATH", str(folder / "nothing"))
    with pytest.raises(Unavailable, match="kubectl is not on this machine"):
        registered.deploy("late@1", "kubernetes", project=folder, options={"image": "localhost/late:{version}"})
    assert registered.deployments() == [] and not (folder / "deploy").exists()


def test_the_command_line_plans_writes_and_deploys(registered, place, tmp_path):
    folder, options, port = place
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    command = ("--workspace", str(tmp_path / "ws"), "deploy", "late", "process", "--project", str(folder), *words)
    said = headrace_command(*command, "--dry-run")
    assert said.returncode == 0 and "+Description=Headrace: scoring of late" in said.stdout
    assert not (folder / "deploy").exists()
    written = headrace_command(*command, "--write")
    assert written.returncode == 0 and (folder / "deploy/late/process/routes.json").exists()
    assert not processes_in(folder)
    done = headrace_command(*command, "--json")
    assert json.loads(done.stdout)["status"] == "deployed", done.stderr
    assert answers(port)["version"] == 1
    listed = headrace_command("--workspace", str(tmp_path / "ws"), "deployments", "--json")
    assert [one["version"] for one in json.loads(listed.stdout)] == [1]
    status = headrace_command("--workspace", str(tmp_path / "ws"), "status", "late", "--json")
    assert json.loads(status.stdout)["deployed"][0]["target"] == "process"


PROJECT = """
[target.near]
kind = "process"
manager = "none"
port = {port}
wait = "20s"

[target.paper]
kind = "own"
function = "ship:ship"
options = {{ place = "drawer" }}

[model.churn.deploy]
on = ["promoted"]
targets = ["paper", "near"]
"""
SHIP = """
import sys

def ship(deployment):
    text = "{model}@{version} in the {place}\\n".format(**deployment, place=deployment["options"]["place"])
    if deployment["version"] == 3:
        return {"files": {"note.txt": text}, "put": [[sys.executable, "-c", "raise SystemExit('the drawer is stuck')"]]}
    return {"files": {"note.txt": text}, "put": [[sys.executable, "-c", "open('done', 'a').write('put ')"]]}
"""


def test_what_becomes_live_is_put_on_the_targets_of_its_policy(ws, place):
    """A worker does it, on the project's own target first; where that fails, the next one keeps what it has."""
    folder, _, port = place
    project = folder / "project"
    shutil.copytree(EXAMPLES / "starter", project)
    toml = project / "headrace.toml"
    owners = 'owners = { speed = "berta@example.org" }\n'
    text = toml.read_text().replace('target  = "churned"\n', f'target  = "churned"\n{owners}')
    toml.write_text(text + PROJECT.format(port=port))
    (project / "ship.py").write_text(SHIP)
    for smoothing in (1.0, 2.0, 3.0):
        ws.run("churn", project=project, smoothing=smoothing)
    loop, pause = ws.loop(), None

    def deployed(version):
        ws.promote(f"churn@{version}")
        loop.turn()
        run = next(run for run in ws.runs("churn") if run.kind == "deploy")
        ended = ws.waited(run.id, pause)
        loop.turn()
        return ended

    done = deployed(1)
    assert done.status == "done", done.error
    assert [(step.name, step.status) for step in done.steps] == [
        ("deploy to paper", "done"),
        ("deploy to near", "done"),
    ]
    here = project / "deploy/churn"
    assert (here / "paper/note.txt").read_text() == "churn@1 in the drawer\n"
    assert (here / "done").read_text() == "put "

    def version():
        row = {"plan": "basic", "months": 3, "calls": 4}
        return call("POST", f"http://127.0.0.1:{port}/models/churn/predict", row)[1]["version"]

    assert version() == 1
    assert deployed(2).status == "done" and version() == 2
    failed = deployed(3)
    assert failed.status == "failed" and "the drawer is stuck" in failed.error["error"]
    assert "churn@2 was put back" in failed.error["error"]
    assert version() == 2, "the second target was not touched"
    assert (here / "paper/note.txt").read_text() == "churn@2 in the drawer\n"
    (notice,) = ws.notices("churn")
    assert notice.subject == "[headrace] churn: a deployment failed" and notice.receiver == "berta@example.org"
    loop.turn()
    assert len([run for run in ws.runs("churn") if run.kind == "deploy"]) == 3, "it is not tried for ever"

    back = ws.rollback("churn")
    assert back.number == 2
    loop.turn()
    assert not [run for run in ws.run_store.unfinished() if run.kind == "deploy"], "it stands there already"
