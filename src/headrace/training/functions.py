"""The process in which a project's own function runs: ``python -m headrace.training.functions STEP FOLDER``.

It reads ``FOLDER/STEP.json``, runs the function on the code that the run began with, and leaves what it made in
FOLDER, last of all ``STEP.done.json``; or ``STEP.error.json``, where the function raised or gave the wrong thing.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from headrace.compiler.canonical import canonical_digest
from headrace.compiler.golden import answers_frame, stored_golden
from headrace.compiler.storing import stored
from headrace.data.frames import columns_of, frame_kind, to_polars
from headrace.data.inference import infer_schema
from headrace.data.joining import join_as_of
from headrace.data.sources import read_query, read_source
from headrace.kernel.clock import parse_duration
from headrace.kernel.errors import HeadraceError, InvalidProject
from headrace.kernel.schema import Schema
from headrace.registry.environment import loaded_distributions, record_environment
from headrace.runtimes.bundle import read_schema
from headrace.runtimes.frames import build_frame
from headrace.runtimes.native import adapted
from headrace.runtimes.opening import open_bundle
from headrace.runtimes.reference import ReferenceScorer, describe_fitted
from headrace.training.datasets import DatasetSection
from headrace.training.evaluation import evaluate_frame, score_frame

FAILED = 3


class LoadRequest(msgspec.Struct, frozen=True):
    """Load `dataset` and leave its table: ``table.arrow`` and ``schema.json``. `others` are what it is made of."""

    dataset: DatasetSection
    others: dict[str, DatasetSection]
    target: str


class TrainRequest(msgspec.Struct, frozen=True):
    """Call `function` with the rows in ``train.arrow`` and leave ``fitted.pkl``."""

    function: str
    schema: Schema
    params: dict[str, Any]
    seed: int | None
    target: str


class Trained(msgspec.Struct, frozen=True):
    """What a training function gave: its task, its classes, the features that it was fitted on."""

    task: str
    classes: list[Any]
    features: list[str]
    seed_used: bool
    needed: list[str]


class ProveRequest(msgspec.Struct, frozen=True):
    """Train as `training` says, then answer the golden rows of `bundle` and the rows in ``test.arrow``."""

    training: TrainRequest
    bundle: str
    time: str | None
    threads: int


class OverfitRequest(msgspec.Struct, frozen=True):
    """Train on the few rows in ``train.arrow`` as `training` says, and judge on the same rows."""

    training: TrainRequest
    time: str | None


class OwnTestRequest(msgspec.Struct, frozen=True):
    """Call `function` with how the bundle with this digest answers, and with the rows in ``rows.arrow``."""

    function: str
    bundle: str
    digest: str
    options: dict[str, Any]


class TargetRequest(msgspec.Struct, frozen=True):
    """Call the `function` of a project's own target with `deployment`, a plain dictionary."""

    function: str
    deployment: dict[str, Any]


def target(folder: Path) -> dict[str, Any]:
    """The step that asks a project's own target for its files and commands."""
    request = msgspec.json.decode((folder / "target.json").read_bytes(), type=TargetRequest)
    given = _call(request.function, request.deployment)
    if not isinstance(given, dict):
        raise InvalidProject(
            f"{request.function} gave a {type(given).__name__}.",
            expected='a dictionary: {"files": {path: text}, "put": [[words]], "back": [[words]], "address": url}',
            todo="Let it return one.",
        )
    return given


def load(folder: Path) -> dict[str, Any]:
    """The step that loads a dataset."""
    request = msgspec.json.decode((folder / "load.json").read_bytes(), type=LoadRequest)
    table, origin = _table(request.dataset, request.others)
    frame, dataset = to_polars(table), request.dataset
    schema = infer_schema(table, frame, keys=dataset.key, time=dataset.time, target=request.target)
    frame.write_ipc(folder / "table.arrow")
    (folder / "schema.json").write_bytes(msgspec.json.encode(schema))
    return {"rows": frame.height, "columns": frame.width, "frame": frame_kind(table), "origin": origin}


