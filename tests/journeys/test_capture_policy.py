"""What a project says must not be written down is not, from its file to the disk: answered, refused, traced."""

import contextlib
import json
import shutil
import urllib.request
from datetime import timedelta

import polars as pl
import pytest
from tests.conftest import EXAMPLES, call, eventually, headrace_command

import headrace
from headrace.kernel.clock import utc_now
from headrace.monitoring.keys import hashed_keys

POLICY = """
answer = "probability"

[model.churn.capture]
mask = ["plan"]
hash = ["customer"]
"""
SECRET = {"customer": 987654321, "plan": "plan of a named person", "months": 3, "calls": 9}


def test_a_project_says_what_is_never_written_down(tmp_path, start_headrace):
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLES / "starter", folder)
    file = folder / "headrace.toml"
    before, gate = file.read_text().split("\n[model.churn.gate]")
    file.write_text(f"{before}{POLICY}\n[model.churn.gate]{gate}")
    for words in (["run"], ["promote", "churn@1"]):
        done = headrace_command(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    root = folder / ".headrace"
    server = start_headrace("--workspace", str(root), "serve", "--port", "0", "--capture", "durable")
    url = f"{server['url']}/models/churn"
    answered = [call("POST", f"{url}/predict", SECRET)[1]["id"] for _ in range(2)]
    status, shares = call("POST", f"{url}/invocations", {"dataframe_records": [SECRET]})
    assert status == 200 and len(shares["predictions"][0]) == 2
    status, error = call("POST", f"{url}/predict", {**SECRET, "months": "a secret month"})
    assert status == 422 and error["field"] == "months"
    with contextlib.closing(headrace.open(root)) as ws:
        rows = eventually(lambda: (f := ws.tables.ingest()).height >= 3 and [f])[0]
        kept = rows.filter(rows["request"].is_in(answered))
        assert {tuple(json.loads(text)) for text in kept["features"]} == {("months", "calls")}
        keys = {json.loads(text)["customer"] for text in kept["key"]}
        assert len(keys) == 1 and keys.pop().startswith("hash:")
        assert ws.record_outcomes([{"customer": 987654321, "outcome": True}]) == 1
        assert [o["outcome"] for o in ws.trace(f"{answered[0]}.0")["outcomes"]] == [True]
        ws.tables.ingest()
        assert [o["outcome"] for o in ws.trace(f"{answered[0]}.0")["outcomes"]] == [True]
    for told in ("/docs", "/openapi.json", "/models/churn/schema"):
        with urllib.request.urlopen(server["url"] + told) as response:
            page = response.read()
        assert b"pro" not in page.replace(b"probabilit", b"").replace(b"process", b"").replace(b"propert", b""), told
        assert b"months" in page and b'"customer": 0' not in page
    server["process"].terminate()
    server["process"].wait(30)
    for path in root.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in (b"987654321", b"plan of a named", b"a secret month"):
            assert secret not in content, path


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ('mask = ["plann"]', "which the dataset does not have"),
        ('hash = ["customer", "plann"]', "which the dataset does not have"),
        ('mask = ["plan"]\nhash = ["plan"]', "masked and hashed"),
        ('mask = ["customer"]', "is a key"),
    ],
)
def test_a_policy_that_would_not_hold_is_refused(tmp_path, policy, says):
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLES / "starter", folder)
    file = folder / "headrace.toml"
    file.write_text(f"{file.read_text()}\n[model.churn.capture]\n{policy}\n")
    done = headrace_command("run", cwd=folder)
    assert done.returncode != 0 and says in " ".join(done.stderr.split()), done.stderr
    assert '"versions":1' not in headrace_command("models", "--json", cwd=folder).stdout


def test_outcomes_by_a_hashed_key_find_the_predictions_of_other_models_too(registered):
    """A model that hashes its key makes outcomes by that key hashed; another model's raw keys are held against them."""
    row = {"id": "a.0", "model": "late", "key": '{"k":7}', "features": "{}"}
    frame = pl.DataFrame([row])
    document = json.loads(registered.places.objects.latest(registered.places.routes).read_bytes())
    assert hashed_keys(registered.places).joined(frame)["key"].to_list() == ['{"k":7}']
    document["rules"] = {"other": {"hashed": ["k"]}}
    registered.places.objects.put(registered.places.routes, json.dumps(document).encode())
    hashes = hashed_keys(registered.places)
    (joined,) = hashes.joined(frame)["key"].to_list()
    assert joined == hashes.of({"k": 7}) == hashes.of(json.loads(joined)) and "hash:" in joined
    registered.record_outcomes([{"k": 7, "outcome": 1}])
    registered.tables.ingest()
    now = utc_now().replace(tzinfo=None)
    kept = registered.tables.outcomes(now - timedelta(days=1), now + timedelta(days=1))
    assert kept["key"].to_list() == [joined]
