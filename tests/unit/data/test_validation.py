"""Rows are held against the schema, with the row and the field named."""

import pandas as pd
import polars as pl
import pytest

from headrace.data.frames import to_polars
from headrace.data.inference import infer_schema
from headrace.data.validation import conform
from headrace.kernel.errors import InvalidInput, SchemaViolation

FRAME = pl.DataFrame({"n": [1.5, None], "i": [1, 2], "s": ["a", "b"], "b": [True, False], "k": ["x", "y"], "y": [0, 1]})
SCHEMA = infer_schema(FRAME, FRAME, keys=("k",), target="y").for_model()


def rows(**changes):
    return FRAME.drop("y").with_columns(**{name: pl.Series(values) for name, values in changes.items()})


def test_a_csv_of_texts_is_typed():
    text = pl.DataFrame(
        {"n": ["1.5", None], "i": ["1", "2.0"], "s": ["a", "b"], "b": ["true", "False"], "more": ["", ""]}
    )
    typed = conform(text, SCHEMA)
    assert typed.to_dict(as_series=False) == {"n": [1.5, None], "i": [1, 2], "s": ["a", "b"], "b": [True, False]}


@pytest.mark.parametrize(
    ("changes", "row", "field"),
    [
        ({"i": ["1", "x"]}, 1, "i"),
        ({"i": [1.5, 2.0]}, 0, "i"),
        ({"i": [1, None]}, 1, "i"),
        ({"n": ["a", "1"]}, 0, "n"),
        ({"n": [True, False]}, 0, "n"),
        ({"b": [1, 0]}, 0, "b"),
        ({"s": [1, 2]}, 0, "s"),
    ],
)
def test_a_wrong_value_is_named(changes, row, field):
    with pytest.raises(SchemaViolation) as caught:
        conform(rows(**changes), SCHEMA)
    assert (caught.value.row, caught.value.field) == (row, field)
    assert caught.value.expected


def test_a_missing_column_is_named_and_a_nullable_one_is_null():
    with pytest.raises(SchemaViolation, match="lack the column 's'"):
        conform(rows().drop("s"), SCHEMA)
    assert conform(rows().drop("n"), SCHEMA)["n"].to_list() == [None, None]


def test_enforced_schemas_refuse_what_was_not_seen():
    from msgspec.structs import replace

    conform(rows(s=["zz", "a"]), SCHEMA)
    with pytest.raises(SchemaViolation, match="not seen in training"):
        conform(rows(s=["zz", "a"]), replace(SCHEMA, enforce=True))


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "header.csv").write_text("a,b\n")
    for bad in (
        42,
        tmp_path / "none.csv",
        tmp_path / "empty.csv",
        tmp_path / "header.csv",
        tmp_path / "x.exe",
        pl.DataFrame(),
    ):
        with pytest.raises(InvalidInput):
            to_polars(bad)


def test_an_absent_target_is_named():
    with pytest.raises(InvalidInput, match="target column 'late' is not in the data"):
        infer_schema(FRAME, FRAME, target="late")


def test_pandas_types_are_read():
    frame = pd.DataFrame(
        {
            "o": pd.Series(["a", None], dtype=object),
            "c": pd.Categorical(["u", "v"]),
            "f": [1.0, float("nan")],
            "i": pd.array([1, None], dtype="Int64"),
            "t": pd.to_datetime(["2013-01-01", "2013-01-02"]),
            "b": [True, False],
        }
    )
    schema = infer_schema(frame, to_polars(frame))
    assert [c.type for c in schema.columns] == ["string", "string", "number", "integer", "datetime", "boolean"]
    assert schema.columns[0].sentinel == "none"
    assert [c.nullable for c in schema.columns] == [True, False, True, True, False, False]