def _table(dataset: DatasetSection, others: dict[str, DatasetSection]) -> tuple[Any, tuple[str, ...]]:
    """The rows of a dataset, and what they were read from."""
    if dataset.load is not None:
        return _call(dataset.load), (f"function {dataset.load}",)
    if dataset.base:
        return _joined(dataset, others)
    if dataset.sql:
        return read_query(dataset.database, dataset.sql, os.environ)
    return read_source(dataset.sources, Path.cwd())


def _joined(dataset: DatasetSection, others: dict[str, DatasetSection]) -> tuple[Any, tuple[str, ...]]:
    table, origin = _table(others[dataset.base], others)
    frame = to_polars(table)
    for join in dataset.join:
        other, lines = _table(others[join.dataset], others)
        within = parse_duration(join.within) if join.within else None
        frame = join_as_of(
            frame,
            dataset.time or "",
            to_polars(other),
            join.dataset,
            on=join.on,
            known=join.known,
            columns=join.columns,
            within=within,
        )
        origin = (*origin, *(f"{line}, as of {join.known}" for line in lines))
    return frame, origin


def train(folder: Path) -> dict[str, Any]:
    """The step that trains."""
    request = msgspec.json.decode((folder / "train.json").read_bytes(), type=TrainRequest)
    fitted, trained = _trained(folder, request)
    (folder / "fitted.pkl").write_bytes(stored(fitted))
    return msgspec.to_builtins(trained)


def prove(folder: Path) -> dict[str, Any]:
    """The step that trains once more, and answers: leaves ``answers.arrow``."""
    request = msgspec.json.decode((folder / "prove.json").read_bytes(), type=ProveRequest)
    began = time.monotonic()
    fitted, trained = _trained(folder, request.training)
    seconds = time.monotonic() - began
    bundle = Path(request.bundle)
    schema = read_schema(bundle)
    scorer = ReferenceScorer(fitted, schema, trained.task, tuple(trained.classes))  # type: ignore[arg-type]
    golden = stored_golden(bundle)
    answers = scorer.answer(golden.columns, golden.rows)
    answers_frame(answers, scorer.classes).write_ipc(folder / "answers.arrow")
    test = pl.read_ipc(folder / "test.arrow")
    found, _ = evaluate_frame(scorer, test, request.training.target, (), request.time)
    threads = {"OMP_NUM_THREADS": str(request.threads)}
    return {
        "digest": canonical_digest(fitted),
        "rows": golden.rows,
        "seconds": seconds,
        "features": trained.features,
        "metrics": msgspec.to_builtins(found.metrics),
        "environment": msgspec.to_builtins(record_environment(threads, trained.needed)),
    }


def overfit(folder: Path) -> dict[str, Any]:
    """The step that trains on a few rows and asks for the same ones."""
    request = msgspec.json.decode((folder / "overfit.json").read_bytes(), type=OverfitRequest)
    training = request.training
    fitted, trained = _trained(folder, training)
    columns = [training.schema.column(name) for name in trained.features]
    features = tuple(msgspec.structs.replace(one, role="feature") for one in columns if one is not None)
    others = training.schema.having("key", "time")
    schema = msgspec.structs.replace(training.schema, columns=features + others)
    scorer = ReferenceScorer(fitted, schema, trained.task, tuple(trained.classes))  # type: ignore[arg-type]
    rows = pl.read_ipc(folder / "train.arrow")
    found, _ = evaluate_frame(scorer, rows, training.target, (), request.time)
    return {"metrics": msgspec.to_builtins(found.metrics)}


