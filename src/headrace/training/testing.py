"""Running the tests that a project declares of its model, against one version.

Rows come from those that were held out of its training, by a seed, so that the same version gives the same results. The
project's own functions, and training on a few rows, run in processes of their own on the version's code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from headrace.data.snapshots import Snapshots
from headrace.data.validation import conform
from headrace.kernel.clock import Clock
from headrace.kernel.errors import HeadraceError, InvalidInput, InvalidProject, NotFound
from headrace.kernel.identifiers import new_id
from headrace.kernel.ports import Scorer
from headrace.kernel.records import Metric, ModelTestResult, ModelTests, Version
from headrace.kernel.schema import Schema
from headrace.registry.versions import Versions
from headrace.runtimes.bundle import MANIFEST, Manifest
from headrace.training.evaluation import evaluate_frame, hold_out, score_frame
from headrace.training.functions import OverfitRequest, OwnTestRequest, TrainRequest
from headrace.training.metrics import HIGHER_IS_BETTER
from headrace.training.model_tests import (
    Directional,
    Invariance,
    ModelTest,
    Overfit,
    OwnTest,
    Quality,
    kind_of,
    title_of,
)
from headrace.training.processes import Place, call_step
from headrace.training.project import Policy

SEED = 20_170_101
SHOWN = 3


class Rooms(NamedTuple):
    """What testing works with."""

    versions: Versions
    snapshots: Snapshots
    clock: Clock


class Subject(NamedTuple):
    """A version under test: its scorer, the rows of its training and those that were held out, with the schema of its
    dataset, and where its code is."""

    version: Version
    folder: Path
    policy: Policy
    scorer: Scorer
    training: pl.DataFrame
    held_out: pl.DataFrame
    schema: Schema
    code: Path


def run_tests(
    rooms: Rooms,
    version: Version,
    policy: Policy,
    who: str,
    saying: Callable[[ModelTestResult], None],
    code: Path | None,
) -> ModelTests:
    """Run each test of the policy against a version.

    Args:
        saying: is told each result.
        code: the folder of the project's functions; the code in the bundle where it is None.

    Raises:
        InvalidProject: the policy declares no test.
        NotFound: the version was not made by a run, so its rows are not known.
        NotTrusted: its bundle was altered.
    """
    if not policy.settings.test:
        raise InvalidProject(
            f"The project of {version.name} declares no test.",
            expected=f"[[model.{version.name}.test]] with a kind, such as overfit",
            todo="Add one to headrace.toml; docs/testing.md shows each kind.",
        )
    subject = _subject(rooms, version, policy, code)
    results = []
    for test in policy.settings.test:
        results.append(_result(subject, test))
        saying(results[-1])
    return ModelTests(
        id=new_id(),
        model=version.name,
        number=version.number,
        passed=all(result.passed for result in results),
        results=tuple(results),
        made=rooms.clock(),
        who=who,
    )


def _subject(rooms: Rooms, version: Version, policy: Policy, code: Path | None) -> Subject:
    if not version.lineage.snapshot:
        raise NotFound(
            f"{version.reference} was not made by a run, so the rows that it was held against are not known.",
            todo="Put the training into a project ('headrace init DIR') and run it.",
        )
    snapshot = rooms.snapshots.get(version.lineage.snapshot)
    frame = rooms.snapshots.read(snapshot)
    settings = policy.settings
    training, held_out = hold_out(frame, settings.split, policy.dataset.time, settings.seed or 0)
    labelled = held_out.filter(pl.col(settings.target).is_not_null())
    folder = rooms.versions.folder(version)
    scorer = rooms.versions.open(version)
    return Subject(version, folder, policy, scorer, training, labelled, snapshot.schema, code or folder / "code")


def _result(it: Subject, test: ModelTest) -> ModelTestResult:
    """One test; what is wrong with it, or what the project's function raises, fails it and says so."""
    try:
        passed, asked, found = RUN[type(test)](it, test)
    except HeadraceError as error:
        passed, asked, found = False, "that it can be run", str(error)
    return ModelTestResult(name=title_of(test), kind=kind_of(test), passed=passed, asked=asked, found=found)


def _invariance(it: Subject, test: Invariance) -> tuple[bool, str, str]:
    rows = _sample(it.held_out, test.rows)
    for column in test.columns:
        _need(rows, column)
    order = np.random.default_rng(SEED).permutation(rows.height)
    other = rows.with_columns(rows.select(test.columns)[order].get_columns())
    moved = np.abs(_answers(it, other) - _answers(it, rows))
    kept = moved <= test.within
    asked = f"moves by at most {test.within:g} in {100 * test.share:g} % of {rows.height} rows"
    return bool(kept.mean() >= test.share), asked, f"in {100 * kept.mean():.1f} %; the most is {moved.max():.4g}"


def _directional(it: Subject, test: Directional) -> tuple[bool, str, str]:
    rows = _sample(it.held_out.filter(pl.col(_need(it.held_out, test.column)).is_not_null()), test.rows)
    kind = rows.schema[test.column]
    if not kind.is_numeric():
        raise InvalidProject(
            f"{test.column!r} is no number, so it cannot grow.",
            expected="a column of numbers",
            todo="Correct the test.",
        )
    other = rows.with_columns((pl.col(test.column) + test.by).cast(kind, strict=False))
    sign = 1.0 if test.answer == "rises" else -1.0
    step = sign * (_answers(it, other) - _answers(it, rows))
    kept = step >= -test.within
    asked = f"{test.answer} in {100 * test.share:g} % of {rows.height} rows"
    return (
        bool(kept.mean() >= test.share),
        asked,
        f"in {100 * kept.mean():.1f} %; the most the other way {-step.min():.4g}",
    )


