"""Names are strict, ids sort by time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.kernel.errors import InvalidName
from headrace.kernel.identifiers import check_name, new_id, parse_reference, suggest_name


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", "", "A", "a b", "a\n", "a\x00", "é", "-a", "a" * 65, "a@1", "a;b", "%2e"]
)
def test_bad_names_are_refused_with_a_better_one(name):
    with pytest.raises(InvalidName) as caught:
        check_name(name)
    assert "Choose another name" in caught.value.todo


@given(st.text())
def test_a_suggested_name_is_always_good(text):
    assert check_name(suggest_name(text))


@given(st.text())
def test_no_text_escapes_its_folder(text):
    try:
        reference = parse_reference(text)
    except InvalidName:
        return
    assert "/" not in reference.model
    assert ".." not in reference.model


def test_references():
    assert parse_reference("m@3") == ("m", 3)
    assert parse_reference("m") == ("m", None)
    for bad in ("m@0", "m@x", "m@", "@1", "m@1@2", "m@-1"):
        with pytest.raises(InvalidName):
            parse_reference(bad)


def test_ids_are_unique_and_sort_by_time():
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert [i[:18] for i in ids] == sorted(i[:18] for i in ids)
    assert all(i[14] == "7" and i[19] in "89ab" for i in ids)
