"""The steps of a run as plain functions of what the steps before them made. Each may be done again without harm.

snapshot → train → evaluate → register. The files of a run lie in ``runs/<id>/``; what a step hands on is a small
JSON document, kept with the run.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from headrace.audit.signing import Signer
from headrace.data.frames import columns_of
from headrace.data.snapshots import Snapshots
from headrace.data.validation import conform
from headrace.kernel.clock import Clock
from headrace.kernel.digests import digest_file
from headrace.kernel.errors import InvalidProject, NotFound, NotTrusted, StorageUnavailable
from headrace.kernel.places import Places
from headrace.kernel.ports import Answers
from headrace.kernel.records import Evaluation, Lineage, Snapshot, Version
from headrace.kernel.schema import Schema
from headrace.registry.environment import record_environment
from headrace.registry.filling import Registration
from headrace.registry.versions import Versions
from headrace.runtimes.reference import ReferenceScorer
from headrace.training.code import verify_code
from headrace.training.evaluation import evaluate_frame, hold_out
from headrace.training.functions import LoadRequest, Trained, TrainRequest
from headrace.training.gate import check_gate
from headrace.training.openlineage import OpenLineage
from headrace.training.processes import Place, call_step
from headrace.training.project import CaptureSection, ModelSection
from headrace.training.proofs import Proofs
from headrace.training.runs import Asked, Runs
from headrace.training.weighing import weighed

EXAMPLE_ROWS = 20_000
Deploy = Callable[[str, Asked, str], dict[str, Any]]
"""Puts a version on a target: (run, what was asked, target) -> what came of it, from the delivery room."""
Profile = Callable[[ReferenceScorer, pl.DataFrame, pl.DataFrame, Answers, Asked], bytes]
"""What the monitor will compare with: (scorer, training rows, test rows, answers to the test rows, run) -> JSON."""


class Rooms(NamedTuple):
    """What the steps work with; `profile` comes from the monitoring room, `deploy` from that of delivery."""

    places: Places
    snapshots: Snapshots
    versions: Versions
    runs: Runs
    profile: Profile
    proofs: Proofs
    signer: Signer
    clock: Clock
    lineage: OpenLineage
    deploy: Deploy


def snapshot(rooms: Rooms, run: str, asked: Asked) -> dict[str, Any]:
    """Load the dataset by the project's function and keep it."""
    dataset, settings = asked.policy.dataset, asked.policy.settings
    folder = _folder(rooms, run)
    request = LoadRequest(dataset, asked.policy.others, settings.target)
    loaded = _call(rooms, folder, "load", request, asked)
    frame = _sampled(pl.read_ipc(folder / "table.arrow"), asked)
    schema = msgspec.json.decode((folder / "schema.json").read_bytes(), type=Schema)
    _check_hidden(schema, asked.policy.model, settings.capture)
    origin = tuple(loaded["origin"])
    expect, hidden = dataset.expect, settings.capture.hidden
    taken = rooms.snapshots.keep(settings.dataset, frame, schema, asked.who, origin, expect, hidden)
    (folder / "table.arrow").unlink()
    (folder / "schema.json").write_bytes(msgspec.json.encode(taken.schema))
    rooms.runs.update(run, snapshot=taken.digest)
    note = f"{taken.rows:,} rows, digest {taken.digest[:12]}"
    if taken.findings:
        note += f"; {len(taken.findings)} findings: {taken.findings[0].text()}"
    if asked.only_if_changed and _trained_on(rooms, asked.policy.model) == taken.digest:
        return {"snapshot": taken.digest, "unchanged": True, "note": f"{note}; unchanged, so nothing is trained"}
    return {"snapshot": taken.digest, "note": note}


