"""A row of a text means the same whatever rows stand beside it: the quick way and the careful way agree."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.batch.dialect import Dialect, Wanted, find_dialect
from headrace.batch.job import Asked, Chunk, Options
from headrace.batch.origins.files import local_files
from headrace.batch.planning import localised, make_plan
from headrace.batch.reading import Reader
from headrace.data.inference import infer_schema
from headrace.kernel.errors import InvalidInput

NUMBERS = ["1.5", "-2", "", "nan", "NaN", "1e3", " 1", "x", "1e999", '""', "+3", ".5", "0x1", "-0.0"]
WHOLE = ["1", "2.0", "", "2.5", "99999999999999999999", "007", "a", " 3", "-4"]
TEXTS = ["UA", "", '""', '"A,B"', '"two\nlines"', '5" pipe', '"say ""hi"""', "é", '"x"y', "=1+1"]
FLAGS = ["true", "False", "1", "", "yes"]
LINE = st.tuples(*(st.sampled_from(choices) for choices in (NUMBERS, WHOLE, TEXTS, FLAGS)))
EXTRA = st.sampled_from(["", "a,b", "1,2,3,4,5", "   ", ",,,"])

EXAMPLE = pl.DataFrame({"x": [1.5, None], "n": [1, 2], "s": ["UA", None], "b": [True, False]})
SCHEMA = infer_schema(EXAMPLE, EXAMPLE).for_model()


def read(text, folder, keep="all", typed=False, **wanted):
    """The rows and the rejects of a CSV, whatever blocks it has."""
    path = folder / "rows.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    options = Options(keep=keep, text=Wanted(**wanted))
    asked = Asked(model="m", version=1, bundle="", source=str(path), destination="", options=options)
    plan = make_plan(asked, local_files(str(path)), SCHEMA, folder / "ws" / "jobs" / "taken" / "taken", lambda *_: None)
    plan = localised(plan, lambda inside: folder / "ws" / inside)
    reader = Reader(plan, SCHEMA, typed)
    rows, rejects = [], []
    for found in reader.read(Chunk(number=0, input=0, first=0, last=len(plan.inputs[0].blocks))):
        columns = [list(found.columns[name]) for name in ("x", "n", "s", "b")]
        rows += [(*map(plain, row), kept) for *row, kept in zip(*columns, found.kept.rows(), strict=True)]
        rejects += found.rejects
    return rows, rejects


def plain(value):
    return None if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize("keep", ["all", "s"])
def test_a_row_means_the_same_alone_and_among_others(tmp_path, keep):
    @given(st.lists(st.one_of(LINE.map(",".join), EXTRA), min_size=1, max_size=12))
    @settings(max_examples=150, deadline=None)
    def hold(lines):
        header = "x,n,s,b\n"
        rows, rejects = read(header + "\n".join(lines) + "\n", tmp_path, keep)
        alone = [read(header + line + "\n", tmp_path, keep) for line in lines if line]
        assert rows == [row for found, _ in alone for row in found]
        assert sorted((r.field, r.reason, r.record) for r in rejects) == sorted(
            (r.field, r.reason, r.record) for _, found in alone for r in found
        )

    hold()


def test_rejects_name_line_field_and_reason(tmp_path):
    text = 'x,n,s,b\n1.5,1,"two\nlines",true\n1.5,x,UA,true\n\n2.5,2\n1,,UA,true\n1,1,=A1,maybe\ninf,1,UA,true\n'
    rows, rejects = read(text, tmp_path)
    assert len(rows) == 1
    found = {(r.line, r.field): r for r in rejects}
    assert set(found) == {(4, "n"), (6, ""), (7, "n"), (8, "b"), (9, "x")}
    assert "'x' is not a whole number" in found[4, "n"].reason
    assert found[6, ""].reason == "it has 2 fields instead of 4"
    assert "null is not a whole number" in found[7, "n"].reason
    assert "not finite" in found[9, "x"].reason
    assert found[4, "n"].record == "1.5,x,UA,true"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_is_found_out(delimiter, tmp_path):
    text = "x,n,s,b\n1.5,1,UA,true\n2.5,2,AA,false\n".replace(",", delimiter)
    assert len(read(text, tmp_path)[0]) == 2


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig", "cp1252"])
def test_an_encoding_is_read(encoding, tmp_path):
    said = {} if encoding in ("utf-16", "utf-8-sig") else {"encoding": encoding}
    rows, rejects = read("x,n,s,b\n1.5,1,Zürich,true\n".encode(encoding), tmp_path, **said)
    assert not rejects
    assert rows[0][2] == "Zürich"


def test_a_text_in_another_encoding_is_refused_or_rejected_with_its_reason(tmp_path):
    with pytest.raises(InvalidInput, match="no text in utf-8"):
        read("x,n,s,b\n1.5,1,Zürich,true\n".encode("latin-1"), tmp_path)


def test_windows_line_ends_and_a_last_line_without_one(tmp_path):
    rows, rejects = read("x,n,s,b\r\n1.5,1,UA,true\r\n2.5,2,AA,false", tmp_path)
    assert not rejects
    assert [row[2] for row in rows] == ["UA", "AA"]


def test_a_column_twice_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="more than one column 'x'"):
        read("x,x,n,s,b\n", tmp_path)


def test_options_that_cannot_be():
    for wanted in (Wanted(delimiter=",,"), Wanted(quote="ab"), Wanted(encoding="klingon")):
        with pytest.raises(InvalidInput):
            find_dialect(b"a,b\n", wanted, "rows.csv")
    assert find_dialect(b"a;b\n1;2\n", Wanted(), "rows.csv")[0] == Dialect(delimiter=";")
