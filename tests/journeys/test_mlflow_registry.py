"""A team that has an MLflow server: its models come over by name and alias, and ours go into `mlflow.pyfunc`."""

import os
import socket
import subprocess
import urllib.request

import numpy as np
import pandas as pd
import pytest
from tests.clients import PYTHON, absent, run_client
from tests.conftest import eventually

from headrace.kernel.errors import NotTrusted, Unavailable

pytestmark = pytest.mark.servers

TRAIN = """
import json, sys, numpy as np, pandas as pd, mlflow, mlflow.sklearn, mlflow.xgboost
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
mlflow.set_tracking_uri(sys.argv[1])
rows = pd.read_csv(sys.argv[2])
encoding = ColumnTransformer([("n", StandardScaler(), ["a"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["b"])])
fitted = make_pipeline(encoding, LogisticRegression()).fit(rows, rows["a"] > 0)
for form in ("skops", "cloudpickle"):
    with mlflow.start_run():
        mlflow.sklearn.log_model(fitted, name="model", registered_model_name="churn", serialization_format=form)
mlflow.MlflowClient().set_registered_model_alias("churn", "champion", 1)
print(json.dumps(fitted.predict_proba(rows)[:, 1].tolist()))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not PYTHON.exists():
        absent("clients", "the environment of other people's clients is absent: make .venv/clients.done")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        eventually(lambda: _answers(f"http://127.0.0.1:{port}/health"), 90)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


@pytest.mark.filterwarnings("ignore")
def test_models_of_a_live_server(ws, server, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    chance = np.random.default_rng(1)
    rows = pd.DataFrame({"a": chance.normal(size=200), "b": chance.choice(list("xyz"), 200)})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    expected = run_client(TRAIN, server, str(tmp_path / "rows.csv"))
    for reference in ("models:/churn@champion", "models:/churn/1"):
        version = ws.register("churn", reference, example=rows)
        assert version.runtime == "graph"
        shares = ws.predict(version.reference, rows)["probability.true"].to_list()
        assert shares == pytest.approx(expected, abs=1e-12)
    with pytest.raises(NotTrusted, match=r"sklearn\.pipeline\.Pipeline"):
        ws.register("churn", "models:/churn/2", example=rows)
    assert ws.register("churn", "models:/churn/2", example=rows, trust=True).number == 3
    with pytest.raises(Unavailable, match="could not be fetched"):
        ws.register("churn", "models:/nothing/1", example=rows)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable, match="could not be fetched"):
        ws.register("churn", "models:/churn/1", example=rows)


@pytest.mark.filterwarnings("ignore")
def test_our_mlflow_form_in_their_pyfunc(registered, tmp_path):
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    rows = pd.DataFrame({"minutes": [12.0, None, 44.0], "carrier": ["UA", "AA", "B6"]})
    registered.export("late@1", tmp_path / "out", "mlflow")
    model = pyfunc.load_model(str(tmp_path / "out"))
    ours = registered.predict("late@1", rows)
    assert list(model.predict(rows)) == ours["prediction"].to_list()
    shares = model.predict(rows, params={"answer": "probability"})
    assert [share[1] for share in shares] == ours["probability.true"].to_list()
    assert [column["name"] for column in model.metadata.signature.inputs.to_dict()] == ["minutes", "carrier"]
