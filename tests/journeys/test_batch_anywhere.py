"""Rows are taken from wherever they lie, and answers put wherever they belong: folders that name columns, Delta tables,
databases, object storage."""

import sqlite3

import deltalake
import polars as pl
import pytest
from tests.journeys.test_batch import ROWS
from tests.servers import BUCKET, postgres_server, s3_server

from headrace.batch.job import Options
from headrace.batch.origins.finding import newest
from headrace.batch.running import Runner
from headrace.kernel.errors import Conflict, InvalidInput


@pytest.fixture(scope="module")
def postgres():
    """The address of a database of a real PostgreSQL, with the rows in it."""
    import psycopg

    with postgres_server() as port:
        address = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        with psycopg.connect(address) as connection:
            connection.execute("CREATE TABLE flights (flight text, minutes double precision, carrier text)")
            with connection.cursor().copy("COPY flights FROM STDIN (FORMAT csv)") as copy:
                copy.write(ROWS.write_csv(include_header=False))
        yield address


@pytest.fixture
def databases(request, tmp_path):
    """The address of a database of each kind, with the rows in it."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres")
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "rows.db") as connection:
            connection.execute("CREATE TABLE flights (flight text, minutes real, carrier text)")
            connection.executemany("INSERT INTO flights VALUES (?, ?, ?)", ROWS.rows())
        connection.close()
        return f"sqlite:///{tmp_path}/rows.db"
    import duckdb

    ROWS.write_parquet(tmp_path / "rows.parquet")
    with duckdb.connect(tmp_path / "rows.duckdb") as connection:
        connection.execute(f"CREATE TABLE flights AS SELECT * FROM '{tmp_path}/rows.parquet'")
    return f"duckdb:///{tmp_path}/rows.duckdb"


KINDS = ["sqlite", "duckdb", pytest.param("postgresql", marks=pytest.mark.servers)]


@pytest.mark.parametrize("databases", KINDS, indirect=True)
def test_a_table_is_scored_into_a_table(registered, databases, monkeypatch):
    monkeypatch.setenv("WAREHOUSE", databases)
    expected = registered.predict("late", ROWS)
    job = registered.score("late", "env:WAREHOUSE#flights", "env:WAREHOUSE#answers", keep="flight")
    assert (job.error, job.counts.scored) == (None, 1000)
    there = _read(databases, "answers")
    assert there["flight"].to_list() == ROWS["flight"].to_list()
    assert [bool(value) for value in there["prediction"]] == expected["prediction"].to_list()
    assert there["probability.true"].to_list() == expected["probability.true"].to_list()
    assert there["job"].unique().to_list() == [job.id]
    assert registered.first_answers(job.id, 3).height == 3
    with pytest.raises(Conflict, match="answers exists already"):
        registered.score("late", "env:WAREHOUSE#flights", "env:WAREHOUSE#answers", keep="flight")
    more = {"sql": "SELECT * FROM flights WHERE carrier = 'UA' ORDER BY flight", "keep": "flight"}
    added = registered.score("late", "env:WAREHOUSE", "env:WAREHOUSE#answers", append=True, **more)
    count = ROWS.filter(carrier="UA").height
    assert (added.counts.scored, _read(databases, "answers").height) == (count, 1000 + count)
    anew = registered.score("late", "env:WAREHOUSE", "env:WAREHOUSE#answers", overwrite=True, **more)
    assert _read(databases, "answers")["job"].unique().to_list() == [anew.id]


@pytest.mark.parametrize("databases", KINDS, indirect=True)
def test_rows_above_a_value_are_taken(registered, databases, tmp_path):
    query = "SELECT *, ':x 100%' AS note FROM flights"
    asked = Options(sql=query)
    largest = newest(databases, "flight", asked, {})
    assert largest == ROWS["flight"].max()
    for low, high in ((None, "F5"), ("F5", largest)):
        out = tmp_path / f"{high}.parquet"
        job = registered.score("late", databases, out, sql=query, after=("flight", low, high), keep="all")
        wanted = ROWS.filter((pl.col("flight") <= high) & ((pl.col("flight") > low) if low else True))
        assert job.error is None
        found = pl.read_parquet(out)
        assert found["flight"].to_list() == wanted["flight"].sort().to_list()
        assert found["note"].unique().to_list() == [":x 100%"]
    with pytest.raises(InvalidInput):
        newest(databases, "nothing", asked, {})


def _read(address, name):
    if address.startswith("duckdb"):
        import duckdb

        with duckdb.connect(address.removeprefix("duckdb:///"), read_only=True) as connection:
            found = connection.execute(f"SELECT * FROM {name}")
            return pl.DataFrame(found.fetchall(), schema=[one[0] for one in found.description], orient="row")
    if address.startswith("sqlite"):
        connection = sqlite3.connect(address.removeprefix("sqlite:///"))
        frame = pl.read_database(f"SELECT * FROM {name}", connection)
        connection.close()
        return frame
    import psycopg

    with psycopg.connect(address) as connection:
        return pl.read_database(f"SELECT * FROM {name}", connection)


def killed_after_delivering(monkeypatch):
    """The next job's process dies between putting its answers there and saying so."""
    whole = Runner._finish

    def dying(self, under, watching):
        monkeypatch.setattr(Runner, "_finish", whole)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._jobs, "end", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            return whole(self, under, watching)

    monkeypatch.setattr(Runner, "_finish", dying)


