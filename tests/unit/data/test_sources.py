"""Files are taken once each, whatever names them; what does not fit together is refused; joins know what was known."""

import hashlib
from datetime import date, datetime

import polars as pl
import pytest

from headrace.data.expectations import Expectations, Expected, check_declared
from headrace.data.joining import join_as_of
from headrace.data.sources import read_query, read_source
from headrace.kernel.errors import InvalidInput


def track(path):
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".dvc").write_text(f"outs:\n- md5: {md5}\n  path: {path.name}\n")
    return md5


def test_each_file_once(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("a.csv", "B.CSV"):
        (tmp_path / "data" / name).write_text("x\n1\n")
    track(tmp_path / "data" / "a.csv")
    for patterns in (["data/*"], ["data"], ["data/a.csv", "data/*.csv", "data/B.CSV"]):
        taken = read_source(patterns, tmp_path)
        assert taken.frame.height == 2 and len(taken.origin) == 2, (patterns, taken)
    assert read_source([str(tmp_path / "data" / "*.csv")], tmp_path).frame.height == 1


def test_what_dvc_tracks_and_is_not_here_is_not_left_out(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "c.csv").write_text("x\n2\n")
    track(tmp_path / "c.csv")
    (tmp_path / "c.csv").unlink()
    for pattern in ("*.csv", ".", "c.csv"):
        with pytest.raises(InvalidInput, match="not here, and DVC tracks it"):
            read_source([pattern], tmp_path)


def test_types_that_differ_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "b.csv").write_text("x\nA2\n")
    with pytest.raises(InvalidInput, match=r"'x' is text in b.csv, and no text in a.csv"):
        read_source(["*.csv"], tmp_path)


def test_a_driver_that_is_not_installed_is_named():
    with pytest.raises(InvalidInput, match=r"no address that can be used|is not installed"):
        read_query("mysql+pymysql://h/d", "SELECT 1", {})


def test_a_date_is_known_when_its_day_is_over():
    base = pl.DataFrame({"k": [1, 1], "t": [datetime(2024, 1, 2, 9), datetime(2024, 1, 3, 0)]})
    facts = pl.DataFrame({"k": [1, 1], "day": [date(2024, 1, 1), date(2024, 1, 2)], "v": [10, 20]})
    assert join_as_of(base, "t", facts, "f", on=("k",), known="day")["v"].to_list() == [10, 20]
    with pytest.raises(InvalidInput, match="'k' of a join is Int64 in the dataset and String in f"):
        join_as_of(base, "t", facts.with_columns(pl.col("k").cast(pl.String)), "f", on=("k",), known="day")
    once = join_as_of(base, "t", facts, "f", on=("k",), known="day")
    twice = join_as_of(once, "t", facts, "f", on=("k",), known="day")
    with pytest.raises(InvalidInput, match="is there already"):
        join_as_of(twice, "t", facts, "f", on=("k",), known="day")


def test_not_a_number_counts_as_null():
    frame = pl.DataFrame({"x": [float("nan")] * 3, "n": [None] * 3})
    found = check_declared(frame, Expectations(columns={"x": Expected(nulls=0.0, max=5.0)}), ())
    assert [(one.column, one.count) for one in found] == [("x", 3)]
