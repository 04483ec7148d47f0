"""The same answer in every form: however the rows come, the schema brings them to the same doubles, or says why not."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.conftest import address, call

from headrace.kernel.errors import InvalidInput

pytest.importorskip("sklearn")
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

RANDOM = np.random.default_rng(8)
ROWS = 400
TABLE = pd.DataFrame(
    {
        "minutes": RANDOM.normal(30, 9, ROWS),
        "single": RANDOM.normal(size=ROWS).astype("float32"),
        "legs": pd.array(RANDOM.integers(1, 5, ROWS), dtype="Int64"),
        "night": RANDOM.random(ROWS) > 0.5,
        "carrier": RANDOM.choice(["AA", "B6", "UA"], ROWS),
    }
)
TABLE.loc[::10, "legs"] = pd.NA
TABLE.loc[::13, "minutes"] = np.nan
LATE = (TABLE["minutes"].fillna(30) > 31) ^ (TABLE["carrier"] == "UA")
ASKED = TABLE.iloc[:60]


def prepared():
    return make_column_transformer(
        (SimpleImputer(strategy="median"), ["minutes", "legs"]),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"]),
        ("passthrough", ["night", "single"]),
    )


MODELS = {
    "trees": lambda: make_pipeline(prepared(), HistGradientBoostingClassifier(max_iter=20)),
    "linear": lambda: make_pipeline(prepared(), StandardScaler(), LogisticRegression()),
    "python": lambda: make_pipeline(prepared(), StandardScaler(), GaussianProcessClassifier(max_iter_predict=5)),
}


@pytest.fixture(scope="module", params=list(MODELS))
def served(request, tmp_path_factory):
    import headrace

    ws = headrace.open(address(tmp_path_factory.mktemp("ws")))
    version = ws.register("late", MODELS[request.param]().fit(TABLE, LATE), example=TABLE)
    assert version.runtime == ("reference" if request.param == "python" else "graph"), version.uncompiled
    assert version.certificate.passed, version.certificate.failures
    yield ws, version
    ws.close()


def records(frame: pd.DataFrame) -> list[dict]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{name: _plain(value) for name, value in row.items()} for row in plain.to_dict("records")]


def _plain(value):
    return value.item() if hasattr(value, "item") else value


def test_frames_rows_files_and_http_agree_to_the_bit(served, start_headrace, tmp_path):
    ws, version = served
    expected = ws.predict("late@1", ASKED)
    polars = pl.from_dicts(records(ASKED), infer_schema_length=None)
    pl_csv = tmp_path / "asked.csv"
    polars.write_csv(pl_csv)
    ways = {
        "polars": polars,
        "rows": records(ASKED),
        "another order": ASKED[ASKED.columns[::-1]],
        "extra columns": ASKED.assign(extra=1, more="x"),
        "wider singles": ASKED.assign(single=ASKED["single"].astype("float64")),
        "whole numbers as floats": ASKED.assign(legs=ASKED["legs"].astype("float64")),
        "objects": ASKED.astype({"carrier": object, "night": object}),
        "csv": pl_csv,
    }
    for way, rows in ways.items():
        assert ws.predict("late@1", rows).equals(expected), way
    server = start_headrace(
        "serve", "--port", "0", "--bundle", str(ws.places.bundles / version.digest), "--digest", version.digest
    )
    status, reply = call("POST", f"http://127.0.0.1:{server['port']}/predict", {"rows": records(ASKED)})
    assert status == 200, reply
    shares = [row["probabilities"]["true"] for row in reply["predictions"]]
    tolerance = 0.0 if version.runtime == "graph" else 1e-12
    assert np.abs(np.array(shares) - expected["probability.true"].to_numpy()).max() <= tolerance
    assert [row["prediction"] for row in reply["predictions"]] == expected["prediction"].to_list()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"minutes": "soon"}, "minutes"),
        ({"night": "perhaps"}, "night"),
        ({"legs": 1.5}, "legs"),
        ({"carrier": 7}, "carrier"),
        ({"minutes": float("inf")}, "minutes"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(served, change, field):
    ws, _ = served
    for rows in ([{**records(ASKED)[0], **change}], pd.DataFrame([{**records(ASKED)[0], **change}])):
        with pytest.raises(InvalidInput) as raised:
            ws.predict("late@1", rows)
        assert raised.value.field == field and raised.value.todo
