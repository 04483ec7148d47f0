"""Requests are decoded by the schema; errors name the row and the field."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.kernel.errors import HeadraceError, InvalidInput, SchemaViolation
from headrace.kernel.schema import Column, Schema
from headrace.serving.decoding import RowDecoder

SCHEMA = Schema(
    frame="pandas",
    columns=(
        Column("a", "number", "float64", nullable=True),
        Column("i", "integer", "int64"),
        Column("s.x y", "string", "object"),
        Column("t", "datetime", "datetime64[us]", "time"),
        Column("k", "integer", "int64", "key"),
    ),
)
DECODER = RowDecoder(SCHEMA, most_rows=3)
GOOD = {"a": 1.5, "i": 3, "s.x y": "q"}


def decode(document):
    return DECODER.decode(msgspec.json.encode(document))


def test_many_rows_and_one_bare_row():
    many = decode({"rows": [GOOD, {**GOOD, "a": None, "k": 7, "t": "2013-01-01T01:00:00+01:00"}]})
    assert many.columns == {"a": [1.5, None], "i": [3, 3], "s.x y": ["q", "q"]}
    assert many.context == {"t": [None, "2013-01-01T00:00:00.000000"], "k": [None, 7]}
    assert decode(GOOD).count == 1


def test_unknown_fields_are_counted_and_ignored():
    assert decode({"rows": [{**GOOD, "z": 1, "y": 2}]}).unknown == 2
    assert decode({**GOOD, "z": 1}).unknown == 1


def test_whole_numbers_may_be_written_with_a_point():
    assert decode({**GOOD, "i": 3.0}).columns["i"] == [3]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"i": "3"}, "i"),
        ({"i": 3.5}, "i"),
        ({"i": None}, "i"),
        ({"i": 1 << 64}, "i"),
        ({"s.x y": 5}, "s.x y"),
        ({"a": "x"}, "a"),
        ({"t": "soon"}, "t"),
    ],
)
def test_a_wrong_value_names_row_and_field(change, field):
    with pytest.raises(SchemaViolation) as caught:
        decode({"rows": [GOOD, {**GOOD, **change}]})
    assert (caught.value.row, caught.value.field) == (1, field)


def test_a_missing_field_is_named():
    with pytest.raises(SchemaViolation, match="'i': the field is missing"):
        decode({"a": 1.5, "s.x y": "q"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[1]",
        b"3",
        b"null",
        b'{"rows": 3}',
        b'{"rows": []}',
        b'{"rows": [3]}',
        b"\xff",
        b'{"i": NaN}',
        b'{"rows":' + b"[" * 5000,
        b'{"": null, "rows": false}',
        b'{"s.x y": "\xff"}',
        b'{"a": 1.5, "a": 2.5, "i": 3, "s.x y": "q"}',
        b'{"rows": [], "rows": []}',
    ],
)
def test_what_is_no_request_is_refused(body):
    with pytest.raises(InvalidInput):
        DECODER.decode(body)


def test_too_many_rows_are_refused():
    with pytest.raises(InvalidInput, match="4 rows"):
        decode({"rows": [GOOD] * 4})


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda c: st.lists(c) | st.dictionaries(st.text(), c),
)


@given(JSON)
def test_any_json_is_decoded_or_refused(document):
    try:
        decode({"rows": [document]})
    except HeadraceError:
        pass


@given(st.binary())
def test_any_bytes_are_decoded_or_refused(body):
    try:
        DECODER.decode(body)
    except HeadraceError:
        pass


@pytest.mark.parametrize(("field", "value"), [("k", 1 << 70), ("t", "0001-01-01T00:00:00+05:00")])
def test_keys_and_moments_have_limits(field, value):
    with pytest.raises(SchemaViolation) as caught:
        decode({**GOOD, field: value})
    assert caught.value.field == field
