"""What a project says must not be written down is not, from its file to the disk: answered, refused, traced."""

import contextlib
import json
import shutil

from tests.conftest import EXAMPLES, call, eventually, headrace_command

import headrace

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
        assert ws.trace(answered[0])
    server["process"].terminate()
    server["process"].wait(30)
    for path in root.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in (b"987654321", b"plan of a named", b"a secret month"):
            assert secret not in content, path
