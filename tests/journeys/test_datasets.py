"""Datasets without a function: files, tables, queries, object storage, DVC; expectations; joins as of a moment; changes."""

import hashlib
import shutil
import sqlite3
from datetime import datetime, timedelta

import deltalake
import polars as pl
import pytest
from tests.conftest import eventually, headrace_command

from headrace.kernel.errors import InvalidInput, InvalidProject, NotTrusted, SchemaViolation

MODEL = """
class Fitted:
    classes_ = [False, True]
    def __init__(self, limit): self.limit = limit
    def predict_proba(self, frame): return [[1 - (v > self.limit), float(v > self.limit)] for v in frame["x"]]
    def predict(self, frame): return [v > self.limit for v in frame["x"]]

def train(frame): return Fitted(frame["x"].mean())
"""


def frame(start=0, n=200):
    ids = range(start, start + n)
    return pl.DataFrame({"id": ids, "x": [float(i % 17) for i in ids], "late": [i % 17 > 8 for i in ids]})


@pytest.fixture
def project(tmp_path):
    """A project whose dataset section is to be written."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)

    def write(dataset, model="", more=""):
        text = f'[project]\nname = "p"\n[dataset.rows]\nkey = ["id"]\n{dataset}\n{more}\n[model.m]\n'
        text += f'dataset = "rows"\ntarget = "late"\ntrain = "model:train"\n{model}\n'
        (folder / "headrace.toml").write_text(text)
        return folder

    write.folder = folder
    return write


def rows_of(ws):
    snapshot = ws.snapshots.list("rows", limit=1)[0]
    return snapshot, ws.snapshots.read(snapshot)


def test_files_by_a_glob_and_a_folder(ws, project):
    for i in range(2):
        frame(i * 100, 100).write_parquet(project.folder / f"part-{i}.parquet")
    assert ws.run(project=project('source = "part-*.parquet"')).reference == "m@1"
    snapshot, found = rows_of(ws)
    assert found.equals(frame()) and [line.split(":")[0] for line in snapshot.origin] == [
        "part-0.parquet",
        "part-1.parquet",
    ]
    digest = hashlib.sha256((project.folder / "part-0.parquet").read_bytes()).hexdigest()
    assert snapshot.origin[0].endswith(digest)
    (project.folder / "data").mkdir()
    frame(0, 100).write_csv(project.folder / "data" / "a.csv")
    frame(100, 100).write_ndjson(project.folder / "data" / "b.jsonl")
    ws.run(project=project('source = "data"'))
    assert rows_of(ws)[0].digest == snapshot.digest  # the same rows are the same snapshot
    told = headrace_command("--workspace", ws.places.url, "data", "show", snapshot.digest[:12]).stdout
    assert "part-0.parquet: sha256" in " ".join(told.split())


def test_a_delta_table_and_a_query(ws, project):
    deltalake.write_deltalake(str(project.folder / "table"), frame(0, 50))
    deltalake.write_deltalake(str(project.folder / "table"), frame(), mode="overwrite")
    ws.run(project=project('source = "table"'))
    first, found = rows_of(ws)
    assert found.equals(frame()) and first.origin == ("table: Delta version 1",)
    database = project.folder / "rows.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE r (id INTEGER, x REAL, late INTEGER)")
        connection.executemany(
            "INSERT INTO r VALUES (?, ?, ?)", frame().with_columns(pl.col("late").cast(pl.Int64)).rows()
        )
    connection.close()
    ws.run(project=project(f'sql = "SELECT * FROM r WHERE id < 120 ORDER BY id"\ndatabase = "sqlite:///{database}"'))
    snapshot, found = rows_of(ws)
    assert found.height == 120 and "SELECT * FROM r WHERE id < 120" in snapshot.origin[0]


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ("", "it names no source"),
        ('source = "a.csv"\nload = "model:train"', "it names load and source"),
        ('sql = "SELECT 1"', "sql and database belong together"),
        ('sql = "SELECT 1"\ndatabase = "postgresql://me:secret@h/d"', "database holds a password"),
        ('base = "nothing"', "unknown dataset 'nothing'"),
        ('base = "rows"', "it is made of itself"),
        ('source = "a.csv"\njoin = [{dataset = "rows", on = ["id"], known = "t"}]', "nothing to join to"),
    ],
)
def test_a_dataset_that_says_it_wrongly(ws, project, dataset, says):
    with pytest.raises(InvalidProject, match=says):
        ws.run(project=project(dataset))


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ('source = "nothing/*.csv"', "There is nothing at 'nothing/\\*.csv'"),
        ('sql = "SELECT * FROM nowhere"\ndatabase = "sqlite://"', "no such table"),
        ('sql = "SELECT 1"\ndatabase = "env:NO_SUCH_NAME"', "NO_SUCH_NAME is not set"),
        ('sql = "SELECT 1"\ndatabase = "nothing://x"', "no address that can be used"),
    ],
)
def test_a_source_that_gives_nothing(ws, project, dataset, says):
    with pytest.raises(InvalidInput, match=says):
        ws.run(project=project(dataset))
    assert ws.snapshots.list() == []


def test_what_dvc_tracks_is_taken_with_its_hash(ws, project):
    path = project.folder / "rows.csv"
    frame().write_csv(path)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    path.with_name("rows.csv.dvc").write_text(f"outs:\n- md5: {md5}\n  size: {path.stat().st_size}\n  path: rows.csv\n")
    folder = project('source = "rows.csv"')
    ws.run(project=folder)
    first = rows_of(ws)[0]
    assert first.origin == (f"rows.csv: DVC md5 {md5}",)
    cached = folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True)
    shutil.move(path, cached)  # as on a machine where it was not checked out
    ws.run(project=folder)
    assert rows_of(ws)[0].digest == first.digest
    frame(1).write_csv(path)
    with pytest.raises(NotTrusted, match="not the file that DVC tracks"):
        ws.run(project=folder)


def test_what_is_expected_stops_a_run_and_names_the_rows(ws, project):
    expect = """
