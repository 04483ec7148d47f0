"""What differs between two tables is what was done to one of them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.differences import changed_rows, compare_tables, row_digests

VALUES = st.one_of(st.none(), st.floats(allow_nan=False), st.sampled_from([0.0, -0.0, 1.5]))
ROWS = st.lists(st.tuples(VALUES, st.one_of(st.none(), st.text(max_size=3)), st.booleans()), min_size=1, max_size=30)


def frame(rows, keyed=True):
    made = pl.DataFrame(rows, schema={"a": pl.Float64, "b": pl.String, "c": pl.Boolean}, orient="row")
    return made.with_row_index("id") if keyed else made


@given(ROWS)
@settings(deadline=None)
def test_a_table_is_the_same_as_itself(rows):
    assert compare_tables(frame(rows), frame(rows), ["id"]).same
    assert compare_tables(frame(rows, keyed=False), frame(rows, keyed=False)).same


@given(ROWS, st.integers(0, 29))
@settings(deadline=None)
def test_a_changed_cell_is_found_where_it_is(rows, place):
    place %= len(rows)
    changed = [*rows]
    a, b, c = changed[place]
    changed[place] = (a, b, not c)
    found = compare_tables(frame(rows), frame(changed), ["id"])
    assert (found.same, found.changed, found.added, found.removed, found.cells) == (False, 1, 0, 0, {"c": 1})
    assert found.examples == (f"c of id {place} was {c!r} and is {not c!r}",)
    before, after = (row_digests(frame(x)) for x in (rows, changed))
    assert changed_rows(before, after) == [place]


@given(ROWS, st.integers(1, 5))
@settings(deadline=None)
def test_added_and_removed_rows_are_counted(rows, extra):
    more = rows + rows[:1] * extra
    for keys in (["id"], []):
        keyed = bool(keys)
        there = compare_tables(frame(rows, keyed), frame(more, keyed), keys)
        back = compare_tables(frame(more, keyed), frame(rows, keyed), keys)
        assert (there.added, there.removed, there.changed) == (extra, 0, 0)
        assert (back.added, back.removed, back.changed) == (0, extra, 0)


def test_order_columns_and_types():
    table = pl.DataFrame({"x": [1, 2, 3]})
    assert compare_tables(table, table.reverse()).text() == "the same rows in another order"
    assert compare_tables(table, table.with_columns(y=1)).columns == ("column 'y' added",)
    assert compare_tables(table.with_columns(y=1), table).columns == ("column 'y' removed",)
    assert compare_tables(table, table.cast(pl.Int32)).columns == ("column 'x' is Int32, was Int64",)


def test_digests_tell_nulls_zeros_and_columns_apart():
    digests = row_digests(pl.DataFrame({"x": [0.0, -0.0, None, float("nan"), 1e-320]}))
    assert len(np.unique(digests)) == 5
    swapped = row_digests(pl.DataFrame({"a": [1, 2], "b": [2, 1]}))
    assert swapped[0] != swapped[1]


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.UInt32, pl.Float32, pl.Date, pl.Datetime("us"), pl.Categorical, pl.Boolean]
)
def test_every_type_has_digests(dtype):
    series = pl.Series("x", ["a", "b"] if dtype == pl.Categorical else [0, 1]).cast(dtype)
    digests = row_digests(pl.DataFrame([series]))
    assert digests[0] != digests[1]
