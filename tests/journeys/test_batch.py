"""A file of rows is scored as a job: from the command line, in every format, with its bad rows set apart."""

import gzip
import json
from datetime import timedelta

import polars as pl
import pytest
import zstandard

from headrace.batch import planning, running, writing
from headrace.kernel.errors import Conflict, InvalidInput
from headrace.notices import outbox

ROWS = pl.DataFrame(
    {
        "flight": [f"F{i}" for i in range(1000)],
        "minutes": [None if i % 11 == 0 else i % 90 + 0.5 for i in range(1000)],
        "carrier": [("UA", "AA", "B6")[i % 3] for i in range(1000)],
    }
)
WRITERS = {
    "csv": lambda frame, path: frame.write_csv(path),
    "csv.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_csv().encode())),
    "csv.zst": lambda frame, path: path.write_bytes(zstandard.compress(frame.write_csv().encode())),
    "jsonl": lambda frame, path: frame.write_ndjson(path),
    "parquet": lambda frame, path: frame.write_parquet(path),
    "arrow": lambda frame, path: frame.write_ipc(path),
}
READERS = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}


def test_a_file_is_scored_from_the_command_line(registered, tmp_path, run_headrace):
    ROWS.write_csv(tmp_path / "flights.csv")
    here = ("--workspace", registered.places.url)
    done = run_headrace(*here, "score", "late", "flights.csv", "answers.csv", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["counts"] == {"scored": 1000, "rejected": 0}
    answers = pl.read_csv(tmp_path / "answers.csv")
    expected = registered.predict("late", ROWS)
    assert answers.columns == [*ROWS.columns, *expected.columns, "version", "prediction_id"]
    assert answers.select(expected.columns).equals(expected)
    assert answers["flight"].to_list() == ROWS["flight"].to_list()
    again = run_headrace(*here, "score", "late", "flights.csv", "answers.csv", "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["id"] == job["id"], "the same command on a finished job returns that job"
    listed = json.loads(run_headrace(*here, "jobs", "--json").stdout)
    assert [(one["id"], one["status"]) for one in listed] == [(job["id"], "done")]


def test_every_format_gives_the_same_answers(registered, tmp_path):
    expected = registered.predict("late", ROWS)
    for source, write in WRITERS.items():
        write(ROWS, tmp_path / f"rows.{source}")
        for result, read in READERS.items():
            out = tmp_path / f"{source}.{result}"
            job = registered.score("late", tmp_path / f"rows.{source}", out, keep="flight")
            assert job.error is None
            found = read(out)
            assert found.select(expected.columns).equals(expected), (source, result)
            assert found["flight"].to_list() == ROWS["flight"].to_list()
            assert [i.rpartition(".")[2] for i in found["prediction_id"]] == [str(i) for i in range(1000)]
            assert found["prediction_id"].str.split(".").list.first().n_unique() == 1


def test_bad_rows_are_set_apart_and_the_totals_add_up(registered, tmp_path, run_headrace):
    lines = ROWS.write_csv().splitlines()
    lines[10], lines[500] = "F9,long,UA", "F499,12.5"
    lines[700] = "F699,1.5,explode"
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    here = ("--workspace", registered.places.url, "score", "late", "rows.csv")
    done = run_headrace(*here, "out.csv", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"scored": 997, "rejected": 3}
    rejects = pl.read_csv(tmp_path / "out.csv.rejects.csv")
    assert rejects.select("line", "field").rows() == [(11, "minutes"), (501, ""), (701, "")]
    assert rejects["reason"].to_list()[1] == "it has 2 fields instead of 3"
    assert "explodes" in rejects["reason"].to_list()[2]
    assert rejects["record"].to_list() == [lines[10], lines[500], lines[700]]
    assert pl.read_csv(tmp_path / "out.csv").height == 997
    few = run_headrace(*here, "few.csv", "--max-rejects", "0.2%", cwd=tmp_path)
    assert few.returncode == 1
    assert "3 of 1000 rows were rejected" in few.stderr
    assert not (tmp_path / "few.csv").exists()
    assert pl.read_csv(tmp_path / "few.csv.rejects.csv").height == 3


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few hundred rows, so that small files have many."""
    monkeypatch.setattr(planning, "BLOCK", 16 << 10)
    monkeypatch.setattr(planning, "TABLE_BLOCK", 700)
    monkeypatch.setattr(writing, "ROW_GROUP", 1500)
    monkeypatch.setattr(running, "TOLD_SECONDS", 0.0)


def test_neither_chunks_nor_threads_change_a_byte(registered, tmp_path, small_blocks):
    rows = pl.concat([ROWS] * 10)
    rows.write_csv(tmp_path / "rows.csv")
    rows.write_parquet(tmp_path / "rows.parquet")
    found = {}
    for source in ("rows.csv", "rows.parquet"):
        for form in READERS:
            for chunk, threads in ((1, 1), (1 << 16, 2), (1 << 30, 3)):
                out = tmp_path / f"{chunk}-{source}.{form}"
                job = registered.score("late", tmp_path / source, out, keep="flight", chunk=chunk, threads=threads)
                assert job.error is None
                found.setdefault((source, form), set()).add(out.read_bytes())
    assert {key: len(contents) for key, contents in found.items()} == dict.fromkeys(found, 1)


def test_a_folder_and_a_glob_are_one_source(registered, tmp_path):
    folder = tmp_path / "days"
    (folder / "month=1").mkdir(parents=True)
    for day in range(3):
        ROWS[day * 300 : (day + 1) * 300].write_csv(folder / "month=1" / f"{day}.csv")
    (folder / "notes.md").write_text("no rows")
    for source in (folder, folder / "month=1" / "*.csv"):
        out = tmp_path / f"{source.name.strip('*.')}.csv"
        assert registered.score("late", source, out).counts.scored == 900
        assert pl.read_csv(out)["flight"].to_list() == [f"F{i}" for i in range(900)]
        assert pl.read_csv(out)["prediction_id"].n_unique() == 900


def test_a_spreadsheet_finds_no_formula(registered, tmp_path):
    rows = pl.DataFrame(
        {"note": ['=HYPERLINK("x")', "-5", "+1+1", "@a", "plain"], "minutes": [1.0] * 5, "carrier": "UA"}
    )
    rows.write_csv(tmp_path / "rows.csv")
    registered.score("late", tmp_path / "rows.csv", tmp_path / "safe.csv", keep="note")
    assert pl.read_csv(tmp_path / "safe.csv")["note"].to_list() == ['\'=HYPERLINK("x")', "-5", "'+1+1", "'@a", "plain"]
    registered.score("late", tmp_path / "rows.csv", tmp_path / "raw.csv", keep="note", escape=False)
    assert pl.read_csv(tmp_path / "raw.csv")["note"].to_list() == rows["note"].to_list()


def test_what_cannot_be_done_is_refused_at_once_or_ends_clearly(registered, tmp_path):
    ROWS.write_csv(tmp_path / "rows.csv")
    (tmp_path / "there.csv").write_text("mine")
    score = registered.score
    with pytest.raises(Conflict, match="exists already"):
        score("late", tmp_path / "rows.csv", tmp_path / "there.csv")
    assert (tmp_path / "there.csv").read_text() == "mine"
    for source, destination in (("no.csv", "a.csv"), ("rows.csv", "a.doc"), ("rows.csv", "no/a.csv")):
        with pytest.raises(InvalidInput):
            score("late", tmp_path / source, tmp_path / destination)
    with pytest.raises(InvalidInput, match="no number of rejects"):
        score("late", tmp_path / "rows.csv", tmp_path / "a.csv", rejects="few")
    (tmp_path / "narrow.csv").write_text("flight\nF1\n")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and nothing more")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("minutes,carrier\n")
    for source, said in (("torn.parquet", "could not be read"), ("empty.csv", "empty"), ("header.csv", "no rows")):
        job = score("late", tmp_path / source, tmp_path / "a.csv")
        assert (job.status, said in job.error["error"]) == ("failed", True), job.error
    job = score("late", tmp_path / "narrow.csv", tmp_path / "a.csv")
    assert job.status == "failed"
    assert "lack the column" in job.error["error"]
    assert not (tmp_path / "a.csv").exists()


def test_a_source_that_changed_is_scored_anew(registered, tmp_path):
    ROWS.write_csv(tmp_path / "rows.csv")
    first = registered.score("late", tmp_path / "rows.csv", tmp_path / "a.csv")
    ROWS[:10].write_csv(tmp_path / "rows.csv")
    with pytest.raises(Conflict, match="exists already"):
        registered.score("late", tmp_path / "rows.csv", tmp_path / "a.csv")
    (tmp_path / "a.csv").unlink()
    packed = tmp_path / "rows.csv.gz"
    for rows in (ROWS[:10], ROWS[:20]):
        packed.write_bytes(gzip.compress(rows.write_csv().encode()))
        (tmp_path / "b.csv").unlink(missing_ok=True)
        assert registered.score("late", packed, tmp_path / "b.csv").counts.scored == rows.height
    second = registered.score("late", tmp_path / "rows.csv", tmp_path / "a.csv")
    assert (second.counts.scored, second.id != first.id) == (10, True)
    assert second.digest != first.digest


def test_a_job_is_cancelled_and_goes_on_where_it_stood(registered, tmp_path, small_blocks):
    rows = pl.concat([ROWS] * 30)
    rows.write_csv(tmp_path / "rows.csv")
    seen = []

    def cancelling(job, what, _share):
        seen.append((what, job.chunks_done))
        if what == "scoring" and 0 < job.chunks_done < job.chunks and registered.job(job.id).status == "running":
            registered.cancel_job(job.id)

    asked = {"keep": "flight", "chunk": 1, "threads": 1}
    job = registered.score("late", tmp_path / "rows.csv", tmp_path / "a.csv", progress=cancelling, **asked)
    done = job.chunks_done
    assert (job.status, 0 < done < job.chunks) == ("cancelled", True)
    assert not (tmp_path / "a.csv").exists()
    registered.retry_job(job.id)
    ended = registered.work_at(job.id, lambda job, what, _share: seen.append((what, job.chunks_done)))
    assert (ended.status, ended.counts.scored) == ("done", 30_000)
    registered.score("late", tmp_path / "rows.csv", tmp_path / "b.csv", keep="flight")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    with pytest.raises(Conflict):
        registered.cancel_job(job.id)


def test_what_a_job_left_is_freed_when_it_is_old(registered, tmp_path):
    ROWS.write_csv(tmp_path / "rows.csv")
    job = registered.score("late", tmp_path / "rows.csv", tmp_path / "a.csv")
    sent = registered.uploads().begin("rows.csv", 3, "anna")
    places = registered.places
    assert not [one for one in registered.garbage() if one.kind in ("job", "upload")]
    freed = {(one.kind, one.name) for one in registered.gc(timedelta(0))}
    assert {("job", job.id), ("upload", sent.id)} <= freed
    assert not places.objects.children(places.jobs) and not places.objects.children(places.uploads)
    assert (registered.job(job.id).status, (tmp_path / "a.csv").exists()) == ("done", True)


def test_columns_of_odd_types_are_kept(registered, tmp_path):
    odd = {
        "bytes": pl.Series([b"ab", b"\xff"]),
        "span": pl.Series([timedelta(days=1), None]),
        "list": pl.Series([[1, 2], []]),
        "pair": pl.Series([{"a": 1}, {"a": None}]),
        "day": pl.Series(["2020-01-01", None]).str.to_date(),
    }
    rows = pl.DataFrame({"minutes": [1.0, 50.0], "carrier": ["UA", "AA"], **odd})
    rows.write_parquet(tmp_path / "rows.parquet")
    for form in ("csv", "jsonl", "parquet", "xlsx"):
        assert registered.score("late", tmp_path / "rows.parquet", tmp_path / f"a.{form}").error is None
    found = pl.read_csv(tmp_path / "a.csv", infer_schema=False)
    assert found.select("bytes", "span", "list", "pair", "day").row(0) == (
        "YWI=",
        "P1D",
        "[1,2]",
        '{"a":1}',
        "2020-01-01",
    )
    assert pl.read_parquet(tmp_path / "a.parquet").select(*odd).equals(rows.select(*odd))


def test_a_job_ends_and_is_told_of_or_neither(registered, tmp_path, monkeypatch):
    ROWS.write_csv(tmp_path / "rows.csv")
    right = outbox._add

    def killed(connection, rows):
        right(connection, rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(outbox, "_add", killed)
    with pytest.raises(KeyboardInterrupt):
        registered.score("late", tmp_path / "rows.csv", tmp_path / "a.csv", tell=("anna@example.org",))
    assert registered.outbox.list() == []
    assert registered.jobs()[0].status in ("queued", "running")
    monkeypatch.setattr(outbox, "_add", right)
    job = registered.score("late", tmp_path / "rows.csv", tmp_path / "a.csv", tell=("anna@example.org",))
    assert job.status == "done"
    assert [one.receiver for one in registered.outbox.list()] == ["anna@example.org"]


def test_memory_chooses_chunk_and_threads(registered, tmp_path, run_headrace):
    assert planning.within_memory(400 << 20, 3) == (4 << 20, 3)
    assert planning.within_memory(4 << 30, 2) == (64 << 20, 2)
    assert planning.within_memory(350 << 20, 8) == (4 << 20, 1)
    ROWS.write_csv(tmp_path / "rows.csv")
    here = ("--workspace", registered.places.url, "score", "late", "rows.csv", "a.csv", "--json")
    few = run_headrace(*here, "--memory", "100MB", cwd=tmp_path)
    assert (few.returncode, "at least 344 MiB" in few.stdout + few.stderr) == (2, True), few.stdout
    done = run_headrace(*here, "--memory", "1GB", cwd=tmp_path)
    assert json.loads(done.stdout)["status"] == "done"
