"""Predictions of a job are predictions like any other: they can be traced, outcomes find them, columns stay hidden; and
they are written down once."""

from datetime import datetime
from functools import partial

import polars as pl
import pytest
from tests.conftest import Threshold

from headrace.batch import planning
from headrace.batch.running import Runner
from headrace.kernel.clock import utc_now
from headrace.kernel.errors import NotFound
from headrace.kernel.routes import Rule
from headrace.monitoring import predictions
from headrace.training import registering

COUNT = 1000
FLIGHTS = pl.DataFrame(
    {
        "flight": [f"F{i}" for i in range(COUNT)],
        "at": [f"2026-03-{1 + i % 9:02d}T0{i % 10}:00:00" for i in range(COUNT)],
        "minutes": [None if i % 11 == 0 else i % 90 + 0.5 for i in range(COUNT)],
        "carrier": [("UA", 'A"A', "Bé", "explode")[i % 3 if i % 401 else 3] for i in range(COUNT)],
    }
)
WRITERS = {"csv": pl.DataFrame.write_csv, "jsonl": pl.DataFrame.write_ndjson, "parquet": pl.DataFrame.write_parquet}


@pytest.fixture
def keyed(ws, monkeypatch):
    """A workspace whose live model has a key and a time, as a project's has."""

    class Late(Threshold):
        feature_names_in_ = ("minutes", "carrier")

    known = partial(registering.infer_schema, keys=("flight",), time="at")
    monkeypatch.setattr(registering, "infer_schema", known)
    example = FLIGHTS.filter(pl.col("carrier") != "explode").with_columns(pl.col("at").str.to_datetime())
    ws.register("late", Late(30.0), example=example)
    ws.promote("late@1")
    return ws


def written(ws):
    """Every row of the predictions table, once the worker took what waits."""
    while ws.tables.ingest().height:
        pass
    return ws.tables.predictions("late", datetime(2026, 1, 1), datetime(2027, 1, 1)).sort("row")


@pytest.mark.parametrize("ending", WRITERS)
def test_a_prediction_of_a_job_is_like_one_of_a_request(keyed, tmp_path, ending, monkeypatch):
    monkeypatch.setattr(planning, "BLOCK", 16 << 10)
    monkeypatch.setattr(planning, "TABLE_BLOCK", 300)
    WRITERS[ending](FLIGHTS, tmp_path / f"rows.{ending}")
    job = keyed.score("late", tmp_path / f"rows.{ending}", tmp_path / "out.parquet", chunk=1)
    assert job.error is None
    answers = pl.read_parquet(tmp_path / "out.parquet")
    one = answers.row(500, named=True)
    before = keyed.trace(one["prediction_id"])
    rows = written(keyed)
    assert rows["id"].to_list() == answers["prediction_id"].to_list()
    assert rows["score"].to_list() == answers["probability.true"].to_list()
    assert rows["prediction"].to_list() == [str(said).lower() for said in answers["prediction"]]
    traced = keyed.trace(one["prediction_id"])
    assert traced == before
    asked = FLIGHTS.row(500 + sum(i % 401 == 0 for i in range(501)), named=True)
    assert traced["key"] == {"flight": asked["flight"]}
    assert traced["input"] == {"minutes": asked["minutes"], "carrier": asked["carrier"]}
    assert str(traced["moment"]).replace(" ", "T").startswith(asked["at"])
    assert (traced["route"], traced["prediction"]) == ("batch", one["prediction"])
    keyed.tables.accept_outcomes(pl.DataFrame({"flight": [asked["flight"]], "outcome": [True]}), utc_now())
    assert keyed.trace(one["prediction_id"])["outcomes"][0]["outcome"] is True


def test_rows_are_written_down_once(keyed, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "BLOCK", 16 << 10)
    monkeypatch.setattr(predictions, "MOST_ROWS", 77)
    FLIGHTS.write_csv(tmp_path / "rows.csv")
    ship, ends = Runner._ship, []

    def dying(self, under):
        ship(self, under)
        if not ends:
            ends.append(len(under.chunks))
            raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "_ship", dying)
    with pytest.raises(KeyboardInterrupt):
        keyed.score("late", tmp_path / "rows.csv", tmp_path / "a.csv", chunk=1)
    assert ends[0] > 2
    keyed.tables.ingest()
    count = written(keyed).height
    assert count == 997
    keyed.score("late", tmp_path / "rows.csv", tmp_path / "a.csv", chunk=1)
    keyed.score("late", tmp_path / "rows.csv", tmp_path / "b.csv", chunk=40_000)
    assert written(keyed).height == count


def test_they_can_be_left_out(keyed, tmp_path):
    FLIGHTS.write_csv(tmp_path / "rows.csv")
    keyed.score("late", tmp_path / "rows.csv", tmp_path / "a.csv", capture=False)
    assert written(keyed).height == 0
    first = pl.read_csv(tmp_path / "a.csv")["prediction_id"][0]
    with pytest.raises(NotFound):
        keyed.trace(first)


@pytest.mark.parametrize("ending", WRITERS)
def test_hidden_columns_stay_hidden(keyed, tmp_path, ending, monkeypatch):
    monkeypatch.setattr("headrace.workspace.wiring.served", lambda _: Rule(masked=("carrier",), hashed=("flight",)))
    WRITERS[ending](FLIGHTS, tmp_path / f"rows.{ending}")
    keyed.score("late", tmp_path / f"rows.{ending}", tmp_path / "a.csv")
    rows = written(keyed)
    assert not rows["features"].str.contains("carrier|UA").any()
    assert rows["key"].str.contains(r'^\{"flight":"hash:[0-9a-f]{32}"\}$').all()
