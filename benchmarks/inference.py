"""One row and 100,000 rows through compiled models and through what people use: one table, one run.

    python benchmarks/inference.py [--rows 100000] [--trees 200]

Peers that are not installed are left out: pip install scikit-learn skl2onnx lightgbm xgboost-cpu catboost treelite.
Every figure is the median of several runs; native predictors get all cores, ours two threads for many rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from headrace.compiler.proving import try_compile
from headrace.data.frames import columns_of, to_polars
from headrace.data.inference import infer_schema
from headrace.data.validation import conform
from headrace.runtimes.graph import GraphScorer
from headrace.runtimes.reference import describe_fitted

NUMBERS, TEXTS = [f"n{i}" for i in range(8)], ["s0", "s1", "s2"]


@dataclass
class Line:
    """One line of the table."""

    model: str
    who: str
    one: float
    many: float
    worst: float
    flipped: int


def table(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Eight numbers and three texts; the second class wins where a sum is positive."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({name: random.normal(size=rows) for name in NUMBERS})
    for name in TEXTS:
        frame[name] = random.choice(list("abcdefgh"), size=rows)
    signal = frame["n0"] + frame["n1"] * (frame["s0"] == "a") + np.sin(frame["n2"] * 2) + random.normal(size=rows) * 0.4
    return frame, (signal > 0).to_numpy().astype(int)


def seconds(call: Callable[[], Any], least: float = 0.6) -> float:
    """The median time of a call."""
    call()
    taken: list[float] = []
    end = time.perf_counter() + least
    while len(taken) < 5 or (time.perf_counter() < end and len(taken) < 20_000):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def pipeline(model: Any) -> Any:
    """The usual pipeline around a model."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(make_column_transformer((StandardScaler(), NUMBERS), (encoder, TEXTS)), model)


def measure(
    name: str, fitted: Any, frame: pd.DataFrame, peers: dict[str, Callable[[pd.DataFrame], np.ndarray]]
) -> list[Line]:
    """Ours and the peers, each against the model's own answers to all rows."""
    expected = np.asarray(fitted.predict_proba(frame))[:, 1]
    polars = to_polars(frame)
    schema = infer_schema(frame, polars).for_model()
    task, classes = describe_fitted(fitted, None)
    compiled, reason = try_compile(fitted, schema, task, classes)
    if compiled is None:
        raise SystemExit(f"{name} was not compiled: {reason}")
    columns = columns_of(conform(polars, schema), schema)
    one = {n: [v[0].item() if hasattr(v[0], "item") else v[0]] for n, v in columns.items()}
    single = GraphScorer(compiled.plan, compiled.graph, schema, task, classes)
    double = GraphScorer(compiled.plan, compiled.graph, schema, task, classes, threads=2)
    ours = double.arrays(columns, len(frame)).probabilities[:, 1]
    lines = [
        Line(
            name,
            "headrace",
            seconds(lambda: single.answer(one, 1)),
            seconds(lambda: double.arrays(columns, len(frame))),
            *against(expected, ours),
        )
    ]
    first = frame[:1]
    for who, predict in peers.items():
        found = predict(frame)
        lines.append(
            Line(
                name,
                who,
                seconds(lambda p=predict: p(first)),
                seconds(lambda p=predict: p(frame)),
                *against(expected, found),
            )
        )
    return lines


def against(expected: np.ndarray, found: np.ndarray) -> tuple[float, int]:
    """The largest difference, and how many decisions at 0.5 are flipped."""
    return float(np.abs(expected - found).max()), int(((expected > 0.5) != (found > 0.5)).sum())


