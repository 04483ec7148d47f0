"""A model in a file, whatever wrote it, becomes a version and answers as it did; and it can be given back."""

import json
import pickle
import subprocess
import sys

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.conftest import address, headrace_command

import headrace
from headrace.kernel.errors import Conflict, InvalidInput, NotTrusted
from headrace.mlflow import _load_pyfunc

skops_io = pytest.importorskip("skops.io")


@pytest.fixture(scope="module")
def rows():
    chance = np.random.default_rng(3)
    return pd.DataFrame({"a": chance.normal(size=400), "b": chance.choice(list("xyz"), 400)})


@pytest.fixture(scope="module")
def fitted(rows):
    encoding = ColumnTransformer([("n", StandardScaler(), ["a"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["b"])])
    return make_pipeline(encoding, LogisticRegression()).fit(rows, rows["a"] + (rows["b"] == "x") > 0.4)


def same(ws, reference, expected, rows):
    answers = ws.predict(reference, rows)
    assert answers["prediction"].to_list() == list(expected.predict(rows))
    shares = answers.select(pl.col("^probability.*$")).to_numpy()
    assert np.allclose(shares, expected.predict_proba(rows), rtol=0, atol=1e-12)


PICKLES = {
    "m.pkl": pickle.dumps,
    "m.cloudpickle": cloudpickle.dumps,
    "m.joblib": lambda fitted: _joblib(fitted, 0),
    "packed.joblib": lambda fitted: _joblib(fitted, 3),
}


def _joblib(fitted, compress):
    import io

    held = io.BytesIO()
    joblib.dump(fitted, held, compress=compress)
    return held.getvalue()


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_by_the_operators_word_is_stored_as_skops(ws, fitted, rows, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PICKLES[name](fitted))
    with pytest.raises(NotTrusted, match=r"sklearn\.compose\._column_transformer\.ColumnTransformer"):
        ws.register("m", path, example=rows)
    version = ws.register("m", path, example=rows, trust=True)
    assert version.runtime == "graph"
    assert [p.name for p in (ws.places.bundles / version.digest / "reference").iterdir()] == ["model.skops"]
    same(ws, "m@1", fitted, rows)
    trust, register = ws.audit(2)
    assert (trust.action, register.action) == ("trust", "register")
    assert trust.detail["file"] == name
    assert "sklearn.pipeline.Pipeline" in trust.detail["types"]


def test_a_skops_file_needs_nobodys_word(ws, fitted, rows, tmp_path):
    skops_io.dump(fitted, tmp_path / "m.bin")
    assert ws.register("m", tmp_path / "m.bin", example=rows).task == "binary"
    same(ws, "m@1", fitted, rows)


def test_boosters_in_their_own_files(ws, rows, tmp_path):
    lightgbm, xgboost, catboost = (pytest.importorskip(name) for name in ("lightgbm", "xgboost", "catboost"))
    target = rows["a"] > 0.2
    numbers = rows[["a"]]
    booster = lightgbm.train({"verbose": -1, "objective": "binary"}, lightgbm.Dataset(numbers, target), 5)
    booster.save_model(tmp_path / "light.txt")
    classifier = xgboost.XGBClassifier(n_estimators=4).fit(numbers, target)
    for ending in ("json", "ubj"):
        classifier.save_model(tmp_path / f"x.{ending}")
    cats = catboost.CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False).fit(numbers, target)
    cats.save_model(str(tmp_path / "c.cbm"))
    version = ws.register("light", tmp_path / "light.txt", example=rows)
    assert (version.task, version.runtime) == ("regression", "graph")
    assert ws.predict("light", numbers)["prediction"].to_list() == pytest.approx(booster.predict(numbers), abs=1e-12)
    for ending in ("json", "ubj"):
        assert ws.register(f"x-{ending}", tmp_path / f"x.{ending}", example=rows).task == "binary"
        shares = ws.predict(f"x-{ending}", numbers).select("probability.1").to_series()
        assert shares.to_list() == classifier.predict_proba(numbers)[:, 1].astype(float).tolist()
    assert ws.register("c", tmp_path / "c.cbm", example=rows).task == "binary"
    shares = ws.predict("c", numbers).to_numpy()[:, -1].astype(float)
    assert np.allclose(shares, cats.predict_proba(numbers)[:, 1], rtol=0, atol=1e-12)


def test_what_stands_there_is_told_by_its_content(ws, rows, tmp_path):
    for content, says in ((b"", "is empty"), (b"hello, world", "none of the forms"), (b"PK\x03\x04broken", "damaged")):
        (tmp_path / "model.pkl").write_bytes(content)
        with pytest.raises(InvalidInput, match=says):
            ws.register("m", tmp_path / "model.pkl", example=rows)
    with pytest.raises(InvalidInput, match="There is no file"):
        ws.register("m", tmp_path / "nothing.pkl", example=rows)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidInput, match="without MLmodel"):
        ws.register("m", tmp_path / "folder", example=rows)
    assert ws.models() == []


