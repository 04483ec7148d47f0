"""A `python_function` of somebody's own, saved by MLflow: taken by the operator's word, and served without MLflow's files."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from tests.conftest import call

from headrace.kernel.errors import InvalidInput, NotTrusted

pytest.importorskip("mlflow.pyfunc", reason="MLflow is not installed")

SAVE = """
import json, sys, mlflow.pyfunc

class Limit(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        with open(context.artifacts["limit"]) as file:
            self.limit = json.load(file)["limit"] + context.model_config.get("more", 0)
    def predict(self, context, model_input, params=None):
        return (model_input["minutes"] > self.limit).map({True: "late", False: "on time"})

class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, model_input):
        return (2 * model_input["minutes"]).to_frame("twice")

class Lazy(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        with open(context.artifacts["limit"]) as file:
            return model_input["minutes"] + json.load(file)["limit"]

class Two(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return model_input[["minutes", "minutes"]]

name, folder, limit = sys.argv[1:]
more = {"artifacts": {"limit": limit}} if name in ("Limit", "Lazy") else {}
more |= {"model_config": {"more": 5}} if name == "Limit" else {}
mlflow.pyfunc.save_model(folder, python_model=globals()[name](), pip_requirements=[], **more)
"""
ROWS = pd.DataFrame({"minutes": [float(i % 60) for i in range(300)], "carrier": ["UA", "AA", "B6"] * 100})


@pytest.fixture
def saved(tmp_path):
    """Saves a model of one of the classes above, as MLflow does."""
    (tmp_path / "limit.json").write_text(json.dumps({"limit": 25.0}))

    def save(name):
        folder = tmp_path / name
        words = [name, str(folder), str(tmp_path / "limit.json")]
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SAVE, *words], check=True, capture_output=True, timeout=120
        )
        return folder

    return save


def test_it_is_taken_by_the_operators_word_and_needs_its_folder_no_more(ws, saved, tmp_path, start_headrace):
    folder = saved("Limit")
    with pytest.raises(NotTrusted, match="pickle, which can run any code"):
        ws.register("late", folder, example=ROWS)
    labelled = ROWS.assign(answer=["late", "on time"] * 150)
    version = ws.register("late", folder, example=labelled, target="answer", trust=True)
    assert (version.task, version.runtime) == ("binary", "reference")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "limit.json").unlink()
    ws.promote("late@1")
    server = start_headrace("--workspace", ws.places.url, "serve", "--port", "0")
    rows = [{"minutes": 30.0, "carrier": "UA"}, {"minutes": 31.0, "carrier": "UA"}]
    status, reply = call("POST", f"{server['url']}/models/late/predict", {"rows": rows})
    assert status == 200 and [one["prediction"] for one in reply["predictions"]] == ["on time", "late"]
    assert {entry.action for entry in ws.audit(5)} >= {"register", "trust", "promote"}


def test_a_frame_of_one_column_is_a_number_for_each_row(ws, saved):
    version = ws.register("twice", saved("Twice"), example=ROWS, trust=True)
    assert version.task == "regression"
    assert ws.predict("twice", ROWS.head(3))["prediction"].to_list() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize(("name", "says"), [("Lazy", "reads its artifacts again"), ("Two", r"shape \(\d+, 2\)")])
def test_what_could_not_be_served_is_refused(ws, saved, name, says):
    with pytest.raises(InvalidInput, match=says):
        ws.register("m", saved(name), example=ROWS, trust=True)
    assert ws.models() == []


@pytest.mark.parametrize("path", ["../limit.json", "/etc/passwd", "artifacts/../../limit.json", "nothing.json"])
def test_artifacts_lie_in_the_models_own_folder(ws, saved, path):
    import yaml

    folder = saved("Limit")
    document = yaml.safe_load((folder / "MLmodel").read_text())
    document["flavors"]["python_function"]["artifacts"]["limit"]["path"] = path
    (folder / "MLmodel").write_text(yaml.safe_dump(document))
    with pytest.raises((NotTrusted, InvalidInput), match=r"not inside its own folder|lacks"):
        ws.register("m", folder, example=ROWS, trust=True)
