"""A server of one bundle, as in a container, keeps its predictions by the rule that came with it."""

import json

import pytest
from tests.conftest import call, headrace_command

from headrace.serving.secret import open_secret

pytestmark = pytest.mark.embedded


@pytest.fixture
def bundle(registered, tmp_path):
    version = registered.version("late@1")
    rule = tmp_path / "rule.json"
    rule.write_text('{"masked": ["minutes"], "hashed": ["carrier"]}')
    env = {"HEADRACE_RULE": str(rule), "HEADRACE_DIGEST": version.digest}
    return registered, {**env, "HEADRACE_BUNDLE": str(registered.version_store.folder(version))}


def test_what_may_not_be_written_down_is_not(bundle, start_headrace, tmp_path):
    ws, env = bundle
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/capture.key").write_bytes(ws.secret())
    env |= {"HEADRACE_CAPTURE": "-", "HEADRACE_KEYS": str(tmp_path / "keys")}
    server = start_headrace("serve", "--port", "0", "--grpc-port", "off", env=env)
    reply = call("POST", f"{server['url']}/predict", {"minutes": 12.5, "carrier": "UA"})[1]
    line = json.loads(server["process"].stdout.readline())
    assert line["id"] == f"{reply['id']}.0"
    assert "minutes" not in line["input"] and "12.5" not in json.dumps(line["input"])
    assert line["input"]["carrier"] not in ("UA", None), "a hash stands for it"
    again = start_headrace("serve", "--port", "0", "--grpc-port", "off", env=env)
    call("POST", f"{again['url']}/predict", {"minutes": 1.0, "carrier": "UA"})
    assert json.loads(again["process"].stdout.readline())["input"]["carrier"] == line["input"]["carrier"]


def test_hashes_without_their_secret_are_refused_at_the_start(bundle, tmp_path):
    _, env = bundle
    for keys in ({}, {"HEADRACE_KEYS": str(tmp_path / "nothing")}):
        done = headrace_command("serve", "--port", "0", env={**env, **keys, "HEADRACE_CAPTURE": str(tmp_path / "kept")})
        assert done.returncode == 2 and "The columns carrier are kept as hashes" in done.stderr
        assert not (tmp_path / "nothing").exists(), "no other secret is made up"
    assert open_secret(bundle[0].places.capture_key) == bundle[0].secret()


def test_nothing_is_kept_where_nobody_asked(bundle, start_headrace, tmp_path):
    server = start_headrace("serve", "--port", "0", "--grpc-port", "off", env=bundle[1])
    assert call("POST", f"{server['url']}/predict", {"minutes": 12.5, "carrier": "UA"})[0] == 200
    assert not (tmp_path / "predictions").exists()
