"""Where things come from and where they went: as a graph, and as events for others."""

import http.server
import json
import threading

import pytest
from tests.conftest import EXAMPLES, headrace_command

from headrace.kernel.errors import HeadraceError, NotFound


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    for name in ("headrace.toml", "churn.py"):
        (folder / name).write_text((EXAMPLES / "starter" / name).read_text())
    return folder


def test_the_graph_of_a_version_and_of_its_snapshot(ws, project):
    version = ws.run(project=project)
    ws.promote("churn@1", why="good enough")
    graph = ws.lineage("churn@1")
    kinds = {node.id.split(":")[0]: node.label for node in graph.nodes}
    assert set(kinds) == {"snapshot", "code", "run", "version", "promotion"}
    assert "good enough" in kinds["promotion"]
    said = {(edge.begin.split(":")[0], edge.what, edge.end.split(":")[0]) for edge in graph.edges}
    assert said == {
        ("snapshot", "was read by", "run"),
        ("code", "was run by", "run"),
        ("run", "made", "version"),
        ("version", "became", "promotion"),
    }
    names = {node.id for node in graph.nodes}
    assert all({edge.begin, edge.end} <= names for edge in graph.edges)
    assert ws.lineage(version.lineage.snapshot[:16]) == graph
    ws.run(project=project, smoothing=3.0)
    both = ws.lineage(version.lineage.snapshot)
    assert {node.label.split()[0] for node in both.nodes if node.kind == "version"} == {"churn@1", "churn@2"}
    for nothing in ("churn@9", "0123abcd", ""):
        with pytest.raises((NotFound, HeadraceError)):
            ws.lineage(nothing)
    done = headrace_command("--workspace", ws.places.url, "lineage", "churn", "--json")
    assert json.loads(done.stdout)["nodes"]


def check_event(event):
    """What OpenLineage's schema asks of a run event."""
    assert set(event) == {"eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"}
    assert len(event["run"]["runId"]) == 36
    facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
    facets += [facet for one in event["inputs"] + event["outputs"] for facet in one["facets"].values()]
    assert all({"_producer", "_schemaURL"} <= set(facet) for facet in facets)
    assert all(one["namespace"] and one["name"] for one in [event["job"], *event["inputs"], *event["outputs"]])


def test_runs_are_told_to_a_file(ws, project, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_OPENLINEAGE", str(tmp_path / "events.jsonl"))
    version = ws.run(project=project)
    (project / "churn.py").write_text((project / "churn.py").read_text().replace("return ByGroup(", "return ByGroop("))
    with pytest.raises(HeadraceError, match="ByGroop"):
        ws.run(project=project)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["eventType"] for event in events] == ["START", "COMPLETE", "START", "FAIL"]
    for event in events:
        check_event(event)
    assert events[1]["inputs"][0]["facets"]["version"]["datasetVersion"] == version.lineage.snapshot
    assert events[1]["outputs"][0]["facets"]["version"]["datasetVersion"] == "churn@1"
    assert "ByGroop" in events[3]["run"]["facets"]["errorMessage"]["message"]


def test_runs_are_told_to_a_url_and_do_not_wait_for_one_that_is_not_there(ws, project, monkeypatch):
    received = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HEADRACE_OPENLINEAGE", f"http://127.0.0.1:{server.server_port}/api/v1/lineage")
    ws.run(project=project)
    server.shutdown()
    server.server_close()
    assert [event["eventType"] for event in received] == ["START", "COMPLETE"]
    assert ws.run(project=project, smoothing=2.0).number == 2
    assert "was not delivered" in (ws.places.logs / "worker.log").read_text()