def test_a_bundle_goes_to_another_registry_and_answers_the_same(ws, fitted, rows, tmp_path):
    ws.register("m", fitted, example=rows)
    ws.export("m@1", tmp_path / "out")
    (tmp_path / "key.pub").write_bytes(ws.signing_key().pem)
    other = headrace.open(address(tmp_path / "other"))
    with pytest.raises(NotTrusted, match="not by a key"):
        other.register("taken", tmp_path / "out")
    assert other.models() == []
    other.trust_key(tmp_path / "key.pub")
    assert other.register("taken", tmp_path / "out").certificate.passed
    same(other, "taken@1", fitted, rows)
    with pytest.raises(Conflict, match="Something stands"):
        ws.export("m@1", tmp_path / "out")
    other.close()


def test_an_unknown_hands_bundle_is_taken_by_the_operators_word_alone(ws, fitted, rows, tmp_path):
    ws.register("m", fitted, example=rows)
    ws.export("m@1", tmp_path / "out")
    other = headrace.open(address(tmp_path / "other"))
    assert other.register("m", tmp_path / "out", trust=True).number == 1
    assert other.audit(1)[0].action == "trust"
    other.close()


def test_the_mlflow_form_predicts_the_same(ws, fitted, rows, tmp_path):
    ws.register("m", fitted, example=rows)
    ws.export("m@1", tmp_path / "out", "mlflow")
    model = _load_pyfunc(str(tmp_path / "out" / "bundle"))
    assert model.predict(rows).tolist() == list(fitted.predict(rows))
    shares = model.predict(rows, {"answer": "probability"})
    assert np.allclose(shares, fitted.predict_proba(rows), rtol=0, atol=1e-12)


def test_by_the_command_line(ws, fitted, rows, tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(fitted))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    words = ["--workspace", ws.places.url]
    refused = headrace_command(*words, "register", "m", "m.pkl", "--example", "rows.csv", cwd=tmp_path)
    assert refused.returncode == 4
    assert "say --trust" in refused.stderr
    taken = headrace_command(*words, "register", "m", "m.pkl", "--example", "rows.csv", "--trust", cwd=tmp_path)
    assert taken.returncode == 0, taken.stderr
    assert headrace_command(*words, "export", "m@1", "out", "--as", "mlflow", cwd=tmp_path).returncode == 0
    assert headrace_command(*words, "export", "m@1", "out", "--as", "tarball", cwd=tmp_path).returncode == 2
    pem = headrace_command(*words, "keys", "signer").stdout
    assert pem.encode() == ws.signing_key().pem


def test_the_onnx_form_predicts_the_same_without_headrace(ws, fitted, rows, tmp_path):
    ws.register("m", fitted, example=rows)
    words = ["--workspace", ws.places.url]
    assert headrace_command(*words, "export", "m@1", "out", "--as", "onnx", cwd=tmp_path).returncode == 0
    script = f"""
import sys
import json, numpy as np, onnxruntime
session = onnxruntime.InferenceSession({str(tmp_path / "out" / "model.onnx")!r})
a, b = json.load(sys.stdin)
feeds = {{"a": np.array(a).reshape(-1, 1), "b": np.array(b, dtype=object).reshape(-1, 1)}}
label, shares, refused = session.run(["label", "probabilities", "refused"], feeds)
assert "headrace" not in sys.modules and not refused.any()
json.dump([label.tolist(), shares.tolist()], sys.stdout)
"""
    asked = json.dumps([rows["a"].tolist(), rows["b"].tolist()])
    done = subprocess.run([sys.executable, "-c", script], input=asked, capture_output=True, text=True, check=True)
    labels, shares = json.loads(done.stdout)
    assert labels == list(fitted.predict(rows))
    assert np.allclose(shares, fitted.predict_proba(rows), rtol=0, atol=1e-12)
    assert "| `b` | string" in (tmp_path / "out" / "README.md").read_text()


def test_what_onnx_cannot_say_is_refused_and_leaves_nothing(ws, rows, tmp_path):
    words = make_pipeline(ColumnTransformer([("t", CountVectorizer(), "b")]), LogisticRegression())
    ws.register("m", words.fit(rows.assign(b="flight " + rows["b"]), rows["a"] > 0), example=rows.assign(b="flight"))
    with pytest.raises(InvalidInput, match="cannot be given as one ONNX file: the words of the column 'b'"):
        ws.export("m@1", tmp_path / "out", "onnx")
    assert list(tmp_path.glob("*out*")) == []
