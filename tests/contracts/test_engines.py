"""Wherever the chunks of a job are scored, on threads here, on Ray or on Spark, its files are the same to the byte."""

from __future__ import annotations

import gzip
import importlib.util
import os
import shutil
import signal
from pathlib import Path

import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OneHotEncoder
from tests.clients import absent
from tests.conftest import Threshold

import headrace
from headrace.batch import planning
from headrace.batch.engines import on_ray, on_spark, remote
from headrace.batch.engines.frames import prepared
from headrace.kernel.errors import InvalidInput, NotTrusted, Unavailable

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("engines"),
    pytest.mark.filterwarnings("ignore"),  # of theirs
    pytest.mark.timeout(300),
]
COUNT = 3_000
ROWS = pl.DataFrame(
    {
        "flight": [f"F{i}" for i in range(COUNT)],
        "minutes": [None if i % 11 == 0 else i % 90 + 0.5 for i in range(COUNT)],
        "carrier": [("UA", "AA", 'B"6', "=1+1")[i % 4] for i in range(COUNT)],
    }
)


def _bad(path: Path) -> None:
    """A CSV with a quoted field over two lines, and rows that cannot be scored."""
    lines = ROWS.write_csv().splitlines()
    lines[10], lines[700], lines[2900] = "F9,long,UA", "F699,12.5", "F2899,1.5,explode"
    lines[1500] = '"F1499\nnext",1.5,"U, A"'
    path.write_text("\n".join(lines))


SOURCES = {
    "rows.csv": _bad,
    "rows.csv.gz": lambda path: path.write_bytes(gzip.compress(ROWS.write_csv().encode())),
    "rows.jsonl": lambda path: path.write_text(
        '{"minutes": "x", "carrier": "UA"}\n[1]\n' + ROWS.write_ndjson() + '{"minutes": 1.0}\n'
    ),
    "rows.parquet": lambda path: ROWS.with_columns(
        pl.when(pl.col("flight") == "F77").then(float("inf")).otherwise(pl.col("minutes")).alias("minutes")
    ).write_parquet(path, row_group_size=500),
    "rows.arrow": lambda path: ROWS.write_ipc(path),
    "rows.xlsx": lambda path: ROWS.write_excel(path),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A workspace with a compiled version and one of a Python class that raises at some rows."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline

    folder = tmp_path_factory.mktemp("engines")
    ws = headrace.open(folder / "ws")
    example = ROWS.head(400).drop("flight").to_pandas()
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"]), ("passthrough", ["minutes"])
    )
    fitted = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=20))
    ws.register("compiled", fitted.fit(example, example["minutes"].fillna(0) > 30), example=example)
    ws.register("plain", Threshold(30.0), example=ROWS.head(400).drop("flight"))
    yield ws
    ws.close()


@pytest.fixture(scope="module", params=["ray", "spark"])
def engine(request):
    """An engine that is connected; it is begun once."""
    if importlib.util.find_spec({"ray": "ray", "spark": "pyspark"}[request.param]) is None:
        absent(request.param, f"{request.param} is not installed: pip install 'headrace[{request.param}]'")
    if request.param == "ray":
        ray = on_ray.connected("", 2)
        yield "ray"
        ray.shutdown()
        return
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        absent("spark", "Spark needs Java, which is not installed")
    session = on_spark.session("local[2]", 0)
    session.sparkContext.setLogLevel("OFF")
    yield "spark:local[2]"
    session.stop()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Many chunks of few rows."""
    monkeypatch.setattr(planning, "BLOCK", 16 << 10)
    monkeypatch.setattr(planning, "TABLE_BLOCK", 400)


def files(folder: Path) -> dict[str, bytes]:
    """What a job wrote."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def scored(ws, model, source, folder, result, **options):
    """The files of a job, and its counts."""
    folder.mkdir()
    job = ws.score(f"{model}@1", source, folder / f"out{result}", chunk=1, **options)
    assert job.status == "done", job.error
    return files(folder), job.counts


@pytest.mark.parametrize("source", SOURCES)
def test_files_are_the_same_to_the_byte(models, engine, tmp_path, source):
    SOURCES[source](tmp_path / source)
    for model, result in (("compiled", ".csv"), ("plain", ".parquet"), ("compiled", ".jsonl")):
        here, counts = scored(models, model, tmp_path / source, tmp_path / f"local{result}", result)
        there, their_counts = scored(
            models, model, tmp_path / source, tmp_path / f"there{result}", result, engine=engine
        )
        assert there == here, (model, result)
        assert their_counts == counts
        assert counts.scored > 2_900
        assert (counts.rejected > 0) == (source in ("rows.csv", "rows.jsonl", "rows.parquet"))


