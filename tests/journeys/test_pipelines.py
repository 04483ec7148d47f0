"""The pipelines that are written for a project are what each system reads, and their steps are run as it would run them."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import yaml
from tests.clients import absent, complaints
from tests.conftest import headrace_command
from tests.journeys.test_deploying import processes_in

import headrace
from headrace.delivery.containers import free_port
from headrace.delivery.pipelines import SCRATCH

SCHEMAS = {"github": "github-workflows", "gitlab": "gitlab-ci", "azure": "azure-pipelines"}
FILES = {"github": ".github/workflows/headrace.yml", "gitlab": ".gitlab-ci.yml", "azure": "azure-pipelines.yml"}


def jobs_of(system, path):
    """The jobs of a pipeline: for each the steps, as (title, script, environment)."""
    document = yaml.safe_load(path.read_text())
    if system == "github":
        return {
            name: [
                (step["name"], step["run"], {**job["env"], **step.get("env", {})})
                for step in job["steps"]
                if "run" in step
            ]
            for name, job in document["jobs"].items()
        }
    if system == "gitlab":
        whole = {name: "\n".join(document[name]["script"]) for name in document["stages"]}
        return {name: [(name, script, {})] for name, script in whole.items()}
    found = {}
    for stage in document["stages"]:
        job = stage["jobs"][0]
        steps = job["steps"] if "steps" in job else job["strategy"]["runOnce"]["deploy"]["steps"]
        found[stage["stage"]] = [(step["displayName"], step["bash"], step["env"]) for step in steps if "bash" in step]
    return found


class Runner:
    """Runs the steps of a job in a checkout, as a system's own runner does: bash, one after the other, until one fails."""

    def __init__(self, folder, known):
        self.folder, self.scratch, self.known = folder, folder.parent / "scratch", known
        self.said = ""

    def run(self, steps):
        """The title of the step that failed; empty where none did."""
        for title, script, environment in steps:
            values = {name: self._filled(text) for name, text in environment.items()}
            around = {**os.environ, **self.known, **values, "PIP_NO_INDEX": "1"}
            around["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{around['PATH']}"
            (self.scratch).mkdir(exist_ok=True)
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", script.replace(SCRATCH, str(self.scratch))],
                cwd=self.folder,
                env=around,
                capture_output=True,
                text=True,
                check=False,
                timeout=280,
            )
            self.said = done.stdout + done.stderr
            if done.returncode:
                return title
        return ""

    def _filled(self, text):
        for name, value in self.known.items():
            for written in (f"${{{{ secrets.{name} }}}}", f"$({name})", f"${{{{ {name} }}}}"):
                text = text.replace(written, value)
        return text.replace(SCRATCH, str(self.scratch))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A project in a repository, and the workspace of production, in which a version is live."""
    folder = tmp_path_factory.mktemp("pipelines")
    project = folder / "project"
    assert headrace_command("init", str(project)).returncode == 0
    for system in SCHEMAS:
        assert headrace_command("init", str(project), "--ci", system).returncode == 0
    assert (project / "requirements.txt").read_text().startswith("headrace==")
    with (project / "headrace.toml").open("a") as toml:
        toml.write(f'\n[target.near]\nkind = "process"\nmanager = "none"\nport = {free_port()}\nwait = "20s"\n')
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], cwd=project, check=True)
    ws = headrace.open(folder / "ws")
    ws.run("churn", project=project, smoothing=5.0)
    ws.promote("churn@1")
    yield project, ws
    ws.close()
    for number in processes_in(project):
        os.kill(number, 15)


@pytest.fixture
def checkout(place, tmp_path):
    """A fresh checkout, and its pipelines written anew from what is in it."""

    def make(change=lambda folder: None):
        folder = tmp_path / "checkout"
        shutil.copytree(place[0], folder)
        change(folder)
        for system, file in FILES.items():
            (folder / file).unlink()
            assert headrace_command("init", str(folder), "--ci", system).returncode == 0
        return folder

    return make


@pytest.mark.servers
@pytest.mark.parametrize("system", SCHEMAS)
def test_a_pipeline_is_what_its_system_reads(checkout, system):
    path = checkout() / FILES[system]
    assert complaints("published", f"{path}:{SCHEMAS[system]}") == []
    actionlint = shutil.which("actionlint") or shutil.which("actionlint", path=str(Path.home() / "go/bin"))
    if system == "github":
        if actionlint is None:
            absent("actionlint", "actionlint is not installed")
        done = subprocess.run([actionlint, "-shellcheck=", path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, dict(self.headers), body.decode()))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def environment_of(system, ws, receiver, tmp_path):
    """What each system sets by itself, and where a comment goes; `gh` of GitHub is a stand-in that keeps its words."""
    url = f"http://127.0.0.1:{receiver.server_port}/"
    secret = {"HEADRACE_WORKSPACE": str(ws.places.root)}
    if system == "github":
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/gh").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/gh\ncat "$7" >> {tmp_path}/gh\n')
        (tmp_path / "bin/gh").chmod(0o755)
        return {
            **secret,
            "github.event.pull_request.number": "7",
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        }
    if system == "gitlab":
        return {
            **secret,
            "CI_MERGE_REQUEST_IID": "7",
            "CI_PROJECT_ID": "4",
            "CI_API_V4_URL": f"{url}api",
            "GITLAB_TOKEN": "a token",
        }
    return {
        **secret,
        "System.AccessToken": "a token",
        "System.CollectionUri": url,
        "System.TeamProject": "team",
        "Build.Repository.ID": "4",
        "System.PullRequest.PullRequestId": "7",
    }


@pytest.mark.embedded
@pytest.mark.parametrize("system", SCHEMAS)
def test_a_change_is_checked_beside_what_is_live_and_the_comparison_is_said(
    place, checkout, receiver, tmp_path, system
):
    def change(folder):
        toml = folder / "headrace.toml"
        toml.write_text(toml.read_text().replace("smoothing = 1.0", "smoothing = 2.0"))

    folder, before = checkout(change), place[1].audit(1)
    runner = Runner(folder, environment_of(system, place[1], receiver, tmp_path))
    failed = runner.run(jobs_of(system, folder / FILES[system])["check"])
    assert not failed, f"{failed}: {runner.said[-3000:]}"
    if system == "github":
        words, _, said = (tmp_path / "gh").read_text().partition("\n")
        assert words.startswith("pr comment 7 --edit-last --create-if-none --body-file")
    else:
        ((path, headers, body),) = receiver.got
        assert "7" in path and "a token" in (headers.get("PRIVATE-TOKEN", "") + headers.get("Authorization", ""))
        said = json.loads(body)["comments"][0]["content"] if system == "azure" else parse_qs(body)["body"][0]
    assert "smoothing" in said and "2.0" in said and "5.0" in said
    assert place[1].audit(1) == before, "nothing is written to the real workspace"


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("change", "step"),
    [
        (("churn.py", "import random\n", "import random\nimport os\n"), "Lint"),
        (("headrace.toml", "target  =", "targt  ="), ""),
        (("headrace.toml", "min = 0.7 ", "min = 0.999 "), "Train churn on a sample"),
        (("headrace.toml", "min    = 0.65", "min    = 0.999"), "Test churn"),
    ],
)
def test_a_change_that_falls_short_stops_at_its_step(place, checkout, receiver, tmp_path, change, step):
    file, before, after = change

    def spoil(folder):
        text = (folder / file).read_text()
        assert before in text
        (folder / file).write_text(text.replace(before, after))

    if not step:
        with pytest.raises(AssertionError):
            checkout(spoil)
        return
    folder = checkout(spoil)
    runner = Runner(folder, environment_of("github", place[1], receiver, tmp_path))
    assert runner.run(jobs_of("github", folder / FILES["github"])["check"]) == step


@pytest.mark.embedded
def test_what_is_merged_becomes_a_version_and_goes_live_when_somebody_says_so(place, checkout, receiver, tmp_path):
    ws = place[1]
    folder = checkout()
    jobs = jobs_of("github", folder / FILES["github"])
    runner = Runner(folder, {**environment_of("github", ws, receiver, tmp_path), "github.sha": "abc"})
    failed = runner.run(jobs["release"])
    assert not failed, f"{failed}: {runner.said[-3000:]}"
    newest = ws.versions("churn")[0]
    assert newest.number > 1 and "live" not in newest.aliases
    assert ws.tests(newest.reference).passed
    assert ws.run_store.get(newest.lineage.run).reason.startswith("merged")
    titles = [title for title, _, _ in jobs["deploy"]]
    assert titles == ["Install", "Make churn live", "Put churn on near"]
    failed = runner.run(jobs["deploy"])
    assert not failed, f"{failed}: {runner.said[-3000:]}"
    assert "live" in ws.version(newest.reference).aliases
    standing = ws.deployments("churn")[0]
    assert (standing.version, standing.target, standing.status) == (newest.number, "near", "deployed")
    for number in processes_in(folder):
        os.kill(number, 15)


def test_a_pipeline_is_not_written_over(place):
    done = headrace_command("init", str(place[0]), "--ci", "github")
    assert done.returncode == 4 and "headrace.yml is there" in done.stderr