def _quality(it: Subject, test: Quality) -> tuple[bool, str, str]:
    target, time = it.policy.settings.target, it.policy.dataset.time
    found, _ = evaluate_frame(it.scorer, it.held_out, target, (test.by,) if test.by else (), time)
    parts: list[tuple[str, dict[str, Metric]]] = [(part.value, part.metrics) for part in found.slices]
    parts = parts if test.by else [("all rows", found.metrics)]
    if any(test.metric not in metrics for _, metrics in parts) or test.metric not in found.metrics:
        known = ", ".join(found.metrics)
        raise InvalidProject(f"There is no metric {test.metric!r}.", expected=known, todo="Correct the test.")
    short = [
        f"{name} {metrics[test.metric].value:.4f}" for name, metrics in parts if not _enough(metrics[test.metric], test)
    ]
    bounds = [
        f"at least {test.min:g}" if test.min is not None else "",
        f"at most {test.max:g}" if test.max is not None else "",
    ]
    asked = (
        f"{' and '.join(filter(None, bounds))} on {len(parts)} slices"
        if test.by
        else " and ".join(filter(None, bounds))
    )
    values = ", ".join(f"{name} {metrics[test.metric].value:.4f}" for name, metrics in parts[:SHOWN])
    return not short, asked, f"short: {', '.join(short)}" if short else values


def _enough(metric: Metric, test: Quality) -> bool:
    """Whether a metric, as far as it is known, keeps the bounds; overall the value counts, on slices the interval."""
    low, high = (metric.low, metric.high) if test.by else (metric.value, metric.value)
    return (test.min is None or high >= test.min) and (test.max is None or low <= test.max)


def _overfit(it: Subject, test: Overfit) -> tuple[bool, str, str]:
    settings = it.policy.settings
    rows = _of_each_class(it.training.filter(pl.col(settings.target).is_not_null()), settings.target, test.rows)
    with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
        rows.write_ipc(Path(scratch) / "train.arrow")
        manifest = msgspec.json.decode((it.folder / MANIFEST).read_bytes(), type=Manifest)
        params = {name: value for name, value in manifest.params.items() if name != "seed"}
        training = TrainRequest(settings.train, it.schema, params, settings.seed, settings.target)
        found = _called(it, Path(scratch), "overfit", OverfitRequest(training, it.policy.dataset.time))
    metrics = {name: msgspec.convert(metric, Metric) for name, metric in found["metrics"].items()}
    if test.metric not in metrics:
        known = ", ".join(metrics)
        raise InvalidProject(f"There is no metric {test.metric!r}.", expected=known, todo="Correct the test.")
    value, better = metrics[test.metric].value, HIGHER_IS_BETTER.get(test.metric, True)
    bound = test.min if better else test.max
    if bound is None:
        raise InvalidProject(
            f"The test of {test.metric} has no bound.", expected="min, or max where less is better", todo="Add it."
        )
    passed = value >= bound if better else value <= bound
    return (
        passed,
        f"{test.metric} {'at least' if better else 'at most'} {bound:g} on {rows.height} rows",
        f"{value:.4f}",
    )


def _own(it: Subject, test: OwnTest) -> tuple[bool, str, str]:
    rows = _sample(it.held_out, test.rows)
    with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
        rows.write_ipc(Path(scratch) / "rows.arrow")
        request = OwnTestRequest(test.function, str(it.folder.absolute()), it.version.digest, test.options)
        found = _called(it, Path(scratch), "own_test", request)
    return found["passed"], f"{test.function} is content with {rows.height} rows", found["found"]


RUN: dict[type[ModelTest], Any] = {
    Invariance: _invariance,
    Directional: _directional,
    Quality: _quality,
    Overfit: _overfit,
    OwnTest: _own,
}


def _called(it: Subject, folder: Path, step: str, request: Any) -> dict[str, Any]:
    place = Place(code=it.code.absolute(), cwd=it.code.absolute(), threads=it.policy.settings.threads)
    return call_step(folder, step, request, place)


def _answers(it: Subject, rows: pl.DataFrame) -> np.ndarray:
    """One number a row: the probability of the last class, the number, or the place of the label among the classes."""
    answers = score_frame(it.scorer, conform(rows, it.scorer.schema))
    if answers.probabilities is not None:
        return np.asarray(answers.probabilities, dtype=np.float64)[:, -1]
    if it.scorer.task == "regression":
        return np.asarray(answers.predictions, dtype=np.float64)
    known = {value: i for i, value in enumerate(it.scorer.classes)}
    return np.asarray([known[value] for value in answers.predictions], dtype=np.float64)


def _sample(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Some rows, the same each time, in their order."""
    if not frame.height:
        raise InvalidInput("No row was held out that could be asked.", todo="Load more rows, or change the split.")
    at = np.sort(np.random.default_rng(SEED).permutation(frame.height)[:rows])
    return frame[at]


def _of_each_class(frame: pl.DataFrame, target: str, rows: int) -> pl.DataFrame:
    """A few rows, of each value of the target as many as can be."""
    mixed = frame[np.random.default_rng(SEED).permutation(frame.height)]
    if mixed[target].n_unique() > rows:
        return mixed.head(rows)
    turn = mixed.with_columns(_turn=pl.int_range(pl.len()).over(target))
    return turn.sort("_turn", maintain_order=True).head(rows).drop("_turn")


def _need(frame: pl.DataFrame, column: str) -> str:
    if column not in frame.columns:
        raise InvalidProject(
            f"The data have no column {column!r}.", expected=", ".join(frame.columns), todo="Correct the test."
        )
    return column
