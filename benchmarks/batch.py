"""A file of many rows, scored: `headrace score` beside pandas with scikit-learn, and beside reading and writing alone.

    python benchmarks/batch.py [--rows 10000000] [--folder DIR] [--models linear,trees] [--formats csv,parquet]
        [--who headrace,pandas,...] [--rounds 2]

Each contestant runs in a process of its own, from its start to the end of its file, and the best of the rounds counts;
its memory is the peak that the system saw, where it is one process. What is not installed is left out: pip install
scikit-learn mlflow pyarrow pyspark "ray[data]". Spark and Ray run on this machine's cores and write folders of files.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUMBERS, TEXTS = [f"n{i}" for i in range(8)], ["s0", "s1", "s2"]
PART = 1_000_000
CHUNK = 100_000


def rows_of(count: int, seed: int) -> Any:
    """Eight numbers and three texts."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(seed)
    numbers = {name: random.normal(size=count).round(4) for name in NUMBERS}
    return pl.DataFrame({**numbers, **{name: random.choice(list("abcdefgh"), size=count) for name in TEXTS}})


def prepare(folder: Path, rows: int, models: list[str]) -> None:
    """Write the files, fit the models, and register them."""
    import joblib
    import numpy as np
    import polars as pl
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    import headrace

    part = rows_of(min(rows, PART), 1)
    with (folder / "rows.csv").open("wb") as file:
        for start in range(0, rows, PART):
            part.head(rows - start).write_csv(file, include_header=start == 0)
    pl.scan_csv(folder / "rows.csv").sink_parquet(folder / "rows.parquet")
    example = rows_of(20_000, 2).to_pandas() if importlib.util.find_spec("pyarrow") else _pandas(rows_of(20_000, 2))
    truth = (example["n0"] + example["n1"] * (example["s0"] == "a") + np.sin(example["n2"]) > 0).to_numpy().astype(int)
    fitters = {"linear": LogisticRegression(max_iter=500), "trees": HistGradientBoostingClassifier(max_iter=100)}
    ws = headrace.open(folder / "ws")
    for name in models:
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        columns = make_column_transformer((StandardScaler(), NUMBERS), (encoder, TEXTS))
        fitted = make_pipeline(columns, fitters[name]).fit(example, truth)
        joblib.dump(fitted, folder / f"{name}.joblib")
        if importlib.util.find_spec("mlflow"):
            import mlflow.sklearn
            from mlflow.models import infer_signature

            signature = infer_signature(example, fitted.predict_proba(example.head()))
            mlflow.sklearn.save_model(
                fitted,
                str(folder / f"{name}.mlflow"),
                signature=signature,
                pyfunc_predict_fn="predict_proba",
                serialization_format="cloudpickle",
            )
        ws.register(name, fitted, example=example.head(5_000))
        ws.promote(f"{name}@1")


def _pandas(frame: Any) -> Any:
    import pandas as pd

    return pd.DataFrame({name: frame[name].to_list() for name in frame.columns})


def by_headrace(folder: Path, model: str, form: str, out: Path, *more: str) -> None:
    """`headrace score`, one column kept, with ids; no copy for the predictions table, as the others keep none."""
    from headrace.entrypoints.cli import main as headrace

    words = ["--workspace", str(folder / "ws"), "score", model, str(folder / f"rows.{form}"), str(out)]
    headrace([*words, "--keep", "s0", "--no-capture", "--json", "--overwrite", *more], standalone_mode=False)


def by_pandas(folder: Path, model: str, form: str, out: Path) -> None:
    """What people write: pandas reads chunks, the pipeline answers, pandas writes."""
    import joblib

    fitted = joblib.load(folder / f"{model}.joblib")
    _in_chunks(folder, form, out, fitted.predict_proba)


