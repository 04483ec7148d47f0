"""A file of many rows, scored: `headrace score` beside pandas with scikit-learn, and beside reading and writing alone.

    python benchmarks/batch.py [--rows 10000000] [--folder DIR] [--models linear,trees] [--formats csv,parquet]

Each contestant runs in a process of its own, from its start to the end of its file; its memory is the peak that the
system saw. What is not installed is left out: pip install scikit-learn mlflow pyarrow pyspark "ray[data]".
"""

from __future__ import annotations

import argparse
import importlib.util
import os
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
        ws.register(name, fitted, example=example.head(5_000))
        ws.promote(f"{name}@1")


def _pandas(frame: Any) -> Any:
    import pandas as pd

    return pd.DataFrame({name: frame[name].to_list() for name in frame.columns})


def by_headrace(folder: Path, model: str, form: str, out: Path) -> None:
    """`headrace score`, one column kept, with ids; no copy for the predictions table, as the others keep none."""
    from headrace.entrypoints.cli import main as headrace

    words = ["--workspace", str(folder / "ws"), "score", model, str(folder / f"rows.{form}"), str(out)]
    headrace([*words, "--keep", "s0", "--no-capture", "--json"], standalone_mode=False)


def by_pandas(folder: Path, model: str, form: str, out: Path) -> None:
    """What people write: pandas reads chunks, the pipeline answers, pandas writes."""
    import joblib
    import pandas as pd

    fitted = joblib.load(folder / f"{model}.joblib")
    if form == "csv":
        chunks: Any = pd.read_csv(folder / "rows.csv", chunksize=CHUNK)
    else:
        import pyarrow.parquet as pq

        chunks = (batch.to_pandas() for batch in pq.ParquetFile(folder / "rows.parquet").iter_batches(CHUNK))
    writer: Any = None
    for number, chunk in enumerate(chunks):
        shares = fitted.predict_proba(chunk)
        answers = pd.DataFrame({"s0": chunk["s0"], "prediction": fitted.classes_[shares.argmax(axis=1)]})
        answers["p0"], answers["p1"] = shares[:, 0], shares[:, 1]
        if form == "csv":
            answers.to_csv(out, mode="w" if number == 0 else "a", header=number == 0, index=False)
        else:
            import pyarrow as pa

            table = pa.Table.from_pandas(answers, preserve_index=False)
            writer = writer or pq.ParquetWriter(out, table.schema)
            writer.write_table(table)
    if writer is not None:
        writer.close()


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
    "nothing": ("reading and writing alone (Polars)", (), by_nothing),
}


def measured(name: str, folder: Path, model: str, form: str) -> tuple[float, float]:
    """Seconds, and peak memory in MiB, of a contestant in a process of its own."""
    out = folder / f"out-{name}.{form}"
    out.unlink(missing_ok=True)
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import batch; from pathlib import Path\n"
        f"batch.CONTESTANTS[{name!r}][2](Path({str(folder)!r}), {model!r}, {form!r}, Path({str(out)!r}))\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    start = time.perf_counter()
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **threads})
    return time.perf_counter() - start, int(done.stdout.split()[-1]) / 1024


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--models", default="linear,trees")
    parser.add_argument("--formats", default="csv,parquet")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as kept:
        folder = asked.folder or Path(kept)
        folder.mkdir(parents=True, exist_ok=True)
        models, forms = asked.models.split(","), asked.formats.split(",")
        if "parquet" in forms and importlib.util.find_spec("pyarrow") is None:
            print("pyarrow is not installed: pandas cannot read Parquet, so it is left out there", file=sys.stderr)
        if not (folder / "ws").exists():
            prepare(folder, asked.rows, models)
        print("| format | model | who | rows/s | × pandas | peak MiB |\n|---|---|---|---|---|---|")
        for form in forms:
            for model in models:
                _lines(folder, asked.rows, model, form)


def _lines(folder: Path, rows: int, model: str, form: str) -> None:
    found = {}
    for name in CONTESTANTS:
        if name == "pandas" and form == "parquet" and importlib.util.find_spec("pyarrow") is None:
            continue
        found[name] = measured(name, folder, model, form)
    for name, (seconds, memory) in found.items():
        ratio = f"{found['pandas'][0] / seconds:.2f}" if "pandas" in found else ""
        line = f"| {form} | {model} | {CONTESTANTS[name][0]} | {rows / seconds:,.0f} | {ratio} | {memory:,.0f} |"
        print(line, flush=True)


if __name__ == "__main__":
    main()
