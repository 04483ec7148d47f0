"""A TypeScript client, generated from the server's own description: wrong use does not compile, right use answers."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.clients import absent
from tests.conftest import call

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("typescript")]

ROOT = Path(__file__).parents[2]
ROWS = [{"minutes": 45, "carrier": "UA"}, {"carrier": "AA"}]


def run(folder, *command):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def passes(folder, *command):
    done = run(folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A copy of the client's folder, with its packages."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        absent("node", "node and npm are not installed")
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(ROOT / "tests" / "typescript", folder, ignore=shutil.ignore_patterns("node_modules"))
    passes(folder, "npm", "ci", "--ignore-scripts", "--prefer-offline")
    return folder


@pytest.fixture
def url(registered, start_headrace):
    return start_headrace("--workspace", registered.places.url, "serve", "--port", "0")["url"]


@pytest.fixture
def client(installed, url):
    """The same folder, with types generated from what the server says of itself, and the example of the docs."""
    (installed / "openapi.json").write_text(json.dumps(call("GET", f"{url}/openapi.json")[1]))
    passes(installed, "node_modules/.bin/openapi-typescript", "openapi.json", "-o", "headrace.d.ts")
    example = re.search(r"```ts\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)[1]
    (installed / "example.ts").write_text(example.replace("http://127.0.0.1:8000", url))
    return installed


def test_it_compiles_and_understands_answers_and_refusals_as_python_does(client, url):
    passes(client, "node_modules/.bin/tsc")
    status, reply = call("POST", f"{url}/models/late/predict", {"rows": ROWS})
    assert status == 200
    predictions = [answer["prediction"] for answer in reply["predictions"]]
    shares = [answer["probabilities"]["true"] for answer in reply["predictions"]]
    status, error = call("POST", f"{url}/models/late/predict", {"minutes": "long", "carrier": "UA"})
    assert (status, error["field"]) == (422, "minutes")
    assert json.loads(passes(client, "node", "build/client.js", url)) == {
        "predictions": predictions,
        "shares": shares,
        "refusal": {"status": 422, "field": "minutes", "todo": error["todo"]},
    }
    shown = [f"{json.dumps(prediction)} {share:g}" for prediction, share in zip(predictions, shares, strict=True)]
    assert passes(client, "node", "build/example.js").splitlines() == shown == ["true 0.75", "false 0"]


def test_wrong_use_does_not_compile(client):
    wrong = client / "wrong.ts"
    marked = wrong.read_text()
    wrong.write_text(marked.replace("@ts-expect-error ", ""))
    done = run(client, "node_modules/.bin/tsc", "--noEmit")
    wrong.write_text(marked)
    expected = [
        (str(line + 1), mark[1])
        for line, text in enumerate(marked.splitlines(), 1)
        if (mark := re.match(r"// @ts-expect-error (TS\d+):", text))
    ]
    found = re.findall(r"^(\S+)\((\d+),\d+\): error (TS\d+)", done.stdout, re.MULTILINE)
    assert len(expected) >= 12
    assert found == [("wrong.ts", line, code) for line, code in expected], done.stdout