def by_mlflow(folder: Path, model: str, form: str, out: Path) -> None:
    """The same loop around MLflow's `pyfunc`, which holds each chunk against the model's signature."""
    import mlflow.pyfunc

    _in_chunks(folder, form, out, mlflow.pyfunc.load_model(str(folder / f"{model}.mlflow")).predict)


def _answers(chunk: Any, shares: Any) -> Any:
    import pandas as pd

    answers = pd.DataFrame({"s0": chunk["s0"], "prediction": shares.argmax(axis=1)})
    answers["p0"], answers["p1"] = shares[:, 0], shares[:, 1]
    return answers


def _in_chunks(folder: Path, form: str, out: Path, said: Callable[[Any], Any]) -> None:
    import pandas as pd

    if form == "csv":
        chunks: Any = pd.read_csv(folder / "rows.csv", chunksize=CHUNK)
    else:
        import pyarrow.parquet as pq

        chunks = (batch.to_pandas() for batch in pq.ParquetFile(folder / "rows.parquet").iter_batches(CHUNK))
    writer: Any = None
    for number, chunk in enumerate(chunks):
        answers = _answers(chunk, said(chunk))
        if form == "csv":
            answers.to_csv(out, mode="w" if number == 0 else "a", header=number == 0, index=False)
        else:
            import pyarrow as pa

            table = pa.Table.from_pandas(answers, preserve_index=False)
            writer = writer or pq.ParquetWriter(out, table.schema)
            writer.write_table(table)
    if writer is not None:
        writer.close()


def by_spark(folder: Path, model: str, form: str, out: Path) -> None:
    """`mapInPandas` over what Spark reads, in its own files."""
    import joblib
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.pythonExec = sys.executable
    fitted = spark.sparkContext.broadcast(joblib.load(folder / f"{model}.joblib"))

    def score(chunks: Any) -> Any:
        for chunk in chunks:
            yield _answers(chunk, fitted.value.predict_proba(chunk))

    kinds = ", ".join([*(f"{name} double" for name in NUMBERS), *(f"{name} string" for name in TEXTS)])
    source = str(folder / f"rows.{form}")
    rows = spark.read.csv(source, header=True, schema=kinds) if form == "csv" else spark.read.parquet(source)
    writer = rows.mapInPandas(score, "s0 string, prediction long, p0 double, p1 double").write.mode("overwrite")
    writer.csv(str(out), header=True) if form == "csv" else writer.parquet(str(out))
    spark.stop()


class _Fitted:
    """What an actor of Ray keeps."""

    def __init__(self, path: str) -> None:
        import joblib

        self._fitted = joblib.load(path)

    def __call__(self, chunk: Any) -> Any:
        return _answers(chunk, self._fitted.predict_proba(chunk))


def by_ray(folder: Path, model: str, form: str, out: Path) -> None:
    """`map_batches` over what Ray Data reads, in its own files; two actors share what reading and writing
    leave them, because two that claim all cores never begin."""
    import ray

    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    source = str(folder / f"rows.{form}")
    rows = ray.data.read_csv(source) if form == "csv" else ray.data.read_parquet(source)
    words = {"batch_format": "pandas", "batch_size": CHUNK, "num_cpus": 0.5}
    words["compute"] = ray.data.ActorPoolStrategy(size=os.cpu_count() or 1)
    answers = rows.map_batches(_Fitted, fn_constructor_args=[str(folder / f"{model}.joblib")], **words)
    answers.write_csv(str(out)) if form == "csv" else answers.write_parquet(str(out))


def on_spark(folder: Path, model: str, form: str, out: Path) -> None:
    """`headrace score --engine spark`: the same file as the first contestant's."""
    by_headrace(folder, model, form, out, "--engine", "spark")


def on_ray(folder: Path, model: str, form: str, out: Path) -> None:
    """`headrace score --engine ray`: the same file as the first contestant's."""
    by_headrace(folder, model, form, out, "--engine", "ray")