def test_machines_that_see_no_files_are_sent_the_rows(models, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(on_spark, "master_of", lambda _: "spark://elsewhere:7077")
    monkeypatch.setattr(on_ray, "sees_files", lambda *_: False)
    for source in ("rows.csv", "rows.jsonl", "rows.parquet"):
        SOURCES[source](tmp_path / source)
        here, _ = scored(models, "compiled", tmp_path / source, tmp_path / f"local-{source}", ".csv", keep="flight")
        there, _ = scored(
            models, "compiled", tmp_path / source, tmp_path / f"there-{source}", ".csv", keep="flight", engine=engine
        )
        assert there == here, source


def test_what_an_engine_scored_is_kept_when_it_fails(models, engine, tmp_path, monkeypatch):
    _bad(tmp_path / "rows.csv")
    here, _ = scored(models, "compiled", tmp_path / "rows.csv", tmp_path / "local", ".csv")
    (tmp_path / "there").mkdir()
    module = on_ray if engine == "ray" else on_spark
    right = module.scored_there

    def failing(wrong):
        """Scores but for some chunks; runs on their machines."""

        def one(bundle, order, chunk, content):
            if wrong(chunk.number):
                raise RuntimeError(f"the machine with chunk {chunk.number} is lost")
            return right(bundle, order, chunk, content)

        return one

    monkeypatch.setattr(remote, "EACH", 1)
    monkeypatch.setattr(module, "scored_there", failing(lambda number: number == 2))
    job = models.score("compiled@1", tmp_path / "rows.csv", tmp_path / "there" / "out.csv", chunk=1, engine=engine)
    assert (job.status, job.error["kind"]) == ("failed", "unavailable")
    assert "RuntimeError: the machine with chunk 2 is lost" in job.error["error"]
    monkeypatch.setattr(module, "scored_there", failing(lambda number: number < 2))
    job = models.score("compiled@1", tmp_path / "rows.csv", tmp_path / "there" / "out.csv", chunk=1, engine=engine)
    assert job.status == "done", "what was scored before is not scored again"
    assert files(tmp_path / "there") == here


def test_a_source_that_changes_is_told_of(models, engine, tmp_path, monkeypatch):
    _bad(tmp_path / "rows.csv")
    right = remote.packed

    def packed(folder):
        with (tmp_path / "rows.csv").open("a") as file:
            file.write("\nF1,2.5,UA")
        return right(folder)

    monkeypatch.setattr(remote, "packed", packed)
    job = models.score("compiled@1", tmp_path / "rows.csv", tmp_path / "out.csv", chunk=1, engine=engine)
    assert (job.status, job.error["kind"]) == ("failed", "conflict")
    assert "rows.csv changed" in job.error["error"]
    assert not (tmp_path / "out.csv").exists()


def test_predictions_are_captured_as_here(models, engine, tmp_path):
    SOURCES["rows.parquet"](tmp_path / "rows.parquet")
    inbox = models.places.predictions_inbox
    found = {}
    for name in ("local", engine):
        for path in inbox.glob("*.arrow"):
            path.unlink()
        scored(models, "compiled", tmp_path / "rows.parquet", tmp_path / name.partition(":")[0], ".csv", engine=name)
        frames = [pl.read_ipc(path) for path in sorted(inbox.glob("*.arrow"))]
        found[name] = pl.concat(frames).drop("time", "moment", "date")
    assert found[engine].equals(found["local"])
    assert found["local"].height == COUNT - 1


def test_a_wrong_engine_is_refused_at_once(models, tmp_path):
    ROWS.write_csv(tmp_path / "rows.csv")
    with pytest.raises(InvalidInput, match="no engine 'dask'"):
        models.score("compiled@1", tmp_path / "rows.csv", tmp_path / "out.csv", engine="dask")


def expected(ws, model):
    """The answers that a job gives here, and which rows have none."""
    return ws.predict(f"{model}@1", ROWS)


@pytest.mark.parametrize("engine", ["spark"], indirect=True)
def test_a_function_of_spark_gives_the_same_answers(models, engine, tmp_path):
    from pyspark.sql import functions

    session = on_spark.session(None, 0)
    ROWS.write_parquet(tmp_path / "rows.parquet")
    table = session.read.parquet(str(tmp_path / "rows.parquet"))
    late = headrace.spark.udf("compiled@1", models)
    said = pl.DataFrame(
        table.select("flight", late(functions.struct("*")).alias("a")).select("flight", "a.*").toArrow()
    )
    right = expected(models, "compiled")
    assert said.select(right.columns).equals(right)
    assert said["version"].unique().to_list() == [1] and said["error"].null_count() == COUNT
    session.udf.register("late", late)
    table.createOrReplaceTempView("flights")
    by_sql = session.sql("SELECT late(minutes, carrier).`probability.true` AS p FROM flights").toArrow()
    assert pl.DataFrame(by_sql)["p"].equals(right["probability.true"].alias("p"))


def test_a_row_without_an_answer_says_why(models, engine):
    rows = [("F1", "long", "UA"), ("F2", "12.5", "UA"), ("F3", "1.5", "explode")]
    if engine != "ray":
        from pyspark.sql import functions

        session = on_spark.session(None, 0)
        late = headrace.spark.udf("plain@1", models)
        frame = session.createDataFrame(rows, "flight string, minutes string, carrier string")
        said = [row["a"].asDict() for row in frame.select(late(functions.struct("*")).alias("a")).collect()]
    else:
        import ray

        columns = ("flight", "minutes", "carrier")
        data = ray.data.from_items([dict(zip(columns, row, strict=True)) for row in rows])
        late = headrace.ray.predictor("plain@1", models)
        said = data.map_batches(late).take_all()
        said.sort(key=lambda row: row["flight"])
    assert [row["error"] is None for row in said] == [False, True, False]
    assert said[0]["error"].startswith("minutes: 'long' is not a number")
    assert "explodes" in said[2]["error"]
    assert said[0]["prediction"] is None and said[1]["prediction"] is not None


@pytest.mark.parametrize("form", ["pyarrow", "pandas", "numpy"])
@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_a_function_of_ray_gives_the_same_answers(models, engine, tmp_path, form):
    import ray

    ROWS.write_parquet(tmp_path / "rows.parquet")
    late = headrace.ray.predictor("compiled@1", models)
    rows = ray.data.read_parquet(str(tmp_path / "rows.parquet")).map_batches(late, batch_format=form, batch_size=700)
    said = pl.DataFrame(rows.take_all()).sort(pl.col("flight").str.slice(1).cast(pl.Int64))
    right = expected(models, "compiled")
    assert said.select(right.columns).equals(right)
    assert said["error"].null_count() == COUNT


def test_a_cluster_beside_the_one_that_is_connected_is_refused_or_connected(models, engine, tmp_path, monkeypatch):
    """One of whoever called is not left; a session of Spark that was begun for a job gives way."""
    module = on_ray if engine == "ray" else on_spark
    monkeypatch.setattr(module, "_OURS", [])
    ROWS.write_csv(tmp_path / "rows.csv")
    elsewhere = "ray:127.0.0.1:1" if engine == "ray" else "spark:spark://127.0.0.1:1"
    job = models.score("compiled@1", tmp_path / "rows.csv", tmp_path / "out.csv", engine=elsewhere)
    assert (job.status, job.error["kind"]) == ("failed", "invalid_input")
    assert "already" in job.error["error"]


def test_signals_stay_with_the_process(models, engine):
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_a_model_that_answers_nothing_there_is_no_fault_of_the_rows(models, engine, monkeypatch):
    it, files = prepared(models.version_store, "plain@1")
    scorer, _ = remote.unpacked(remote.Sent(it.digest, lambda: files))

    def broken(*_):
        raise TypeError("another library")

    monkeypatch.setattr(scorer, "fitted", type("Broken", (), {"predict": broken, "predict_proba": broken})())
    with pytest.raises(Unavailable, match="not even its golden rows: TypeError: another library"):
        it.answered(ROWS.head(20), lambda: files)


def test_an_altered_bundle_goes_nowhere(models, engine, tmp_path):
    version = models.version_store.get("compiled@1")
    copy = tmp_path / "bundle"
    shutil.copytree(models.version_store.folder(version), copy)
    graph = next(path for path in copy.rglob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"?")
    remote._OPEN.pop(version.digest, None)
    with pytest.raises(NotTrusted):
        remote.unpacked(remote.Sent(version.digest, lambda: remote.packed(copy)))
