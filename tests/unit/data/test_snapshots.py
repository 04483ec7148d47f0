"""Snapshots come back as they were taken, whatever types people have, and an altered one is not believed."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from headrace.data.inference import infer_schema
from headrace.kernel.errors import InvalidName, NotTrusted

MOMENTS = [datetime(2013, 1, 2, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    "series",
    [
        pl.Series("x", [1, 2], dtype=pl.UInt8),
        pl.Series("x", [1, 2], dtype=pl.UInt64),
        pl.Series("x", [1, 2], dtype=pl.Int8),
        pl.Series("x", [1.5, 2.0], dtype=pl.Float32),
        pl.Series("x", ["a", "b"], dtype=pl.Categorical),
        pl.Series("x", ["a", "b"], dtype=pl.Enum(["a", "b"])),
        pl.Series("x", MOMENTS),
        pl.Series("x", MOMENTS).dt.cast_time_unit("ms"),
        pl.Series("x", MOMENTS).dt.replace_time_zone(None).dt.cast_time_unit("ns"),
        pl.Series("x", MOMENTS).dt.date(),
        pl.Series("x", [Decimal("1.5"), Decimal("2.25")]),
        pl.Series("x", [True, None]),
        pl.Series("x", [None, "é"]),
    ],
    ids=lambda s: str(s.dtype),
)
def test_every_type_comes_back(ws, series):
    taken = ws.snapshots.take("data", pl.DataFrame([series]), who="me")
    assert ws.snapshots.read(taken).height == 2
    assert infer_schema(pl.DataFrame([series]), pl.DataFrame([series])).columns[0].name == "x"


def test_equal_data_is_one_snapshot_and_order_does_not_matter_where_keys_are_declared(ws):
    frame = pl.DataFrame({"id": [2, 1], "t": MOMENTS, "v": [0.5, 1.5]})
    first = ws.snapshots.take("data", frame, keys=("id",), time="t", who="me")
    again = ws.snapshots.take("data", frame.reverse(), keys=("id",), time="t", who="me")
    other = ws.snapshots.take("data", frame.with_columns(v=pl.Series([0.5, 1.6])), keys=("id",), time="t", who="me")
    assert first.digest == again.digest != other.digest
    assert first.table == again.table != other.table
    assert ws.snapshots.read(first)["v"].to_list() == [1.5, 0.5]


def test_an_altered_table_is_not_believed(ws):
    taken = ws.snapshots.take("data", pl.DataFrame({"v": [1, 2, 3]}), who="me")
    path = next((ws.places.datasets / "data").glob("*.parquet"))
    frame = pl.read_parquet(path)
    frame.with_columns(v=pl.Series([1, 2, 4])).write_parquet(path)
    with pytest.raises(NotTrusted):
        ws.snapshots.read(taken)


def test_a_bad_name_makes_no_folder(ws):
    with pytest.raises(InvalidName):
        ws.snapshots.take("../up", pl.DataFrame({"v": [1]}), who="me")
    assert not (ws.places.root.parent / "up").exists()