def by_nothing(folder: Path, _model: str, form: str, out: Path) -> None:
    """Polars reads every column, typed, and writes as much as the answers are: no model at all."""
    import polars as pl

    source = folder / f"rows.{form}"
    scan: Any = pl.scan_csv(source) if form == "csv" else pl.scan_parquet(source)
    total = pl.sum_horizontal(pl.col(NUMBERS))
    answers = scan.select("s0", prediction=total > 0, p0=total, p1=-total)
    answers.sink_csv(out) if form == "csv" else answers.sink_parquet(out)


CONTESTANTS: dict[str, tuple[str, tuple[str, ...], Callable[..., None]]] = {
    "headrace": ("headrace score", (), by_headrace),
    "pandas": ("pandas chunks + scikit-learn", (), by_pandas),
    "mlflow": ("pandas chunks + MLflow pyfunc", ("mlflow",), by_mlflow),
    "spark": ("Spark mapInPandas + scikit-learn", ("pyspark", "pyarrow"), by_spark),
    "ray": ("Ray Data map_batches + scikit-learn", ("ray", "pyarrow"), by_ray),
    "headrace-spark": ("headrace score --engine spark", ("pyspark", "pyarrow"), on_spark),
    "headrace-ray": ("headrace score --engine ray", ("ray", "pyarrow"), on_ray),
    "nothing": ("reading and writing alone (Polars)", (), by_nothing),
}
SEVERAL_PROCESSES = ("spark", "ray", "headrace-spark", "headrace-ray")


def measured(name: str, folder: Path, model: str, form: str) -> tuple[float, float]:
    """Seconds, and peak memory in MiB, of a contestant in a process of its own."""
    out = folder / f"out-{name}.{form}"
    shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import batch; from pathlib import Path\n"
        f"batch.CONTESTANTS[{name!r}][2](Path({str(folder)!r}), {model!r}, {form!r}, Path({str(out)!r}))\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    start = time.perf_counter()
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    around = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**around, **threads})
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start, int(done.stdout.split()[-1]) / 1024


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--models", default="linear,trees")
    parser.add_argument("--formats", default="csv,parquet")
    parser.add_argument("--who", default=",".join(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    who = [name for name in asked.who.split(",") if _there(name)]
    with tempfile.TemporaryDirectory() as kept:
        folder = asked.folder or Path(kept)
        folder.mkdir(parents=True, exist_ok=True)
        models, forms = asked.models.split(","), asked.formats.split(",")
        if not (folder / "ws").exists():
            prepare(folder, asked.rows, models)
        print("| format | model | who | rows/s | × pandas | peak MiB |\n|---|---|---|---|---|---|")
        for form in forms:
            for model in models:
                _lines(folder, asked.rows, model, form, who, asked.rounds)


def _there(name: str) -> bool:
    absent = [library for library in CONTESTANTS[name][1] if importlib.util.find_spec(library) is None]
    if absent:
        print(f"{name} is left out: {', '.join(absent)} is not installed", file=sys.stderr)
    return not absent


def _lines(folder: Path, rows: int, model: str, form: str, who: list[str], rounds: int) -> None:
    found: dict[str, tuple[float, float]] = {}
    if form == "parquet" and importlib.util.find_spec("pyarrow") is None:
        who = [name for name in who if name not in ("pandas", "mlflow")]
    for _ in range(rounds):
        for name in who:  # in turn, because machines are not always equally fast
            found[name] = min(measured(name, folder, model, form), found.get(name, (math.inf, 0.0)))
    for name, (seconds, memory) in found.items():
        ratio = f"{found['pandas'][0] / seconds:.2f}" if "pandas" in found else ""
        peak = "" if name in SEVERAL_PROCESSES else f"{memory:,.0f}"
        print(f"| {form} | {model} | {CONTESTANTS[name][0]} | {rows / seconds:,.0f} | {ratio} | {peak} |", flush=True)


if __name__ == "__main__":
    main()