def own_test(folder: Path) -> dict[str, Any]:
    """The step that asks a project's own test; what it raises is what it found."""
    request = msgspec.json.decode((folder / "own_test.json").read_bytes(), type=OwnTestRequest)
    scorer = open_bundle(Path(request.bundle), request.digest)

    def predict(frame: Any) -> pl.DataFrame:
        return answers_frame(score_frame(scorer, to_polars(frame)), scorer.classes)

    function = _function(request.function)
    try:
        said = function(predict, pl.read_ipc(folder / "rows.arrow"), **request.options)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        traceback.print_exc()
        at = f"{Path(place.filename).name}, line {place.lineno}"
        what = str(error) or place.line or ""
        return {"passed": False, "found": f"{type(error).__name__}: {what} ({at})"}
    return {"passed": said is None or bool(said), "found": "nothing to complain of" if said is None else str(said)}


def _trained(folder: Path, request: TrainRequest) -> tuple[Any, Trained]:
    frame = pl.read_ipc(folder / "train.arrow")
    everything = tuple(msgspec.structs.replace(column, role="feature") for column in request.schema.columns)
    as_loaded = msgspec.structs.replace(request.schema, columns=everything)
    native = build_frame(as_loaded, columns_of(frame, as_loaded), frame.height)
    function = _function(request.function)
    params, seeded = _params(function, request)
    fitted = adapted(_call(request.function, native, **params))
    task, classes = describe_fitted(fitted, frame[request.target].unique().to_list())
    features = _features(fitted, request.schema)
    return fitted, Trained(task, list(classes), features, seeded, loaded_distributions())


def _features(fitted: Any, schema: Schema) -> list[str]:
    named = getattr(fitted, "feature_names_in_", None)
    features = [str(name) for name in named] if named is not None else [c.name for c in schema.features]
    unknown = set(features) - {column.name for column in schema.columns}
    if unknown:
        raise InvalidProject(
            f"The model was fitted with the column {min(unknown)!r}, which the dataset does not have.",
            expected=f"columns of the dataset: {', '.join(c.name for c in schema.columns)}",
            todo="Make new columns in the dataset's load function, or inside the fitted pipeline.",
        )
    target = [column.name for column in schema.having("target") if column.name in features]
    if target:
        raise InvalidProject(
            f"The model was fitted with its own target {target[0]!r} among the features.",
            todo="Drop the target from the frame before fitting.",
        )
    return features


def _params(function: Any, request: TrainRequest) -> tuple[dict[str, Any], bool]:
    accepted = inspect.signature(function).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    unknown = [name for name in request.params if name not in accepted and not open_ended]
    if unknown:
        raise InvalidProject(
            f"{request.function} does not take the parameter {unknown[0]!r}.",
            field=unknown[0],
            expected=f"one of {', '.join(list(accepted)[1:])}",
            todo="Correct params in headrace.toml or --param, or take it in the function.",
        )
    seeded = request.seed is not None and ("seed" in accepted or open_ended) and "seed" not in request.params
    return {**request.params, **({"seed": request.seed} if seeded else {})}, seeded


def _function(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidProject(
            f"{name} cannot be imported: {error}.",
            expected="MODULE:FUNCTION beside headrace.toml",
            todo="Correct the name in headrace.toml, or install the package that is missing.",
        ) from error


def _call(name: str, *args: Any, **params: Any) -> Any:
    function = _function(name)
    try:
        return function(*args, **params)
    except HeadraceError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        traceback.print_exc()
        raise InvalidProject(
            f"{name} raised {type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno}).",
            todo="Mend the function; the whole traceback is in the run's log. Nothing was registered.",
        ) from error


def end_with_parent(parent: int) -> None:
    """End this process when its worker is gone: another one will do the step again, in the same folder."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(9)


STEPS = {"load": load, "train": train, "prove": prove, "target": target, "overfit": overfit, "own_test": own_test}


def main(step: str, folder: Path) -> int:
    """Run one step; 0 when it is done, 3 when the project is at fault."""
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        made = STEPS[step](folder)
    except HeadraceError as error:
        (folder / f"{step}.error.json").write_bytes(msgspec.json.encode(error.document()))
        return FAILED
    (folder / f"{step}.done.json").write_bytes(msgspec.json.encode(made))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
