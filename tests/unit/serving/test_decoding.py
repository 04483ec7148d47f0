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


NAMED_ROWS = Schema(
    frame="pandas",
    columns=(
        Column("rows", "number", "float64", nullable=True),
        Column("b", "number", "float64", nullable=True),
        Column("at:hour", "number", "float64", nullable=True),
    ),
)


@pytest.mark.parametrize("more", [{}, {"z": 1.0}])
@pytest.mark.parametrize("missing", [(), ("b",), ("b", "at:hour")])
def test_a_column_may_be_called_rows(more, missing):
    row = {"rows": 0.5, "b": 1.0, "at:hour": 2.0, **more}
    row = {name: value for name, value in row.items() if name not in missing}
    decoder = RowDecoder(NAMED_ROWS)
    for order in (list(row), list(row)[::-1]):
        bare = {name: row[name] for name in order}
        for document in (bare, {"rows": [bare]}):
            found = decoder.decode(msgspec.json.encode(document))
            assert found.columns == {name: [row.get(name)] for name in ("rows", "b", "at:hour")}
            assert found.unknown == len(more)


def test_an_escaped_name_is_the_name():
    decoder = RowDecoder(NAMED_ROWS)
    for body in (
        b'{"r\\u006fws": [{"b": 3.0}]}',
        b'{"r\\u006fws": [{"rows": 1, "\\u0062": 3.0, "at:hour": 2, "z": 1}]}',
    ):
        assert decoder.decode(body).columns["b"] == [3.0]


@pytest.mark.parametrize("more", [b"", b', "z": 1', b', "z": {"y": 1}'])
def test_a_field_that_is_there_twice_is_refused_whatever_else_is_there(more):
    decoder = RowDecoder(NAMED_ROWS)
    for body in (b'{"b": 1.0, "b": 2.0%b}', b'{"rows": [{"b": 1.0, "rows": 2, "b": 2.0%b}]}'):
        with pytest.raises(InvalidInput, match="twice"):
            decoder.decode(body % more)


def test_names_with_colons_in_a_large_body():
    rows = [{"rows": n / 7, "b": n / 3, "at:hour": n / 9} for n in range(20_000)]
    body = msgspec.json.encode({"rows": rows})
    assert len(body) > 1 << 20
    assert RowDecoder(NAMED_ROWS, 20_000).decode(body).count == 20_000


def test_brackets_in_a_name_are_no_number_of_a_row():
    schema = Schema(frame="pandas", columns=(Column("a[5]", "number", "float64"),))
    with pytest.raises(SchemaViolation) as caught:
        RowDecoder(schema).decode(b'{"a[5]": "no"}')
    assert (caught.value.row, caught.value.field) == (0, "a[5]")


@given(st.lists(st.sampled_from(["rows", "b", "at:hour", "z", "b:"]), max_size=5), st.booleans(), st.data())
def test_the_short_way_reads_what_the_long_one_reads(names, wrapped, data):
    """Whatever the fields, the quick look at a small body and the whole decoder give one answer."""
    values = [data.draw(st.sampled_from([b"1.5", b"null", b'"x:y"', b"[]", b"2"])) for _ in names]
    fields = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in zip(names, values, strict=True))
    body = b'{"rows":[{%b}]}' % fields if wrapped else b"{%b}" % fields
    decoder = RowDecoder(NAMED_ROWS)

    def result(decode):
        try:
            return decode(body)
        except HeadraceError as error:
            return type(error)

    short = decoder._simple(body)
    decoder._simple = lambda _body: None
    assert short is None or short == result(decoder.decode)
