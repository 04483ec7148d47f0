"""Where a project asks for it, a version becomes live only by another person's word."""

import json

import pytest
from tests.conftest import EXAMPLES, call, headrace_command

from headrace.kernel.errors import NotFound, Refused


@pytest.fixture
def asking(ws, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_WHO", "anna")
    project = tmp_path / "p"
    project.mkdir()
    toml = (EXAMPLES / "starter" / "headrace.toml").read_text()
    (project / "headrace.toml").write_text(toml.replace("seed    = 1\n", "seed    = 1\nrequire_approval = true\n"))
    (project / "churn.py").write_text((EXAMPLES / "starter" / "churn.py").read_text())
    ws.run(project=project)
    return ws


def test_another_person_must_approve(asking, monkeypatch):
    with pytest.raises(NotFound, match="Nobody asked"):
        asking.approve("churn@1")
    with pytest.raises(Refused, match=r"churn@1 waits for another person's approval, which anna asked for"):
        asking.promote("churn@1", why="the best so far")
    assert asking.version("churn@1").aliases == ()
    assert [(a.asked_by, a.why) for a in asking.approvals_waiting()] == [("anna", "the best so far")]
    with pytest.raises(Refused, match="anna asked for churn@1, and so may not approve it"):
        asking.approve("churn@1")
    monkeypatch.setenv("HEADRACE_WHO", "berta")
    assert asking.approve("churn@1", "I looked at its slices").aliases == ("live",)
    (move,) = asking.promotions.history("churn")
    assert (move.who, move.why) == ("anna", "the best so far")
    assert move.evidence == {"approved_by": "berta", "word": "I looked at its slices"}
    assert asking.approvals_waiting() == []
    assert [entry.action for entry in asking.audit(3)] == ["promote", "approve", "ask approval"]
    assert asking.approve("churn@1").aliases == ("live",)


def test_going_back_to_what_was_live_needs_nobody(asking, monkeypatch, tmp_path):
    asking.run(project=tmp_path / "p", smoothing=2.0)
    for number in (1, 2):
        monkeypatch.setenv("HEADRACE_WHO", "anna")
        with pytest.raises(Refused):
            asking.promote(f"churn@{number}")
        monkeypatch.setenv("HEADRACE_WHO", "berta")
        asking.approve(f"churn@{number}")
    monkeypatch.setenv("HEADRACE_WHO", "anna")
    assert asking.rollback("churn").number == 1


def test_other_aliases_need_nobody(asking):
    assert asking.promote("churn@1", alias="candidate").aliases == ("candidate",)


def test_by_the_command_line(asking):
    words = ["--workspace", asking.places.url]
    anna, berta = {"HEADRACE_WHO": "anna"}, {"HEADRACE_WHO": "berta"}
    assert headrace_command(*words, "promote", "churn@1", env=anna).returncode == 4
    assert json.loads(headrace_command(*words, "approve", "--json").stdout)[0]["asked_by"] == "anna"
    assert headrace_command(*words, "approve", "churn@1", env=anna).returncode == 4
    assert headrace_command(*words, "approve", "churn@1", "--why", "good", env=berta).returncode == 0
    assert asking.version("churn").aliases == ("live",)


def test_over_http_the_key_says_who_it_is(asking, start_headrace):
    import urllib.request

    keys = {name: asking.create_key(name, ["admin"])[1] for name in ("carla", "dora")}
    console = start_headrace("--workspace", asking.places.url, "console", "--port", "0", "--guarded")
    url = f"{console['url']}/api/models/churn/versions/1"

    def post(path, key):
        request = urllib.request.Request(
            f"{url}/{path}", b"{}", {"authorization": f"Bearer {keys[key]}"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert post("promote", "carla") == 403
    assert post("approve", "carla") == 403
    assert post("approve", "dora") == 200
    (move,) = asking.promotions.history("churn")
    assert (move.who, move.evidence["approved_by"]) == ("carla", "dora")
    assert call("GET", f"{console['url']}/api/approvals")[0] == 401
