"""What a version shows for itself: in formats that others read, and complete enough to be handed on."""

import json
import warnings

import pytest
import yaml
from tests.conftest import EXAMPLES, call, headrace_command

from headrace.registry.signatures import opened

OWNED = """purpose = "call those who may leave"
owners  = { accuracy = "anna@example.org", speed = "ben@example.org" }
slices = ["plan"]
"""


@pytest.fixture
def shown(ws, tmp_path):
    project = tmp_path / "p"
    project.mkdir()
    toml = (EXAMPLES / "starter" / "headrace.toml").read_text()
    (project / "headrace.toml").write_text(
        toml.replace('load = "churn:load"\n', 'load = "churn:load"\nnever = ["colour"]\n').replace(
            "seed    = 1\n", f"seed    = 1\n{OWNED.replace('slices = ', 'slices  = ')}"
        )
    )
    (project / "churn.py").write_text((EXAMPLES / "starter" / "churn.py").read_text())
    ws.run(project=project)
    return ws


def test_the_bill_of_materials_is_cyclonedx(shown):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = pytest.importorskip("cyclonedx.schema")
        validation = pytest.importorskip("cyclonedx.validation.json")
    text = shown.evidence("churn@1")["bom.cdx.json"]
    assert validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    model = bom["metadata"]["component"]
    assert (model["type"], model["version"]) == ("machine-learning-model", "1")
    assert model["hashes"][0]["content"] == shown.version("churn@1").digest
    assert {one["type"] for one in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]} >= {
        "accuracy",
        "roc_auc",
    }
    assert {one["name"] for one in bom["components"]} >= {"customers", "numpy", "polars"}


def test_the_model_card_is_hugging_faces(shown):
    _, head, text = shown.evidence("churn@1")["model-card.md"].split("---\n", 2)
    front = yaml.safe_load(head)
    result = front["model-index"][0]["results"][0]
    assert result["task"]["type"] == "tabular-classification"
    assert result["dataset"]["revision"] == shown.version("churn@1").lineage.snapshot
    assert {metric["type"] for metric in result["metrics"]} >= {"accuracy", "roc_auc"}
    assert "call those who may leave" in text
    assert "Where plan is basic" in text


def test_the_provenance_is_signed(shown):
    document = json.loads(shown.evidence("churn@1")["provenance.dsse.json"])
    statement, _ = opened(document, [shown.signing_key()])
    build = statement["predicate"]["buildDefinition"]
    digests = {one["name"].split(":")[0]: one["digest"]["sha256"] for one in build["resolvedDependencies"]}
    lineage = shown.version("churn@1").lineage
    assert (digests["snapshot"], digests["code"]) == (lineage.snapshot, lineage.code)
    assert build["externalParameters"]["parameters"] == {"smoothing": 1.0, "seed": 1}


def test_the_test_score_has_28_rows_and_grows_with_what_is_done(shown):
    before = json.loads(shown.evidence("churn@1")["ml-test-score.json"])
    assert len(before["tests"]) == 28
    assert before["score"] == min(before["sections"].values())
    why = {test["id"]: (test["points"], test["why"]) for test in before["tests"]}
    assert why["I1"] == (0, "missing: headrace prove churn@1")
    assert all(points or reason.startswith(("missing", "not")) for points, reason in why.values())
    assert why["D2"][0] == 1 and "3 columns" in why["D2"][1]
    assert "linear 0." in why["M5"][1] and why["D4"] == (1, "colour may not be used; a model that uses it is refused")
    card = shown.evidence("churn@1")["model-card.md"]
    assert "### Beside simpler models" in card and "| calls | " in card.split("### What its columns bring")[1]
    shown.prove("churn@1", same_environment=True)
    after = json.loads(shown.evidence("churn@1")["ml-test-score.json"])
    assert {t["id"]: t["points"] for t in after["tests"]}["I1"] == 1
    assert after["sections"]["infrastructure"] == before["sections"]["infrastructure"] + 1


def test_the_hand_off_sheet(shown, start_headrace):
    sheet = shown.evidence("churn@1")["hand-off.md"]
    for words in (
        "call those who may leave",
        "anna@example.org",
        "ben@example.org",
        "`months`: a whole number",
        "one row:",
    ):
        assert words in sheet
    shown.promote("churn@1")
    server = start_headrace("--workspace", shown.places.url, "serve", "--port", "0")
    body = sheet.split("curl -d '")[1].split("'")[0]
    status, reply = call("POST", f"{server['url']}/models/churn/predict", body.encode())
    assert (status, reply["model"]) == (200, "churn")


def test_a_version_without_a_project_has_evidence_too(registered):
    found = registered.evidence("late@1")
    assert "No held-out rows were given" in found["model-card.md"]
    assert "Not written down yet" in found["hand-off.md"]


def test_by_the_command_line(shown, tmp_path):
    words = ["--workspace", shown.places.url, "evidence", "churn@1"]
    assert headrace_command(*words, str(tmp_path / "out")).returncode == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(shown.evidence("churn@1"))
    assert headrace_command(*words, str(tmp_path / "out")).returncode == 4
    assert "# churn@1" in headrace_command(*words).stdout
