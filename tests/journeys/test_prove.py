"""A version is made again from its records; where it is not the same, the first input that differs is named."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import eventually, headrace_command

import headrace
from headrace.kernel.errors import InvalidInput
from headrace.registry.signatures import opened

TOML = """
[project]
name = "p"
[dataset.data]
load = "things:load"
{key}
[model.m]
dataset = "data"
target  = "y"
train   = "things:train"
params  = {{ depth = 3 }}
seed    = 5
threads = 1
split   = {{ by = "random", test = 0.25 }}
"""
CODE = """
import pandas
from sklearn.ensemble import HistGradientBoostingClassifier
{imports}
def load():
    return pandas.read_csv("{folder}/data.csv")

def train(frame, depth, seed):
    X, y = frame[["a", "b"]], frame["y"]
    return HistGradientBoostingClassifier(max_depth=depth, max_iter=12, random_state=seed).fit(X, y)
"""


def rows(count=900):
    import random

    chance = random.Random(4)
    made = [(i, chance.gauss(0, 1), chance.gauss(0, 1)) for i in range(count)]
    return pl.DataFrame([{"id": i, "a": a, "b": b, "y": int(a + b * b > 0.5)} for i, a, b in made])


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    rows().write_csv(tmp_path / "data.csv")
    (folder / "headrace.toml").write_text(TOML.format(key='key = ["id"]'))
    (folder / "things.py").write_text(CODE.format(folder=tmp_path, imports=""))
    return folder


@pytest.fixture
def made(ws, project):
    ws.run(project=project)
    return ws


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_from_its_records_alone(made):
    proof = made.prove("m@1", same_environment=True)
    assert (proof.level, proof.diverged, proof.repeats, proof.passed) == ("L0", "", True, True)
    assert proof.rows >= 1000
    assert all(one.same for one in proof.inputs)
    assert [one.name for one in proof.inputs] == ["data", "code", "parameters", "threads", "python", "environment", "hardware"]  # fmt: skip
    statement, key = opened(proof.statement, [made.signing_key()])
    assert key.id == made.signing_key().id
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": "m@1", "digest": {"sha256": made.version("m@1").digest}}]
    assert made.proofs("m@1") == [proof]
    assert made.audit(1)[0].action == "prove"
    assert made.verify_audit().intact


def change_a_cell(folder):
    frame = pl.read_csv(folder.parent / "data.csv")
    changed = frame.with_columns(a=pl.when(pl.col("id") == 17).then(9.5).otherwise(pl.col("a")))
    changed.write_csv(folder.parent / "data.csv")


def inject_rows(folder):
    frame = pl.read_csv(folder.parent / "data.csv")
    extra = frame.head(3).with_columns(id=pl.Series([9001, 9002, 9003]), y=pl.lit(1, pl.Int64))
    pl.concat([frame, extra]).write_csv(folder.parent / "data.csv")


def change_the_library(folder):
    write_library(folder.parent, "2.0")


CHANGES = {
    "a cell": (change_a_cell, r"^data: 1 rows changed; a of id 17 was"),
    "injected rows": (inject_rows, r"^data: 3 rows added; added id 9001"),
    "a parameter": (lambda f: edit(f / "headrace.toml", "depth = 3", "depth = 4"), r"^parameters: depth was 3 and is 4"),
    "the seed": (lambda f: edit(f / "headrace.toml", "seed    = 5", "seed    = 6"), r"^parameters: seed was 5 and is 6"),
    "threads": (lambda f: edit(f / "headrace.toml", "threads = 1", "threads = 2"), "^threads: 1 threads were set and 2 are"),
    "a line of code": (lambda f: edit(f / "things.py", "max_iter=12", "max_iter=13"), r"^code: things\.py, line 10: was 'return HistGradient"),
}  # fmt: skip
SAME_MODEL = ("threads",)
EACH_TIME = ("a cell", "threads", "a line of code")


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[] if what in EACH_TIME else [pytest.mark.soak]) for what in CHANGES]
)
def test_the_first_input_that_is_not_the_recorded_one_is_named(made, project, what):
    import re

    change, named = CHANGES[what]
    change(project)
    proof = made.prove("m@1", same_environment=True, project=project)
    assert re.search(named, proof.diverged), proof.diverged
    assert not proof.passed
    assert (proof.level in ("L0", "L1")) == (what in SAME_MODEL), proof.level
    if what in ("a cell", "a line of code"):
        assert made.prove("m@1", same_environment=True).passed, "the records themselves still hold"


def test_row_order_is_named(ws, project):
    (project / "headrace.toml").write_text(TOML.format(key=""))
    ws.run(project=project)
    pl.read_csv(project.parent / "data.csv").reverse().write_csv(project.parent / "data.csv")
    proof = ws.prove("m@1", same_environment=True, project=project)
    assert proof.diverged == "data: the same rows in another order"
    assert proof.level not in ("L0", "L1")


def write_library(folder: Path, version: str) -> None:
    """A distribution as pip would leave it."""
    import base64
    import hashlib

    for old in folder.glob("tinylib*"):
        subprocess.run(["rm", "-r", str(old)], check=True)
    content = f"SCALE = {version}\n".encode()
    (folder / "tinylib").mkdir()
    (folder / "tinylib" / "__init__.py").write_bytes(content)
    info = folder / f"tinylib-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tinylib\nVersion: {version}\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    (info / "RECORD").write_text(f"tinylib/__init__.py,sha256={digest},{len(content)}\n")


def test_a_library_of_another_version_or_content_is_named(ws, project, tmp_path, monkeypatch):
    library = tmp_path / "library"
    library.mkdir()
    write_library(library, "1.0")
    code = CODE.format(folder=tmp_path, imports=f"import sys; sys.path.append({str(library)!r}); import tinylib")
    (project / "things.py").write_text(code.replace('frame["y"]', 'frame["y"] * 1; X = X * tinylib.SCALE'))
    monkeypatch.setenv("PYTHONPATH", str(library))
    edit(project / "things.py", "import sys", f"import sys; sys.path.insert(0, {str(library)!r})\nimport sys")
    ws.run(project=project)
    assert ws.prove("m@1", same_environment=True).level == "L0"
    write_library(library, "2.0")
    proof = ws.prove("m@1", same_environment=True)
    assert proof.diverged == "environment: tinylib was 1.0 and is 2.0"
    write_library(library, "1.0")
    (library / "tinylib" / "__init__.py").write_text("SCALE = 3.0\n")
    record = next(library.glob("*.dist-info")) / "RECORD"
    record.write_text(record.read_text().replace("sha256=", "sha256=x"))
    proof = ws.prove("m@1", same_environment=True)
    assert proof.diverged == "environment: tinylib 1.0 has other files than were recorded"


@pytest.mark.embedded
def test_a_cell_altered_where_the_snapshot_is_stored_is_named(made):
    path = next((made.places.datasets / "data").glob("*.parquet"))
    frame = pl.read_parquet(path)
    altered = frame.with_columns(a=pl.when(pl.col("id") == 17).then(99.0).otherwise(pl.col("a")))
    altered.write_parquet(path)
    proof = made.prove("m@1", same_environment=True)
    assert proof.diverged == (
        "data: 900 rows stand there, 900 were kept; the first that differ are [17] in the columns a"
    )
    assert not proof.passed


def test_rows_quietly_injected_between_two_versions_are_named(made, project):
    inject_rows(project)
    made.run(project=project)
    proof = made.prove("m@2", same_environment=True)
    assert proof.passed
    (change,) = proof.changes
    assert change.startswith("data: 3 rows added; added id 9001"), change


def test_a_fitted_object_has_nothing_to_be_made_again_from(registered):
    with pytest.raises(InvalidInput, match="was registered as a fitted object"):
        registered.prove("late@1")


def test_a_worker_that_is_killed_in_a_proof_is_followed_by_another(made, tmp_path):
    def worker():
        command = [sys.executable, "-m", "headrace", "--workspace", made.places.url, "worker"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run = made.start_proof("m@1", same_environment=True)
    first = worker()
    eventually(lambda: any(s.name == "second" for s in made.run_store.get(run).steps), 60)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {s.name: s.attempts for s in made.run_store.get(run).steps if s.status == "done"}
    second = worker()
    try:
        eventually(lambda: made.run_store.get(run).status in ("done", "failed"), 90)
    finally:
        second.terminate()
        second.wait()
    after = {s.name: s.attempts for s in made.run_store.get(run).steps}
    assert {name: after[name] for name in before} == before
    assert made.wait_proof(run).level == "L0"
    assert len(made.proofs("m@1")) == 1


def test_by_the_command_line(made, project):
    words = ["--workspace", made.places.url]
    done = headrace_command(*words, "prove", "m@1", "--same-environment", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["level"] == "L0"
    edit(project / "things.py", "max_iter=12", "max_iter=3")
    done = headrace_command(*words, "prove", "m@1", "--same-environment", "--project", str(project))
    assert done.returncode == 1
    assert "what diverged first: code: things.py, line 10" in " ".join(done.stdout.split())
    assert headrace_command(*words, "prove", "m@9").returncode == 3


def test_replaying_a_prediction(registered, start_headrace):
    from tests.conftest import call

    server = start_headrace("--workspace", registered.places.url, "serve", "--port", "0")
    reply = call("POST", f"{server['url']}/predict", {"minutes": 41.5, "carrier": "UA"})[1]
    refused = call("POST", f"{server['url']}/predict", {"minutes": 1.0, "carrier": "explode"})
    assert refused[0] == 422
    found = eventually(lambda: _traced(registered, reply["id"]))
    assert found["replay"].verdict == "same"
    assert found["replay"].prediction is True
    words = ["--workspace", registered.places.url, "trace", reply["id"], "--replay"]
    assert headrace_command(*words).returncode == 0
    assert os.environ.get("HEADRACE_WORKSPACE") is None


def _traced(ws: headrace.Workspace, prediction: str):
    from headrace.kernel.errors import NotFound

    try:
        return ws.trace(prediction, replay=True)
    except NotFound:
        return None
