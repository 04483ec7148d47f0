"""Files as people have them: names, quotation marks, encodings and sheets that are not as they should be."""

import json
import subprocess
import sys

import polars as pl
import pytest
from tests.conftest import Threshold, address

import headrace
from headrace.batch.dialect import Wanted
from headrace.batch.job import Options
from headrace.kernel.errors import InvalidInput


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A workspace with `late@1`, live, for all of these files."""
    ws = headrace.open(address(tmp_path_factory.mktemp("awkward") / "ws"))
    example = pl.DataFrame({"minutes": [float(i % 60) if i % 9 else None for i in range(300)], "carrier": ["UA"] * 300})
    ws.register("late", Threshold(30.0), example=example)
    ws.promote("late@1")
    yield ws
    ws.close()


def scored(ws, path, content, form="csv", **more):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    out = path.with_name(f"{path.stem}.out.{form}")
    out.unlink(missing_ok=True)
    return ws.score("late", path, out, **more), out


def test_a_quotation_mark_that_nothing_closes_costs_one_row(registered, tmp_path):
    text = "minutes,carrier\n" + "1,AA\n" * 5 + '9,"UA\n' + "2,B6\n" * 3000
    job, out = scored(registered, tmp_path / "rows.csv", text)
    assert (job.counts.scored, job.counts.rejected) == (3005, 1)
    assert pl.read_csv(out.with_name(f"{out.name}.rejects.csv"))["line"].to_list() == [7]


def test_a_column_of_its_own_keeps_its_nulls(registered, tmp_path):
    class Known:
        def predict(self, frame):
            return frame["x"].is_null().cast(pl.Int64).to_list()

    registered.register("alone", Known(), example=pl.DataFrame({"x": [1.0, None, 3.0] * 50}))
    (tmp_path / "x.csv").write_text("x\n1.0\n\n3.0\n\n")
    job = registered.score("alone@1", tmp_path / "x.csv", tmp_path / "a.csv")
    assert (job.counts.scored, job.counts.rejected) == (4, 0)
    assert pl.read_csv(tmp_path / "a.csv")["prediction"].to_list() == [0, 1, 0, 1]


def test_names_that_are_patterns_or_formulas_or_ours(registered, tmp_path):
    text = "minutes,carrier,^m.*$,*,=1+2,prediction,prediction_in\n1,UA,x,y,z,p,q\n"
    job, out = scored(registered, tmp_path / "rows.csv", text, keep="all")
    assert job.error is None
    row = pl.read_csv(out, infer_schema=False).row(0, named=True)
    assert (row["^m.*$"], row["*"], row["'=1+2"]) == ("x", "y", "z")
    assert (row["prediction_in2"], row["prediction_in"], row["prediction"]) == ("p", "q", "false")


def test_numbers_of_lines_of_json_may_be_whole_at_first(registered, tmp_path):
    lines = [json.dumps({"minutes": i % 50, "carrier": "UA", "note": "x" * 200}) for i in range(2000)]
    lines += [json.dumps({"minutes": 5.5, "carrier": "UA", "note": "y"})] * 10
    job, _ = scored(registered, tmp_path / "rows.jsonl", "\n".join(lines))
    assert (job.counts.scored, job.counts.rejected) == (2010, 0)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le"])
def test_a_byte_order_mark_decides(registered, tmp_path, encoding):
    content = ("\ufeff" if encoding.endswith("le") else "") + "minutes,carrier\n1,UA\n"
    job, _ = scored(registered, tmp_path / "rows.csv", content.encode(encoding), text=Wanted(encoding="utf-16"))
    assert job.counts.scored == 1


def test_codecs_that_are_none_of_texts_are_refused(registered, tmp_path):
    for name in ("zlib", "a\0", "klingon", "rot13"):
        job, _ = scored(registered, tmp_path / "rows.csv", "minutes,carrier\n1,UA\n", text=Wanted(encoding=name))
        assert (job.status, job.error["kind"]) == ("failed", "invalid_input")


def test_files_of_a_folder_may_differ_in_what_the_schema_types(registered, tmp_path):
    folder = tmp_path / "days"
    folder.mkdir()
    pl.DataFrame({"minutes": [1, 2], "carrier": ["UA", "AA"]}).write_parquet(folder / "a.parquet")
    pl.DataFrame({"minutes": [1.5, None], "carrier": ["UA", "B6"]}).write_parquet(folder / "b.parquet")
    assert registered.score("late", folder, tmp_path / "a.parquet").counts.scored == 4
    pl.DataFrame({"minutes": [1.5], "carrier": ["UA"], "note": [1]}).write_parquet(folder / "b.parquet")
    job = registered.score("late", folder, tmp_path / "b.parquet")
    assert (job.status, "not alike" in job.error["error"]) == ("failed", True)


def test_a_sheet_holds_what_it_can_or_nothing(registered, tmp_path):
    job, out = scored(registered, tmp_path / "rows.csv", f"minutes,carrier,n\n1,UA,{'U' * 40_000}\n", "xlsx", keep="n")
    assert (job.status, "40,000 characters" in job.error["error"], out.exists()) == ("failed", True, False)


def test_a_rejected_row_of_a_sheet_is_named_as_the_sheet_counts(registered, tmp_path):
    rows = pl.DataFrame({"minutes": ["1.5", "long", "70", "short"], "carrier": ["UA"] * 4})
    rows.write_excel(tmp_path / "sheet.xlsx")
    out = tmp_path / "sheet.csv"
    assert registered.score("late", tmp_path / "sheet.xlsx", out).counts.rejected == 2
    assert pl.read_csv(f"{out}.rejects.csv")["line"].to_list() == [3, 5], "the header is line 1"
    ids = pl.read_csv(out)["prediction_id"].str.split(".").list.last().to_list()
    assert ids == ["0", "2"]


def test_a_small_workbook_takes_no_large_memory(registered, tmp_path):
    import xlsxwriter

    with xlsxwriter.Workbook(tmp_path / "far.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write(0, 0, "minutes")
        sheet.write(1_048_575, 16_383, 1)
    job = registered.score("late", tmp_path / "far.xlsx", tmp_path / "a.csv")
    assert (job.status, job.error["kind"]) == ("failed", "invalid_input")
    with pytest.raises(InvalidInput, match="memory"):
        registered.look("late", str(tmp_path / "far.xlsx"))


def test_results_have_the_formats_they_can_have(registered):
    upload = registered.uploads().begin("rows.csv", 3, "anna")
    registered.uploads().add(upload.id, 0, b"x\n1")
    for form in ("/../../evil.csv", "exe", "a\0.csv"):
        with pytest.raises(InvalidInput, match="A result cannot be"):
            registered.queue_job("late", upload.source, "", form, Options())


def test_a_model_that_cannot_work_here_rejects_nobody(registered, tmp_path, monkeypatch):
    scorer = registered.version_store.open(registered.version("late"))
    monkeypatch.setattr(type(scorer), "arrays", lambda *_: [].fill_dtype)
    job, out = scored(registered, tmp_path / "rows.csv", "minutes,carrier\n1,UA\n2,AA\n")
    assert (job.status, job.error["kind"], out.exists()) == ("failed", "unavailable", False)


def test_a_job_at_which_workers_end_again_and_again_fails(registered, tmp_path):
    (tmp_path / "rows.csv").write_text("minutes,carrier\n1,UA\n")
    job = registered.score("late", tmp_path / "rows.csv", tmp_path / "a.csv", wait=False)
    code = (
        "import sys, os, headrace; ws = headrace.open(sys.argv[1]); ws.runner.turn = lambda *_: os._exit(9);"
        "ws.work_at_jobs(lambda: True)"
    )
    for _ in range(6):
        subprocess.run([sys.executable, "-c", code, registered.places.url], check=False)
    found = registered.job(job.id)
    assert (found.status, "without getting on" in found.error["error"]) == ("failed", True)
    assert registered.work_at(registered.retry_job(job.id).id).status == "done"


def test_a_result_may_lie_in_the_folder_that_is_scored(registered, tmp_path):
    folder = tmp_path / "days"
    folder.mkdir()
    for day in range(2):
        (folder / f"{day}.csv").write_text("minutes,carrier\n1,UA\nx,UA\n")
    job = registered.score("late", folder, folder / "out.csv")
    assert (job.counts.scored, job.counts.rejected) == (2, 2)
    assert registered.score("late", folder, folder / "out.csv").id == job.id
    (folder / "out.csv").unlink()
    (folder / "out.csv.rejects.csv").unlink()
    assert registered.score("late", folder, folder / "out.csv").counts.scored == 2


def test_lines_before_the_header_and_ends_of_old(registered, tmp_path):
    job, out = scored(registered, tmp_path / "rows.csv", "\n\r\nminutes,carrier\n1,UA\nx,UA\n")
    assert (job.counts.scored, job.counts.rejected) == (1, 1)
    assert pl.read_csv(out.with_name(f"{out.name}.rejects.csv"))["line"].to_list() == [5]
    job, _ = scored(registered, tmp_path / "old.csv", "minutes,carrier\r1,UA\r2,AA\r")
    assert (job.status, "carriage return" in job.error["error"]) == ("failed", True)
