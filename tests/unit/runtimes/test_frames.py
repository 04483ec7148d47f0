"""The null contract: columns become exactly the frame that the model was fitted with."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from headrace.data.frames import columns_of, to_polars
from headrace.data.inference import infer_schema
from headrace.data.validation import conform
from headrace.kernel.errors import MissingExtra
from headrace.runtimes import frames
from headrace.runtimes.frames import build_frame

PANDAS = pd.DataFrame(
    {
        "f": [1.5, np.nan],
        "i": np.array([1, 2], dtype="int32"),
        "b": [True, False],
        "s": ["a", None],
        "o": pd.Series(["x", None], dtype=object),
        "c": pd.Categorical(["u", "v"], categories=["v", "u", "w"]),
        "n": pd.array([1, None], dtype="Int64"),
        "t": pd.to_datetime(["2013-01-01", "2013-01-02"]),
    }
)


def rebuilt(table):
    schema = infer_schema(table, to_polars(table))
    columns = columns_of(conform(to_polars(table), schema), schema)
    return build_frame(schema, columns, len(table)), build_frame(schema, as_json(columns), len(table))


def as_json(columns):
    """The same columns as a request's JSON gives them."""
    plain = {name: values.tolist() if isinstance(values, np.ndarray) else values for name, values in columns.items()}
    return {name: [None if v != v else v for v in values] for name, values in plain.items()}


def test_pandas_comes_back_as_it_was_from_a_table_and_from_json():
    for frame in rebuilt(PANDAS):
        assert_frame_equal(frame, PANDAS)
        assert frame["o"][1] is None


def test_polars_comes_back_as_it_was():
    table = pl.DataFrame(
        {
            "f": [1.5, None],
            "i": pl.Series([1, 2], dtype=pl.Int16),
            "s": ["a", None],
            "b": [None, True],
            "d": [None, "x"],
        }
    ).with_columns(pl.col("d").cast(pl.Categorical))
    for frame in rebuilt(table):
        assert frame.equals(table)
        assert frame.schema == table.schema


def test_an_array_comes_back_as_it_was():
    table = np.array([[1.0, np.nan], [2.0, 3.0]])
    for frame in rebuilt(table):
        np.testing.assert_array_equal(frame, table)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), min_size=1, max_size=30))
def test_every_float_keeps_its_bits(values):
    table = pd.DataFrame({"x": np.array([np.nan if v is None else v for v in values])})
    for frame in rebuilt(table):
        assert frame["x"].to_numpy().tobytes() == table["x"].to_numpy().tobytes()


def test_a_missing_library_is_named(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(frames.importlib, "import_module", absent)
    with pytest.raises(MissingExtra, match="pandas is not installed") as caught:
        build_frame(infer_schema(PANDAS, to_polars(PANDAS)), {}, 0)
    assert "pip install 'headrace[pandas]'" in caught.value.todo