def float32_graph(fitted: Any, frame: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """The pipeline by skl2onnx, in float32 as that converts trees."""
    import onnxruntime
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    kinds = [(n, FloatTensorType([None, 1])) for n in NUMBERS] + [(n, StringTensorType([None, 1])) for n in TEXTS]
    model = to_onnx(fitted, initial_types=kinds, options={"zipmap": False})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def predict(rows: pd.DataFrame) -> np.ndarray:
        feeds: dict[str, Any] = {n: rows[n].to_numpy(np.float32)[:, None] for n in NUMBERS}
        feeds |= {n: rows[n].to_numpy(object)[:, None] for n in TEXTS}
        return session.run(None, feeds)[1][:, 1]

    return predict


def sklearn_lines(train: Any, labels: Any, frame: pd.DataFrame, trees: int) -> list[Line]:
    """The pipelines of scikit-learn: gradient boosting, a forest, and a linear model."""
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    lines: list[Line] = []
    models = {
        f"HistGradientBoosting, {trees} trees": HistGradientBoostingClassifier(max_iter=trees, early_stopping=False),
        f"GradientBoosting, {trees} trees": GradientBoostingClassifier(n_estimators=trees),
        "RandomForest, 50 trees of depth 10": RandomForestClassifier(50, max_depth=10, random_state=0),
        "LogisticRegression": LogisticRegression(max_iter=300),
    }
    for name, model in models.items():
        fitted = pipeline(model).fit(train, labels)
        peers = {"scikit-learn": lambda rows, f=fitted: f.predict_proba(rows)[:, 1]}
        if installed("skl2onnx"):
            try:
                peers["skl2onnx, float32"] = float32_graph(fitted, frame)
            except Exception as error:
                print(f"skl2onnx does not convert {name}: {type(error).__name__}: {str(error).splitlines()[0][:80]}")
        lines += measure(name, fitted, frame, peers)
    return lines


def booster_lines(train: Any, labels: Any, frame: pd.DataFrame, trees: int) -> list[Line]:
    """The boosting libraries on the numbers alone, by their own predictors and by treelite."""
    lines: list[Line] = []
    numbers, asked = train[NUMBERS], frame[NUMBERS]
    if installed("lightgbm"):
        import lightgbm

        fitted = lightgbm.LGBMClassifier(n_estimators=trees, verbose=-1).fit(numbers, labels)
        booster = fitted.booster_
        lines += measure(f"LightGBM, {trees} trees", fitted, asked, {"LightGBM": lambda rows: booster.predict(rows)})
    if installed("xgboost"):
        import xgboost

        fitted = xgboost.XGBClassifier(n_estimators=trees).fit(numbers, labels)
        inner = fitted.get_booster()
        peers = {"XGBoost": lambda rows: inner.inplace_predict(rows)}
        if installed("treelite"):
            import treelite

            model = treelite.frontend.from_xgboost(inner)
            peers["treelite"] = lambda rows: treelite.gtil.predict(model, rows.to_numpy(np.float32)).ravel()
        lines += measure(f"XGBoost, {trees} trees", fitted, asked, peers)
    if installed("catboost"):
        import catboost

        fitted = catboost.CatBoostClassifier(iterations=trees, verbose=0, allow_writing_files=False).fit(
            numbers, labels
        )
        peers = {"CatBoost": lambda rows: fitted.predict_proba(rows.to_numpy())[:, 1]}
        lines += measure(f"CatBoost, {trees} trees", fitted, asked, peers)
    return lines


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=100_000)
    asked.add_argument("--trees", type=int, default=200)
    options = asked.parse_args()
    warnings.simplefilter("ignore")
    train, labels = table(20_000, 0)
    frame, _ = table(options.rows, 1)
    lines = sklearn_lines(train, labels, frame, options.trees)
    lines += booster_lines(train, labels, frame, options.trees)
    print(f"| model | by | one row, µs | {options.rows:,} rows, ms | max difference | decisions flipped |")
    print("|---|---|---|---|---|---|")
    for line in lines:
        print(
            f"| {line.model} | {line.who} | {line.one * 1e6:,.1f} | {line.many * 1e3:,.0f} "
            f"| {line.worst:.2g} | {line.flipped} |"
        )


if __name__ == "__main__":
    main()