def _sampled(frame: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """The rows that a run goes through the pipeline with: all, or some in their order, the same each time."""
    if not asked.sample or frame.height <= asked.sample:
        return frame
    return frame[np.sort(np.random.default_rng(asked.policy.settings.seed).permutation(frame.height)[: asked.sample])]


def _trained_on(rooms: Rooms, model: str) -> str:
    """The snapshot of the newest version."""
    newest = rooms.versions.list(model, limit=1)
    return newest[0].lineage.snapshot if newest else ""


def _check_hidden(schema: Schema, model: str, capture: CaptureSection) -> None:
    """See that what must not be written down is there: a misspelt name would let it be.

    Raises:
        InvalidProject: a column is not.
    """
    known = [column.name for column in schema.columns]
    unknown = [name for name in (*capture.mask, *capture.hash) if name not in known]
    if unknown:
        raise InvalidProject(
            f"[model.{model}.capture] names {', '.join(map(repr, unknown))}, which the dataset does not have.",
            field="capture",
            expected=f"some of {', '.join(known)}",
            todo="Correct the name; until then its values would be written down.",
        )


def _check_never(features: list[str], asked: Asked) -> None:
    """See that the model uses no column that it may not.

    Raises:
        InvalidProject: it does.
    """
    used = [name for name in features if name in asked.policy.dataset.never]
    if used:
        settings = asked.policy.settings
        raise InvalidProject(
            f"{settings.train} uses {', '.join(map(repr, used))}, which never of [dataset.{settings.dataset}] names.",
            field="never",
            expected="a model of other columns",
            todo="Drop the columns in the function, or from never in headrace.toml.",
        )


def train(rooms: Rooms, run: str, asked: Asked, made: dict[str, Any]) -> dict[str, Any]:
    """Train by the project's function on the rows that are not held out."""
    folder = _folder(rooms, run)
    taken = _snapshot(rooms, folder, made)
    training, _ = _parts(rooms, taken, asked)
    training.write_ipc(folder / "train.arrow")
    settings = asked.policy.settings
    params = {**settings.params, **asked.params}
    request = TrainRequest(settings.train, taken.schema, params, settings.seed, settings.target)
    trained = _call(rooms, folder, "train", request, asked)
    _check_never(trained["features"], asked)
    trained["fitted"] = digest_file(folder / "fitted.pkl")
    (folder / "train.arrow").unlink(missing_ok=True)
    return {"trained": trained, "note": f"{training.height:,} rows, {len(trained['features'])} features"}


def evaluate(rooms: Rooms, run: str, asked: Asked, made: dict[str, Any]) -> dict[str, Any]:
    """Evaluate on the held-out rows, beside the live version, and hold the result against the gate."""
    folder = _folder(rooms, run)
    taken = _snapshot(rooms, folder, made)
    training, test = _parts(rooms, taken, asked)
    settings, time = asked.policy.settings, asked.policy.dataset.time
    scorer = _scorer(folder, taken, made)
    found, answers = evaluate_frame(scorer, test, settings.target, settings.slices, time)
    live = _live(rooms, asked)
    beside = None if live is None else _evaluate_live(rooms, live, test, asked)
    gate = check_gate(settings.gate, found, beside)
    labelled = test.filter(pl.col(settings.target).is_not_null())
    (folder / "monitor.json").write_bytes(rooms.profile(scorer, training, labelled, answers, asked))
    rooms.runs.update(run, evaluation=found, gate=gate)
    note = ", ".join(f"{name} {metric.value:.4f}" for name, metric in found.metrics.items())
    return {"gate": gate.passed, "live": live.reference if live else None, "note": note}


def register(rooms: Rooms, run: str, asked: Asked, made: dict[str, Any]) -> dict[str, Any]:
    """Make the version: bundle, golden rows, certificate."""
    folder = _folder(rooms, run)
    taken = _snapshot(rooms, folder, made)
    training, test = _parts(rooms, taken, asked)
    scorer = _scorer(folder, taken, made)
    record = rooms.runs.get(run)
    example = conform(training.tail(EXAMPLE_ROWS), scorer.schema)
    settings = asked.policy.settings
    version = rooms.versions.register(
        Registration(
            model=asked.policy.model,
            fitted=scorer.fitted,
            schema=scorer.schema,
            task=scorer.task,
            classes=scorer.classes,
            example=columns_of(example, scorer.schema),
            example_rows=example.height,
            params={**settings.params, **asked.params, "seed": settings.seed},
            lineage=Lineage(
                run=run,
                snapshot=taken.digest,
                dataset=taken.dataset,
                code=asked.code,
                commit=asked.commit,
                project=asked.project,
            ),
            environment=record_environment({"OMP_NUM_THREADS": str(settings.threads)}, made["trained"]["needed"]),
            evaluation=_weighed(record.evaluation, scorer, (training, test), settings),
            gate=record.gate,
            monitor=(folder / "monitor.json").read_bytes(),
            code=_code(rooms, asked),
            who=asked.who,
        )
    )
    rooms.runs.update(run, version=version.number)
    return {"version": version.reference, "note": f"{version.reference}, {_certified(version)}"}


def _weighed(
    found: Evaluation | None, scorer: ReferenceScorer, parts: tuple[pl.DataFrame, pl.DataFrame], settings: ModelSection
) -> Evaluation | None:
    return None if found is None else weighed(found, scorer, *parts, settings.target, settings.seed or 0)


def _certified(version: Version) -> str:
    certificate = version.certificate
    if certificate is None or not certificate.passed:
        return "certificate NOT passed"
    return f"certificate passed on {certificate.rows} golden rows"


def _folder(rooms: Rooms, run: str) -> Path:
    folder = rooms.places.runs / run
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rooms.places.objects.fetch(folder)
    except OSError as error:
        raise StorageUnavailable(
            f"The run's folder {folder} cannot be made: {error.strerror}.", todo="See that the disk may be written."
        ) from error
    return folder


def _snapshot(rooms: Rooms, folder: Path, made: dict[str, Any]) -> Snapshot:
    schema = msgspec.json.decode((folder / "schema.json").read_bytes(), type=Schema)
    return msgspec.structs.replace(rooms.snapshots.get(made["snapshot"]), schema=schema)


def _parts(rooms: Rooms, taken: Snapshot, asked: Asked) -> tuple[pl.DataFrame, pl.DataFrame]:
    settings = asked.policy.settings
    frame = rooms.snapshots.read(taken)
    return hold_out(frame, settings.split, asked.policy.dataset.time, settings.seed or 0)


def _scorer(folder: Path, taken: Snapshot, made: dict[str, Any]) -> ReferenceScorer:
    trained = msgspec.convert(made["trained"], Trained)
    if made["trained"].get("fitted", "") != digest_file(folder / "fitted.pkl"):
        raise NotTrusted(
            "The fitted object is not the one that this run trained.", todo="Start the run again: headrace run."
        )
    fitted = pickle.loads((folder / "fitted.pkl").read_bytes())  # noqa: S301 - written by this run's own process
    features = [taken.schema.column(name) for name in trained.features]
    columns = tuple(msgspec.structs.replace(column, role="feature") for column in features if column is not None)
    schema = msgspec.structs.replace(taken.schema, columns=columns + taken.schema.having("key", "time"))
    return ReferenceScorer(fitted, schema, trained.task, tuple(trained.classes))  # type: ignore[arg-type]


def _live(rooms: Rooms, asked: Asked) -> Version | None:
    try:
        version = rooms.versions.get(asked.policy.model)
    except NotFound:
        return None
    return version if "live" in version.aliases else None


def _evaluate_live(rooms: Rooms, live: Version, test: pl.DataFrame, asked: Asked) -> Evaluation:
    scorer = rooms.versions.open(live)
    settings = asked.policy.settings
    return evaluate_frame(scorer, test, settings.target, (), asked.policy.dataset.time)[0]


def _code(rooms: Rooms, asked: Asked) -> Path:
    return verify_code(rooms.places.objects.need(rooms.places.code / asked.code), asked.code)


def _call(rooms: Rooms, folder: Path, step: str, request: Any, asked: Asked) -> dict[str, Any]:
    """Run a project's function in a process of its own, on the run's own code, with its thread count."""
    code = _code(rooms, asked)
    cwd = Path(asked.root) if Path(asked.root).is_dir() else folder
    return call_step(folder, step, request, Place(code=code, cwd=cwd, threads=asked.policy.settings.threads))