@pytest.mark.parametrize("databases", ["sqlite", "duckdb"], indirect=True)
def test_rows_are_added_once_however_the_job_is_killed(registered, databases, monkeypatch):
    words = ("late", f"{databases}#flights", f"{databases}#answers")
    registered.score(*words)
    killed_after_delivering(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        registered.score("late", databases, words[2], sql="SELECT * FROM flights LIMIT 10", append=True)
    assert _read(databases, "answers").height == 1010
    (job, _) = registered.jobs()
    assert registered.work_at(job.id).status == "done"
    assert _read(databases, "answers").height == 1010


def test_rejects_of_a_table_are_a_file_of_the_workspace(registered, tmp_path):
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        connection.execute("CREATE TABLE flights (minutes, carrier)")
        connection.executemany("INSERT INTO flights VALUES (?, ?)", [(1.5, "UA"), (2.5, "explode"), (None, "AA")])
    connection.close()
    job = registered.score("late", f"sqlite:///{tmp_path}/rows.db#flights", f"delta:{tmp_path}/answers")
    assert (job.counts.scored, job.counts.rejected) == (2, 1)
    rejects = pl.read_csv(registered.job_file(job.id, "rejects"))
    assert rejects["line"].to_list() == [2]
    assert "explodes" in rejects["reason"][0]
    assert str(registered.job_file(job.id, "rejects")) == job.rejects


WRONG = [
    ("sqlite:///{0}/rows.db", {}, "is said nowhere"),
    ("sqlite:///{0}/rows.db#flights", {"sql": "SELECT 1"}, "is said twice"),
    ("sqlite:///{0}/rows.db#nothing", {}, "no such table"),
    ("env:NOTSET#flights", {}, "NOTSET is not set"),
    ("postgresql://me:secret@127.0.0.1:1/x#flights", {}, "A password stands in the address"),
    ("duckdb:///{0}/nothing.duckdb#flights", {}, "could not be read"),
    ("delta:{0}/nothing", {}, "cannot be read"),
    ("{0}/rows.csv", {"sql": "SELECT 1"}, "is no database"),
    ("{0}/rows.csv", {"append": True}, "cannot be added to the file"),
]


@pytest.mark.parametrize(("source", "options", "said"), WRONG)
def test_what_cannot_be_read_is_told(registered, tmp_path, source, options, said):
    ROWS.write_csv(tmp_path / "rows.csv")
    sqlite3.connect(tmp_path / "rows.db").close()

    def outcome():
        job = registered.score("late", source.format(tmp_path), tmp_path / "out.csv", **options)
        assert job.status == "failed"
        raise InvalidInput(job.error["error"], todo="-")

    with pytest.raises(InvalidInput, match=said) as error:
        outcome()
    assert "secret" not in str(error.value)
    assert not (tmp_path / "out.csv").exists()


def test_a_delta_table_is_scored_into_one(registered, tmp_path, monkeypatch):
    deltalake.write_deltalake(tmp_path / "rows", ROWS, partition_by=["carrier"])
    expected = registered.predict("late", pl.read_delta(str(tmp_path / "rows")))
    words = ("late", tmp_path / "rows", f"delta:{tmp_path}/answers")
    job = registered.score(*words)
    numbers = pl.col("prediction_id").str.split(".").list.last().cast(pl.Int64)  # a Delta table has no order
    there = pl.read_delta(f"{tmp_path}/answers").sort(numbers)
    assert there.select(expected.columns).equals(expected)
    assert registered.score(*words).id == job.id, "nothing changed"
    deltalake.write_deltalake(tmp_path / "rows", ROWS.head(5), mode="append")
    with pytest.raises(Conflict):
        registered.score(*words)
    killed_after_delivering(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        registered.score(*words, append=True)
    assert registered.work_at(registered.jobs()[0].id).status == "done"
    assert pl.read_delta(f"{tmp_path}/answers").height == 2005


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_folders_may_name_columns(registered, tmp_path, ending):
    carriers = ROWS["carrier"].unique(maintain_order=True).to_list()
    for carrier in carriers:
        folder = tmp_path / "rows" / f"carrier={carrier}" / "minutes_of=2026"
        folder.mkdir(parents=True)
        rows = ROWS.filter(carrier=carrier).drop("carrier")
        getattr(rows, {"csv": "write_csv", "jsonl": "write_ndjson", "parquet": "write_parquet"}[ending])(
            folder / f"part.{ending}"
        )
    job = registered.score("late", tmp_path / "rows", tmp_path / "out.parquet", keep="all")
    assert job.error is None
    answers = pl.read_parquet(tmp_path / "out.parquet")
    assert answers.columns[:4] == ["flight", "minutes", "carrier", "minutes_of"]
    whole = pl.concat([ROWS.filter(carrier=carrier) for carrier in sorted(carriers)])
    assert answers.select("flight", "carrier").equals(whole.select("flight", "carrier"))
    expected = registered.predict("late", whole)
    assert answers.select(expected.columns).equals(expected)


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """A prefix of a real server that speaks S3."""
    with s3_server(tmp_path / "s3.log") as port:
        named = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        for name, value in {**named, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
            monkeypatch.setenv(name, value)
        yield f"s3://{BUCKET}"


@pytest.mark.servers
@pytest.mark.embedded
def test_object_storage_is_source_and_destination(registered, storage, tmp_path, monkeypatch):
    from obstore.store import from_url

    bucket = from_url(storage)
    for number, part in enumerate(ROWS.iter_slices(400)):
        bucket.put(f"in/month={number}/rows.csv", part.write_csv().encode())
    bucket.put("in/_temporary/rows.csv", b"no,rows\n")
    expected = registered.predict("late", ROWS)
    job = registered.score("late", f"{storage}/in", f"{storage}/out/answers.parquet", keep="flight,month")
    assert job.error is None
    answers = pl.read_parquet(bytes(bucket.get("out/answers.parquet").bytes()))
    assert answers.select(expected.columns).equals(expected)
    assert answers["month"].unique(maintain_order=True).to_list() == ["0", "1", "2"]
    assert registered.score("late", f"{storage}/in", f"{storage}/out/answers.parquet", keep="flight,month").id == job.id
    assert registered.first_answers(job.id).height == 10
    with pytest.raises(Conflict, match="exists already"):
        registered.score("late", f"{storage}/in/month=1/rows.csv", f"{storage}/out/answers.parquet")
    some = registered.score("late", f"{storage}/in/**/*.csv", tmp_path / "some.csv", rejects="1")
    assert some.counts.scored == 1000
    bucket.put("in/month=2/bad.csv", b"flight,minutes,carrier\nF1,x,UA\nF2,3,UA\n")
    bad = registered.score("late", f"{storage}/in/*2/bad.csv", f"{storage}/out/bad.csv")
    assert b"month=2/bad.csv" in bytes(bucket.get("out/bad.csv.rejects.csv").bytes())
    assert (bad.counts.scored, bad.counts.rejected) == (1, 1)
    killed_after_delivering(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        registered.score("late", f"{storage}/in/month=0/rows.csv", f"{storage}/out/killed.csv")
    assert registered.work_at(registered.jobs()[0].id).status == "done"
    for source, said in ((f"{storage}/nothing", "holds no file"), (f"{storage}/x/*.csv", "There is nothing at")):
        with pytest.raises(InvalidInput, match=said):
            registered.score("late", source, tmp_path / "none.csv")
    delta = registered.score("late", f"{storage}/in/month=0/rows.csv", f"delta:{storage}/table")
    assert (delta.error, pl.read_delta(f"{storage}/table").height) == (None, 400)
    again = registered.score("late", f"delta:{storage}/table", tmp_path / "again.csv")
    assert again.counts.scored == 400
