"""Whether data are enough for a target: what is planted in them is found, and nothing is found where nothing is."""

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.conftest import headrace_command

from headrace.kernel.errors import InvalidInput

pytest.importorskip("sklearn")
N = 3000


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=N), rng.choice(list("abcdef"), N)
    moments = [datetime(2024, 1, 1) + timedelta(minutes=i) for i in range(N)]
    late = (x + (kind == "a") * 2 + rng.normal(size=N)) > 0.5
    return pl.DataFrame({"x": x, "kind": kind, "at": moments, "late": late})


def test_enough_rows_for_what_a_line_can_tell(ws, frame):
    found = ws.assess(frame, "late", time="at")
    assert found.task == "binary" and found.metric == "roc_auc" and found.suspects == ()
    assert [point.rows for point in found.curve] == [150, 300, 600, 1200, 2400] and found.held_out == 600
    assert found.curve[-1].score.low > 0.8 and found.constant.value == 0.5
    assert found.verdict[0].startswith("There are enough rows") and "A linear model does as well" in found.verdict[1]
    assert abs(sum(found.balance.values()) - 1) < 1e-9


def test_nothing_to_be_found(ws, frame):
    noise = frame.select("kind", "at", y=pl.Series(np.random.default_rng(1).normal(size=N)))
    found = ws.assess(noise, "y")
    assert found.task == "regression" and found.verdict[-1].startswith(
        "No: nothing here predicts better than a constant"
    )


def test_what_leaks_is_named(ws, frame):
    leaky = frame.with_columns(
        leak=pl.col("late").cast(pl.Float64) * 3 + 0.1,
        landed=pl.col("at") + pl.duration(hours=1),
        ticket=pl.int_range(N),
    )
    found = ws.assess(leaky, "late", time="at")
    suspects = {one.column: one.why for one in found.suspects}
    assert set(suspects) == {"leak", "landed", "ticket"}
    assert "too good to be true" in suspects["leak"] and "later moments" in suspects["landed"]
    assert found.verdict[0].startswith("Look first at landed, leak, ticket")


def test_more_rows_would_help(ws):
    rng = np.random.default_rng(2)
    many = rng.integers(0, 400, N)
    truth = rng.normal(size=400)
    found = ws.assess(pl.DataFrame({"shop": [f"s{i}" for i in many], "y": truth[many] + rng.normal(size=N) * 0.1}), "y")
    assert found.verdict[0].startswith("More rows would help")


def test_duplicates_and_contradictions_are_counted(ws, frame):
    few = pl.DataFrame({"a": [1, 2] * 100, "y": ([True, False] * 50 + [False, True] * 50)})
    found = ws.assess(few, "y")
    assert found.duplicates == 200 and found.contradictions == 200


@pytest.mark.parametrize(
    ("target", "rows", "says"), [("late", 60, "60 rows"), ("flat", N, "1 different"), ("no", N, "not in")]
)
def test_what_cannot_be_assessed(ws, frame, target, rows, says):
    with pytest.raises(InvalidInput, match=says):
        ws.assess(frame.head(rows).with_columns(flat=pl.lit(1)), target)


def test_by_the_command_line_with_a_page(ws, frame, tmp_path):
    frame.write_csv(tmp_path / "rows.csv")
    words = [
        "--workspace",
        ws.places.url,
        "data",
        "assess",
        "rows.csv",
        "--target",
        "late",
        "--time",
        "at",
        "--report",
        "page.html",
        "--json",
    ]
    done = headrace_command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metric"] == "roc_auc" and "training on" in done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "<svg" in page and "enough rows" in page and "http" not in page.replace("http://www.w3.org", "")
    snapshot = ws.snapshots.take("d", frame, time="at", target="late", who="me")
    assert ws.assess(snapshot.digest[:12], "late").rows == N
