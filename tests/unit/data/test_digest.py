"""A changed cell anywhere changes the digest; what is equal has one."""

from datetime import datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from headrace.data.digest import table_digest

BASE = pl.DataFrame(
    {
        "i": [1, None, 3],
        "f": [0.0, None, float("nan")],
        "s": ["a", None, "é"],
        "b": [True, None, False],
        "t": [datetime(2013, 1, 1), None, datetime(2013, 1, 3)],
        "c": pl.Series(["x", "y", None], dtype=pl.Categorical),
    }
)
OTHER = {"i": 7, "f": -0.0, "s": "b", "b": False, "t": datetime(2014, 1, 1), "c": "y"}


def test_every_single_cell_counts():
    seen = {table_digest(BASE)}
    for name, value in OTHER.items():
        for row in range(3):
            values = BASE[name].to_list()
            if values[row] == value and str(values[row]) == str(value):
                continue
            values[row] = value
            seen.add(table_digest(BASE.with_columns(pl.Series(name, values, dtype=BASE[name].dtype))))
    assert len(seen) >= 17


def test_names_types_and_order_count():
    digest = table_digest(BASE)
    assert table_digest(BASE.clone()) == digest
    assert table_digest(BASE.reverse()) != digest
    assert table_digest(BASE.rename({"i": "j"})) != digest
    assert table_digest(BASE.select(reversed(BASE.columns))) != digest
    assert table_digest(BASE.with_columns(pl.col("i").cast(pl.Int32))) != digest


@given(st.lists(st.text(), min_size=2, max_size=2), st.lists(st.text(), min_size=2, max_size=2))
def test_texts_do_not_run_into_each_other(first, second):
    same = table_digest(pl.DataFrame({"s": first})) == table_digest(pl.DataFrame({"s": second}))
    assert same == (first == second)


@given(st.lists(st.floats(), min_size=1, max_size=20), st.integers(0, 19), st.floats(allow_nan=False))
def test_a_float_changed_by_one_bit_changes_it(values, at, other):
    changed = list(values)
    at %= len(values)
    changed[at] = other
    same = table_digest(pl.DataFrame({"x": values})) == table_digest(pl.DataFrame({"x": changed}))
    assert same == (str(values[at]) == str(other))
