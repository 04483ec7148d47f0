"""Rows are counted, in every form that they are sent in, before a body is decoded."""

import json

import pytest

from headrace.kernel.errors import TooLarge
from headrace.serving.counting import refuse_many, values_in

OBJECT, LIST = {"a": 1, "b": [{"c": 2}]}, [1, "x", [None]]


@pytest.mark.parametrize("row", [OBJECT, LIST])
@pytest.mark.parametrize("form", ["rows", "instances", "inputs", "dataframe_records", "dataframe_split"])
def test_rows_of_every_form_are_counted(form, row):
    def body(number):
        value = {"columns": ["a"], "data": [row] * number} if form == "dataframe_split" else [row] * number
        return json.dumps({form: value, "id": "q"}).encode()

    refuse_many(body(5), 5)
    with pytest.raises(TooLarge, match="holds 6 rows"):
        refuse_many(body(6), 5)


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [{}, {}, [',
        b'{"inputs": {"a": [1, 2, 3], "b": [[1], [2], [3]]}}',
        b'{"instances": [{}, [], {}, []]}',
        b'{"rows": 3, "a": [[[]]], "b": {"c": {"d": {}}}}',
        b"[" * 100_000,
        b"\xff{{{[[[",
    ],
)
def test_what_is_not_rows_is_left_to_its_decoder(body):
    refuse_many(body, 2)


def test_a_body_is_not_taken_to_hold_less_than_it_does():
    for document in ([], [1], [1, [2, 3]], {"a": [{"b": 1}, {}]}, [[], {}, [[]]]):
        body = json.dumps(document).encode()
        assert values_in(body) >= _count(document)


def _count(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 if inner is None else max(len(inner), sum(map(_count, inner)))
