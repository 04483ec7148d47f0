"""Proving a version: it is made again from its records, twice, each time in a process of its own, and compared.

The steps of a durable run: gather → environment → first → second → compare. What a step hands on is a small JSON
document; its files lie in the run's folder, so that each may be done again without harm.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from headrace.compiler.certificate import agreement
from headrace.compiler.golden import stored_golden
from headrace.data.differences import compare_tables
from headrace.kernel.digests import digest_value
from headrace.kernel.errors import InvalidInput, NotFound, NotTrusted
from headrace.kernel.ports import Answers
from headrace.kernel.records import Level, Metric, Proof, ProofInput, Retraining, Snapshot, Version
from headrace.kernel.schema import Schema
from headrace.registry.environment import Environment
from headrace.registry.evidence.provenance import statement_of
from headrace.runtimes.bundle import CANONICAL, MANIFEST, Manifest
from headrace.training.code import source_digests
from headrace.training.evaluation import hold_out
from headrace.training.functions import LoadRequest, ProveRequest, TrainRequest
from headrace.training.pipeline import Rooms
from headrace.training.processes import Place, call_step
from headrace.training.project import FILE, Policy, decode_project, read_project
from headrace.training.rebuilding import own_source, rebuilt_python
from headrace.training.runs import Asked

LEVELS: tuple[Level, ...] = ("L0", "L1", "L2", "L3", "none")


class ProveOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to prove `version`: in a rebuilt environment or in this one; from the records alone, or with what the
    project in `project` is now."""

    version: str
    same_environment: bool = False
    project: str = ""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What a version says of its own making."""

    version: Version
    folder: Path
    manifest: Manifest
    environment: Environment
    policy: Policy
    snapshot: Snapshot


def recorded(rooms: Rooms, reference: str) -> Recorded:
    """What a version says of its own making, once its signature holds.

    Raises:
        InvalidInput: it was registered as a fitted object, so nothing says how it was trained.
        NotTrusted: its bundle was altered.
    """
    version = rooms.versions.get(reference)
    folder = rooms.versions.folder(version)
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    if not manifest.lineage.code or not (folder / "code" / FILE).exists():
        raise InvalidInput(
            f"{version.reference} was registered as a fitted object: nothing says how it was trained.",
            expected="a version that 'headrace run' made from a project",
            todo="Put the training into a project ('headrace init DIR') and run it; that version can be proved.",
        )
    environment = msgspec.json.decode((folder / "environment/environment.json").read_bytes(), type=Environment)
    policy = decode_project((folder / "code" / FILE).read_text(), folder / "code").policy(version.name)
    snapshot = _snapshot(rooms, version)
    return Recorded(
        version=version, folder=folder, manifest=manifest, environment=environment, policy=policy, snapshot=snapshot
    )


def _snapshot(rooms: Rooms, version: Version) -> Snapshot:
    found = rooms.snapshots.get(version.lineage.snapshot)
    kept = rooms.places.objects.need(rooms.places.runs / version.lineage.run / "schema.json")
    schema = msgspec.json.decode(kept.read_bytes(), type=Schema) if kept.exists() else found.schema
    return msgspec.structs.replace(found, schema=schema)


def gather(rooms: Rooms, run: str, asked: Asked, _made: dict[str, Any]) -> dict[str, Any]:
    """Lay out the data, and say of each input whether it is the recorded one."""
    options = msgspec.convert(asked.params, ProveOptions)
    it, folder = recorded(rooms, options.version), _folder(rooms, run)
    policy = read_project(Path(options.project)).policy(it.version.name) if options.project else it.policy
    code = Path(options.project) if options.project else it.folder / "code"
    frame, data = _data(rooms, it, policy, code, folder) if options.project else _recorded_data(rooms, it)
    settings = policy.settings
    training, test = hold_out(frame, settings.split, policy.dataset.time, settings.seed or 0)
    training.write_ipc(folder / "train.arrow")
    test.write_ipc(folder / "test.arrow")
    inputs = [data, _code(it, code), _parameters(it, policy), _threads(it, policy)]
    return {
        "inputs": msgspec.to_builtins(inputs),
        "params": _params(it, policy),
        "note": _note(inputs),
    }


def _recorded_data(rooms: Rooms, it: Recorded) -> tuple[pl.DataFrame, ProofInput]:
    frame, problem = rooms.snapshots.look(it.snapshot)
    what = f"snapshot {it.snapshot.digest[:16]}, {it.snapshot.rows:,} rows"
    found = "altered where it is stored" if problem else what
    return frame, ProofInput(name="data", recorded=what, found=found, same=not problem, detail=problem)


def _data(rooms: Rooms, it: Recorded, policy: Policy, code: Path, folder: Path) -> tuple[pl.DataFrame, ProofInput]:
    """The data as the project loads them now, beside the snapshot."""
    dataset = policy.dataset
    request = LoadRequest(dataset, policy.others, policy.settings.target)
    call_step(folder, "load", request, Place(code=code, cwd=code, threads=policy.settings.threads))
    schema = msgspec.json.decode((folder / "schema.json").read_bytes(), type=Schema)
    name, hidden = policy.settings.dataset, policy.settings.capture.hidden
    taken = rooms.snapshots.keep(name, pl.read_ipc(folder / "table.arrow"), schema, "prove", hidden=hidden)
    frame, before = rooms.snapshots.read(taken), rooms.snapshots.look(it.snapshot)[0]
    difference = compare_tables(before, frame, dataset.key)
    detail = "" if difference.same else difference.text()
    said = [f"snapshot {one.digest[:16]}, {one.rows:,} rows" for one in (it.snapshot, taken)]
    return frame, ProofInput(name="data", recorded=said[0], found=said[1], same=difference.same, detail=detail)


def _code(it: Recorded, code: Path) -> ProofInput:
    before, now = source_digests(it.folder / "code"), source_digests(code)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    changed = [name for name in changed if name != FILE]
    said = [f"{digest_value(files)[:16]}, {len(files)} files" for files in (before, now)]
    detail = "; ".join(_first_change(it.folder / "code" / name, code / name, name) for name in changed[:5])
    return ProofInput(name="code", recorded=said[0], found=said[1], same=not changed, detail=detail)


def _first_change(before: Path, now: Path, name: str) -> str:
    """The first line of a file that is not as it was."""
    if not before.exists() or not now.exists():
        return f"{name} {'is new' if now.exists() else 'is gone'}"
    lines = [path.read_text(errors="replace").splitlines() for path in (before, now)]
    pairs = list(zip(*lines, strict=False))
    at = next((i for i, (old, new) in enumerate(pairs) if old != new), len(pairs))
    old, new = (text[at].strip() if at < len(text) else "(end of file)" for text in lines)
    return f"{name}, line {at + 1}: was {old!r} and is {new!r}"


def _params(it: Recorded, policy: Policy) -> dict[str, Any]:
    """The recorded parameters, with what the project says otherwise now."""
    before, now = it.policy.settings, policy.settings
    moved = {name: value for name, value in now.params.items() if before.params.get(name) != value}
    gone = before.params.keys() - now.params.keys()
    kept = {name: value for name, value in it.manifest.params.items() if name not in gone}
    return {**kept, **moved, **({"seed": now.seed} if now.seed != before.seed else {})}


def _parameters(it: Recorded, policy: Policy) -> ProofInput:
    before = {**it.manifest.params, "split": msgspec.to_builtins(it.policy.settings.split)}
    now = {**_params(it, policy), "split": msgspec.to_builtins(policy.settings.split)}
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    detail = "; ".join(f"{name} was {before.get(name)!r} and is {now.get(name)!r}" for name in changed)
    said = [", ".join(f"{name} {value}" for name, value in each.items()) for each in (before, now)]
    return ProofInput(name="parameters", recorded=said[0], found=said[1], same=not changed, detail=detail)


def _recorded_threads(it: Recorded) -> int:
    return int(it.environment.threads["OMP_NUM_THREADS"])


def _threads(it: Recorded, policy: Policy) -> ProofInput:
    before = _recorded_threads(it)
    moved = policy.settings.threads != it.policy.settings.threads
    now = policy.settings.threads if moved else before
    detail = f"{before} threads were set and {now} are" if now != before else ""
    return ProofInput(name="threads", recorded=str(before), found=str(now), same=now == before, detail=detail)


def environment(rooms: Rooms, run: str, asked: Asked, _made: dict[str, Any]) -> dict[str, Any]:
    """Build the recorded environment anew, unless the one that runs here was asked for."""
    options = msgspec.convert(asked.params, ProveOptions)
    it, folder = recorded(rooms, options.version), _folder(rooms, run)
    if options.same_environment:
        return {"python": "", "note": "the environment that runs here, as asked for"}
    began = time.monotonic()
    lock = it.folder / "environment" / "requirements.txt"
    python = rebuilt_python(folder / "environment", lock, it.environment.python)
    count = len(lock.read_text().splitlines())
    return {"python": python, "note": f"{count} packages installed anew in {time.monotonic() - began:.0f} s"}


def train_again(rooms: Rooms, run: str, asked: Asked, made: dict[str, Any], name: str) -> dict[str, Any]:
    """Train once more in a process of its own, and answer the golden rows."""
    options = msgspec.convert(asked.params, ProveOptions)
    it, folder = recorded(rooms, options.version), _folder(rooms, run)
    if made["python"] and not Path(made["python"]).exists():  # another machine built it, and this one took over
        rebuilt_python(folder / "environment", it.folder / "environment" / "requirements.txt", it.environment.python)
    place, request = _place(it, options, made, folder)
    work = folder / name
    work.mkdir(exist_ok=True)
    for table in ("train.arrow", "test.arrow"):
        if not (work / table).exists():
            (work / table).symlink_to(folder / table)
    found = call_step(work, "prove", request, place)
    held = _held(it, work, found)
    said = f"level {held.level}, object {held.digest[:12]}"
    return {name: msgspec.to_builtins(held), f"{name}_environment": found["environment"], "note": said}


def _place(it: Recorded, options: ProveOptions, made: dict[str, Any], folder: Path) -> tuple[Place, ProveRequest]:
    policy = read_project(Path(options.project)).policy(it.version.name) if options.project else it.policy
    code = Path(options.project).absolute() if options.project else it.folder / "code"
    threads = next(int(one["found"]) for one in made["inputs"] if one["name"] == "threads")
    python = {"python": made["python"]} if made["python"] else {}
    path = (own_source(folder / "own"),) if made["python"] else ()
    seed = made["params"].get("seed")
    params = {name: value for name, value in made["params"].items() if name != "seed"}
    settings = policy.settings
    schema = (
        msgspec.json.decode((folder / "schema.json").read_bytes(), type=Schema)
        if options.project
        else it.snapshot.schema
    )
    training = TrainRequest(settings.train, schema, params, seed, settings.target)
    request = ProveRequest(training, str(it.folder.absolute()), policy.dataset.time, threads)
    return Place(code=code.absolute(), cwd=folder, threads=threads, path=path, **python), request


def _held(it: Recorded, work: Path, found: dict[str, Any]) -> Retraining:
    """A training's answers held against the version's own."""
    golden = stored_golden(it.folder)
    theirs = _answers(pl.read_ipc(work / "answers.arrow"))
    level, worst, flipped = agreement(golden.answers, theirs)
    metrics = {name: msgspec.convert(metric, Metric) for name, metric in found["metrics"].items()}
    if level == "L1" and found["digest"] and found["digest"] == _own_digest(it):
        level = "L0"
    if level not in ("L0", "L1", "L2"):
        level = "L3" if _within(it.version.metrics, metrics) else "none"
    return Retraining(
        digest=found["digest"],
        level=level,
        max_difference=min(worst, 1e308),
        flipped=flipped,
        row=None if level in ("L0", "L1") else _first_row(golden.answers, theirs),
        metrics=metrics,
        seconds=found["seconds"],
    )


def _answers(frame: pl.DataFrame) -> Answers:
    shares = frame.drop("prediction")
    return Answers(frame["prediction"].to_list(), [list(row) for row in shares.rows()] if shares.width else None)


def _within(recorded_metrics: dict[str, Metric], found: dict[str, Metric]) -> bool:
    both = [(metric, found[name]) for name, metric in recorded_metrics.items() if name in found]
    return bool(both) and all(old.low <= new.value <= old.high for old, new in both)


def _first_row(ours: Answers, theirs: Answers) -> int | None:
    before, now = (one.probabilities or one.predictions for one in (ours, theirs))
    return next((i for i, (old, new) in enumerate(zip(before, now, strict=False)) if old != new), None)


def compare(rooms: Rooms, run: str, asked: Asked, made: dict[str, Any]) -> dict[str, Any]:
    """Put the proof together, sign it and keep it; the environment that was built is removed."""
    options = msgspec.convert(asked.params, ProveOptions)
    it, folder = recorded(rooms, options.version), _folder(rooms, run)
    trainings = tuple(msgspec.convert(made[name], Retraining) for name in ("first", "second"))
    used = msgspec.convert(made["first_environment"], Environment)
    inputs = (*msgspec.convert(made["inputs"], list[ProofInput]), *_surroundings(it.environment, used))
    known = all(one.digest for one in trainings)
    repeats = trainings[0].digest == trainings[1].digest if known else all(one.level == "L1" for one in trainings)
    worst = max((one.level for one in trainings), key=LEVELS.index)
    proof = Proof(
        id=run,
        model=it.version.name,
        number=it.version.number,
        level=worst,
        against=options.project,
        rows=stored_golden(it.folder).rows,
        repeats=repeats,
        rebuilt=bool(made["python"]),
        inputs=inputs,
        diverged=_diverged(inputs, worst, repeats),
        changes=_changes(rooms, it),
        trainings=trainings,
        hardware=used.cpu,
        made=rooms.clock(),
        who=asked.who,
    )
    proof = msgspec.structs.replace(proof, statement=statement_of(proof, it.version, it.manifest, rooms.signer))
    rooms.proofs.add(proof)
    for name in ("environment", "own", "first", "second"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return {"note": f"level {proof.level}{', ' + proof.diverged if proof.diverged else ''}"}


def _own_digest(it: Recorded) -> str:
    path = it.folder / CANONICAL
    return path.read_text() if path.exists() else ""


def _surroundings(before: Environment, now: Environment) -> tuple[ProofInput, ...]:
    names = before.needed or tuple(before.packages)
    changed = []
    for name in names:
        old, new = (one.packages.get(name) for one in (before, now))
        if old is None or name == "headrace":
            continue
        if new is None or new.version != old.version:
            changed.append(f"{name} was {old.version} and is {new.version if new else 'not there'}")
        elif old.content and new.content and old.content != new.content:
            changed.append(f"{name} {old.version} has other files than were recorded")
    packages = ProofInput(
        name="environment",
        recorded=f"{len(names)} packages",
        found=f"{len(names) - len(changed)} of them the same",
        same=not changed,
        detail="; ".join(changed[:10]),
    )
    return (
        _plain("python", f"{before.implementation} {before.python}", f"{now.implementation} {now.python}"),
        packages,
        _plain("hardware", f"{before.cpu}, {before.cores} cores", f"{now.cpu}, {now.cores} cores"),
    )


def _plain(name: Any, before: str, now: str) -> ProofInput:
    detail = "" if before == now else f"was {before} and is {now}"
    return ProofInput(name=name, recorded=before, found=now, same=before == now, detail=detail)


def _diverged(inputs: tuple[ProofInput, ...], level: str, repeats: bool) -> str:
    """The first input that is not the recorded one; other hardware counts only where the answers differ."""
    for one in inputs:
        if not one.same and (one.name != "hardware" or level not in ("L0", "L1")):
            return f"{one.name}: {one.detail}"
    if level in ("L0", "L1"):
        return ""
    return "nothing recorded: with the same inputs the training gives " + (
        "the same object each time, but not this version's" if repeats else "another object each time (an unset seed?)"
    )


def _changes(rooms: Rooms, it: Recorded) -> tuple[str, ...]:
    """What is otherwise than in the version before, as far as both come from a project."""
    try:
        before = recorded(rooms, f"{it.version.name}@{it.version.number - 1}")
        return _changed(rooms, before, it)
    except (NotFound, InvalidInput):
        return ()
    except NotTrusted as error:
        return (f"the version before cannot be read: {error.text}",)


def _changed(rooms: Rooms, before: Recorded, it: Recorded) -> tuple[str, ...]:
    said = []
    if before.snapshot.digest != it.snapshot.digest:
        frames = [rooms.snapshots.look(one.snapshot)[0] for one in (before, it)]
        difference = compare_tables(frames[0], frames[1], it.policy.dataset.key)
        said.append(f"data: {difference.text()}{_inside(frames, it.policy.dataset)}")
    parts = (_code(before, it.folder / "code"), _parameters(before, it.policy))
    return (*said, *(f"{one.name}: {one.detail}" for one in parts if not one.same))


def _inside(frames: list[pl.DataFrame], dataset: Any) -> str:
    """How many of the added rows lie within the time that was already known: quiet injections do."""
    before, now = frames
    if not dataset.time or not dataset.key or before.columns != now.columns:
        return ""
    added = now.join(before, on=list(dataset.key), how="anti", nulls_equal=True)
    late = added.filter(pl.col(dataset.time) <= before[dataset.time].max())
    if not late.height:
        return ""
    first, last = late[dataset.time].min(), late[dataset.time].max()
    return f"; {late.height:,} of them lie within the time that was already known, from {first} to {last}"


def _folder(rooms: Rooms, run: str) -> Path:
    folder = (rooms.places.runs / run).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return rooms.places.objects.fetch(folder)


def _note(inputs: list[ProofInput]) -> str:
    changed = [f"{one.name}: {one.detail}" for one in inputs if not one.same]
    return "; ".join(changed) or "data, code, parameters and threads are the recorded ones"
