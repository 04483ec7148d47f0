"""Records of a CSV end where Python's own reader ends them, and a stray quotation mark swallows no line."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.batch.lines import delimiters, marks, record_ends

CELL = st.text(alphabet=st.sampled_from('ab",;\n\r 5'), max_size=6)
ROWS = st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=12)


def places(text, quote='"', delimiter=","):
    array = np.frombuffer(text.encode(), dtype=np.uint8)
    return record_ends(array, marks(quote, delimiter)), delimiters(array, marks(quote, delimiter))


@given(ROWS, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_records_and_fields_are_those_that_were_written(rows, quoting):
    written = io.StringIO()
    csv.writer(written, quoting=quoting, lineterminator="\n").writerows(rows)
    ends, commas = places(written.getvalue())
    assert len(ends) == len(rows)
    assert len(commas) == len(rows)
    assert all(e < c for e, c in zip(ends[:-1], commas[1:], strict=True))


@pytest.mark.parametrize(
    ("text", "records"),
    [
        ('1,a\n2,5" pipe\n3,c\n', 3),
        ('1,"a\nb"\n2,c\n', 2),
        ('1,"say ""hi"""\n2,c\n', 2),
        ('1,"x"y\n2,"c"\n3,d\n', 3),
        ('1,""\n2,""\n', 2),
        ('1,"a"\r\n2,"b"\r\n', 2),
        ('1,a"b"c\n2,d\n', 2),
    ],
)
def test_records_of_texts_that_people_really_have(text, records):
    assert len(places(text)[0]) == records


def test_without_a_quotation_mark_each_line_is_a_record():
    assert len(places('1,"a\n2,b"\n', quote="")[0]) == 2
