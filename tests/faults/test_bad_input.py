"""Every bad input gets a clear error with what to do, no traceback, and leaves nothing half-written."""

import os
import socket
import sqlite3
import subprocess

import pytest
from tests.conftest import EXAMPLES, headrace_command

CHURN = (EXAMPLES / "starter" / "churn.py").read_text()
TOML = (EXAMPLES / "starter" / "headrace.toml").read_text()


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "headrace.toml").write_text(TOML)
    (folder / "churn.py").write_text(CHURN)
    return folder


def refused(*words, cwd, code, says, env=None):
    done = headrace_command(*words, cwd=cwd, env=env)
    said = " ".join(done.stderr.split())
    assert done.returncode == code, said
    assert "Traceback" not in done.stderr + done.stdout
    assert says in said, said
    assert "to do:" in said
    return said


def nothing_registered(project):
    done = headrace_command("models", "--json", cwd=project)
    return all(m["versions"] == 0 for m in __import__("json").loads(done.stdout))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('target  = "churned"', 'target  = "left"', "target column 'left' is not in the data"),
        ('key  = ["customer"]', 'key  = ["client"]', "key column 'client' is not in the data"),
        ('train   = "churn:train"', 'train   = "churn:fit"', "churn:fit cannot be imported"),
        ('train   = "churn:train"', 'trian   = "churn:train"', "line 11"),
        ("seed    = 1", 'seed    = "one"', "line 13"),
        ("seed    = 1", "seed    = ", "is not TOML"),
        ("seed    = 1", 'retrain = { on = ["99 3 * * 1"] }', "unknown trigger '99 3 * * 1'"),
        ('dataset = "customers"', 'dataset = "clients"', "unknown dataset 'clients'"),
        ("[model.churn]", '[model."a/b"]', "cannot be the name of a model"),
        ("accuracy = { min = 0.7 }", "accuracy = { mim = 0.7 }", "unknown key 'mim'"),
        ("accuracy = { min = 0.7 }", "auc = { min = 0.7 }", "the metric 'auc'"),
        ("test = 0.25", 'test = "soon"', "split"),
        ("smoothing = 1.0", "smoothness = 1.0", "does not take the parameter 'smoothness'"),
    ],
)
def test_a_wrong_project_file(project, before, after, says):
    assert before in TOML
    (project / "headrace.toml").write_text(TOML.replace(before, after))
    refused("run", cwd=project, code=2, says=says)
    assert nothing_registered(project)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "    return ByGroup(frame, smoothing)",
            "    raise ValueError('no luck')",
            "churn:train raised ValueError: no luck (churn.py, line",
        ),
        ("    return ByGroup(frame, smoothing)", "    return 42", "has no method 'predict'"),
        ("    return pl.DataFrame(rows)", "    return pl.DataFrame(rows).head(0)", "0 rows"),
        ("    return pl.DataFrame(rows)", "    return 'customers.csv'", "no file customers.csv"),
        ("    return pl.DataFrame(rows)", "    return None", "is not a table"),
        ("import polars as pl", "import polars as pl\nimport nothing_like_this", "nothing_like_this"),
    ],
)
def test_a_function_that_goes_wrong(project, before, after, says):
    assert before in CHURN
    (project / "churn.py").write_text(CHURN.replace(before, after))
    refused("run", cwd=project, code=2, says=says)
    assert nothing_registered(project)


def test_no_project_at_all(tmp_path):
    refused("run", cwd=tmp_path, code=2, says="There is no headrace.toml")


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "A"])
def test_a_bad_name(tmp_path, name):
    refused("show", name, cwd=tmp_path, code=2, says="cannot be the name of a model")


def test_what_is_not_there(tmp_path):
    refused("show", "nobody@3", cwd=tmp_path, code=3, says="no version 'nobody@3'")
    refused("trace", "x", cwd=tmp_path, code=3, says="no prediction 'x'")


def test_a_port_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for verb in ("serve", "console"):
            refused(verb, "--port", port, cwd=tmp_path, code=5, says=f"Port {port} on 127.0.0.1 cannot be used")
    refused("serve", "--host", "0.0.0.0", cwd=tmp_path, code=4, says="must show a key")


def test_a_workspace_of_a_newer_version(tmp_path):
    headrace_command("models", cwd=tmp_path)
    connection = sqlite3.connect(tmp_path / ".headrace" / "headrace.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    assert headrace_command("models", cwd=tmp_path).returncode == 0  # it may go on, as long as the later one lets it
    connection.execute("UPDATE compatibility SET oldest = '9999'")
    connection.commit()
    connection.close()
    refused("models", cwd=tmp_path, code=5, says="written by a later Headrace")


def test_a_database_that_is_none(tmp_path):
    (tmp_path / ".headrace").mkdir()
    (tmp_path / ".headrace" / "headrace.db").write_bytes(b"this is not a database, not at all" * 100)
    refused("models", cwd=tmp_path, code=5, says="could not be used")


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of its own, 24 MB large."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system needs the right to mount one")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk(project, small_disk):
    ws = small_disk / "ws"
    assert headrace_command("--workspace", str(ws), "models").returncode == 0
    with (small_disk / "fill").open("wb") as file:
        try:
            while True:
                file.write(b"x" * 65536)
                file.flush()
        except OSError:
            pass
    done = headrace_command("--workspace", str(ws), "run", cwd=project)
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    assert "room" in done.stderr
    os.unlink(small_disk / "fill")
    assert "intact" in headrace_command("--workspace", str(ws), "audit", "--verify").stdout
    done = headrace_command("--workspace", str(ws), "run", cwd=project)
    assert done.returncode == 0, done.stderr


def test_a_read_only_disk(project, small_disk):
    ws = small_disk / "ws"
    headrace_command("--workspace", str(ws), "models")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    said = refused("--workspace", str(ws), "run", cwd=project, code=5, says="cannot be written: Read-only file system")
    assert "write permission" in said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("plan,months\nbasic,3\n", "lack the column 'calls'"),
        ("plan,months,calls\nbasic,soon,3\n", "Row 0, field 'months': 'soon' is not a whole number"),
        ("", "is empty"),
        ("plan,months,calls\n", "0 rows"),
    ],
)
def test_a_bad_csv(trained, content, says):
    (trained / "rows.csv").write_text(content)
    refused("predict", "churn", "rows.csv", cwd=trained, code=2, says=says)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "project"
    headrace_command("init", str(folder))
    assert headrace_command("run", cwd=folder).returncode == 0
    return folder


def test_a_gate_that_is_not_passed(project):
    (project / "headrace.toml").write_text(TOML.replace("min = 0.7", "min = 0.999"))
    assert headrace_command("run", cwd=project).returncode == 1
    refused("promote", "churn@1", cwd=project, code=1, says="did not pass its gate")


def test_a_bundle_that_was_altered(trained):
    bundle = next((trained / ".headrace" / "bundles").iterdir())
    path = next((bundle / "reference").iterdir())
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"!")
    refused("predict", "churn", "churn.py", cwd=trained, code=4, says="was altered")
    path.write_bytes(content)
    (bundle / "extra.txt").touch()
    refused("predict", "churn", "churn.py", cwd=trained, code=4, says="a file that is not its own")
    (bundle / "extra.txt").unlink()


def test_an_unknown_command_suggests_a_near_one(tmp_path):
    done = headrace_command("promte", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean promote" in done.stderr