[dataset.rows.expect]
min_rows = 100
[dataset.rows.expect.columns.x]
min = 0
max = 20
nulls = 0.0
[dataset.rows.expect.columns.kind]
one_of = ["a", "b"]
matches = "[a-z]"
"""
    good = frame().with_columns(kind=pl.Series(["a", "b"] * 100))
    good.write_parquet(project.folder / "rows.parquet")
    folder = project('source = "rows.parquet"', more=expect)
    assert ws.run(project=folder).number == 1 and rows_of(ws)[0].findings == ()
    bad = good.with_columns(
        x=pl.when(pl.col("id") == 7).then(99.0).otherwise("x"),
        kind=pl.when(pl.col("id") == 9).then(pl.lit("ZZ")).otherwise("kind"),
        id=pl.when(pl.col("id") == 11).then(10).otherwise("id"),
    )
    bad.write_parquet(project.folder / "rows.parquet")
    with pytest.raises(SchemaViolation) as error:
        ws.run(project=folder)
    said = error.value.text
    for part in (
        "x: expected at most 20; 1 of 200",
        "the first rows: 7",
        "id=7, x=99.0",
        "one of a, b",
        "one row for each key",
    ):
        assert part in said, (part, said)
    assert len(ws.snapshots.list("rows")) == 1
    frame(0, 50).write_parquet(project.folder / "rows.parquet")
    with pytest.raises(SchemaViolation, match="at least 100 rows"):
        ws.run(project=folder)


def test_what_was_seen_before_is_expected_but_not_insisted_on(ws, project):
    frame().write_parquet(project.folder / "rows.parquet")
    folder = project('source = "rows.parquet"')
    ws.run(project=folder)
    frame().with_columns(
        x=pl.when(pl.col("id") == 7).then(990.0).when(pl.col("id") == 8).then(None).otherwise("x").fill_null(-1.0)
    ).write_parquet(project.folder / "rows.parquet")
    ws.run(project=folder)
    (finding,) = rows_of(ws)[0].findings
    assert finding.column == "x" and finding.rows == (7, 8) and "0 to 16, as before" in finding.expected
    told = headrace_command("--workspace", ws.places.url, "data", "show", rows_of(ws)[0].digest[:12]).stdout
    assert "finding: x: expected 0 to 16, as before" in " ".join(told.split())


def test_no_value_of_a_hidden_column_is_told(ws, project):
    expect = "[dataset.rows.expect.columns.x]\nmax = 1000"
    frame().write_parquet(project.folder / "rows.parquet")
    folder = project('source = "rows.parquet"', '[model.m.capture]\nmask = ["x"]', expect)
    ws.run(project=folder)
    secret = frame().with_columns(x=pl.when(pl.col("id") == 7).then(990.25).otherwise("x"))
    secret.write_parquet(project.folder / "rows.parquet")
    ws.run(project=folder)
    (finding,) = rows_of(ws)[0].findings
    assert (finding.column, finding.rows, finding.examples) == ("x", (7,), ())
    assert finding.expected == "within the range, as before"
    secret.with_columns(pl.col("x") * 2).write_parquet(project.folder / "rows.parquet")
    with pytest.raises(SchemaViolation, match="the first rows: 7") as error:
        ws.run(project=folder)
    assert "1980" not in error.value.text


def test_tables_are_joined_as_of_each_rows_own_moment(ws, project):
    day = datetime(2024, 1, 1)
    base = frame().with_columns(at=pl.Series([day + timedelta(hours=i) for i in range(200)]), shop=pl.lit("s"))
    base.write_parquet(project.folder / "base.parquet")
    prices = pl.DataFrame(
        {
            "shop": ["s"] * 3,
            "since": [day, day + timedelta(hours=50), day + timedelta(hours=500)],
            "price": [1.0, 2.0, 3.0],
        }
    )
    prices.write_parquet(project.folder / "prices.parquet")
    more = '[dataset.base]\nsource = "base.parquet"\n[dataset.prices]\nsource = "prices.parquet"\n'
    join = 'join = [{dataset = "prices", on = ["shop"], known = "since", within = "100h"}]'
    ws.run(project=project(f'base = "base"\ntime = "at"\n{join}', more=more))
    snapshot, found = rows_of(ws)
    expected = [None] + [1.0] * 50 + [2.0] * 100 + [None] * 49
    assert found.sort("id")["price"].to_list() == expected  # what begins at a row's own moment was not known before it
    assert len(snapshot.origin) == 2 and "as of since" in snapshot.origin[1]


def test_a_feature_from_after_the_moment_is_found(ws, project):
    day = datetime(2024, 1, 1)
    moments = [day + timedelta(hours=i) for i in range(200)]
    leaky = frame().with_columns(at=pl.Series(moments), landed=pl.Series([m + timedelta(hours=2) for m in moments]))
    leaky.write_parquet(project.folder / "rows.parquet")
    ws.run(project=project('source = "rows.parquet"\ntime = "at"'))
    (finding,) = rows_of(ws)[0].findings
    assert finding.column == "landed" and finding.count == 200 and "not known yet" in finding.expected


def test_a_changed_dataset_starts_a_run(ws, project, monkeypatch):
    frame().write_parquet(project.folder / "rows.parquet")
    folder = project('source = "rows.parquet"', model='[model.m.retrain]\non = ["data"]\nevery = "1s"')
    ws.run(project=folder)
    monkeypatch.setenv("HEADRACE_TURN_SECONDS", "0.1")
    worker = ws._start_worker()
    try:
        eventually(lambda: any("unchanged" in s.note for run in ws.runs("m") for s in run.steps), 60)
        assert [version.number for version in ws.versions("m")] == [1]
        frame(0, 300).write_parquet(project.folder / "rows.parquet")
        eventually(lambda: len(ws.versions("m")) == 2, 60)
    finally:
        worker.terminate()
        worker.wait()
    run = ws.run_store.get(ws.version("m@2").lineage.run)
    assert run.reason == "data: looked at every 1s" and run.created_by == "policy"
    assert rows_of(ws)[1].height == 300


def test_a_column_that_may_never_be_used_is_not(ws, project):
    frame().write_parquet(project.folder / "rows.parquet")
    with pytest.raises(InvalidProject, match=r"model:train uses 'x', which never of \[dataset.rows\] names"):
        ws.run(project=project('source = "rows.parquet"\nnever = ["x"]'))
    assert ws.models() == [] or ws.versions("m") == []
    assert ws.run(project=project('source = "rows.parquet"\nnever = ["colour"]')).number == 1
