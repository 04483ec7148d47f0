"""headrace.toml, decoded strictly: an unknown key or a wrong type names the file, the line and what was expected."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from croniter import croniter

from headrace.kernel.clock import parse_duration
from headrace.kernel.errors import InvalidInput, InvalidProject
from headrace.kernel.identifiers import check_name
from headrace.kernel.routes import AnswerKind
from headrace.training.datasets import DatasetSection, Function, Section
from headrace.training.model_tests import TEST_KINDS, Test, title_of
from headrace.training.targets import KINDS, DeploySection, Target

FILE = "headrace.toml"
Share = Annotated[float, msgspec.Meta(gt=0, le=100)]


class ProjectSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[project]``."""

    name: str


class Split(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How rows are held out: the last ones by time (a duration such as ``30d``), or a random share."""

    by: Literal["time", "random"]
    test: str | Annotated[float, msgspec.Meta(gt=0, lt=1)]


class MetricRule(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a gate asks of one metric."""

    min: float | None = None
    max: float | None = None
    slice_min: float | None = None
    not_below_live_by: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Guard(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What sends a rollout back: failed answers, a slow tail, or a loss above the live version's by `harm`."""

    errors: bool = True
    p99_latency: str | None = None
    harm: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.02


class RolloutSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model.NAME.rollout]``: the steps in percent of traffic, and the least number of windows of evidence."""

    steps: Annotated[tuple[Share, ...], msgspec.Meta(min_length=1)] = (1, 5, 25, 50, 100)
    guard: Guard = Guard()
    windows: Annotated[int, msgspec.Meta(ge=1)] = 14


class MonitorSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model.NAME.monitor]``: `*_run_length` is the mean number of quiet windows between false alarms."""

    window: str = "1d"
    segment: tuple[str, ...] = ()
    outcomes_within: str = "30d"
    harm_run_length: Annotated[float, msgspec.Meta(gt=1)] = 365.0
    drift_run_length: Annotated[float, msgspec.Meta(gt=1)] = 10_000.0


class RetrainSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model.NAME.retrain]``: kinds of alarms, ``data`` for a changed dataset (looked at `every` so often), or a cron
    line."""

    on: tuple[str, ...] = ()
    every: str = "1h"


class CaptureSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model.NAME.capture]``: columns of a request that are never written down, or only as a keyed hash; and
    for how long predictions are kept."""

    mask: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    keep: str = "400d"

    @property
    def hidden(self) -> frozenset[str]:
        """The columns of which nobody is shown a value."""
        return frozenset((*self.mask, *self.hash))


class BatchSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model.NAME.batch]``, or several, each with a `name`, as ``[[model.NAME.batch]]``: at the moments of `cron`
    (UTC) the live version scores `source` to `destination`, in which ``{date}``, ``{time}``, ``{model}`` and
    ``{version}`` are filled in. `new` is true for the files that were not scored yet, or a column that grows, above
    whose largest value so far rows are new. `report` names whom a report is mailed to."""

    cron: str
    source: str
    destination: str
    name: str = "batch"
    sql: str = ""
    new: bool | str = False
    keep: str = "keys"
    max_rejects: str = ""
    append: bool = False
    overwrite: bool = False
    capture: bool = True
    engine: Annotated[str, msgspec.Meta(pattern="^(local|(ray|spark)(:.+)?)$")] = "local"
    tell: tuple[str, ...] = ()
    report: tuple[str, ...] = ()


class OwnersSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``owners`` of a model: who answers for its accuracy and stability, who for its speed and interfaces."""

    accuracy: str = ""
    speed: str = ""


class ModelSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model.NAME]``. `gate` maps metrics to rules; its `slices` name columns to evaluate apart. `answer` is what
    clients of other protocols get from a classifier: its label, or the probabilities. `purpose` says what the model is
    for. With `require_approval` a promotion waits for another person's word; `prove` is a cron line, at which the live
    version is proved."""

    dataset: str
    target: str
    train: Function
    params: dict[str, Any] = {}
    seed: int | None = None
    threads: Annotated[int, msgspec.Meta(ge=1)] = 2
    split: Split | None = None
    gate: dict[str, MetricRule] = {}
    slices: tuple[str, ...] = ()
    rollout: RolloutSection = RolloutSection()
    monitor: MonitorSection = MonitorSection()
    retrain: RetrainSection = RetrainSection()
    capture: CaptureSection = CaptureSection()
    answer: AnswerKind = "prediction"
    purpose: str = ""
    owners: OwnersSection = OwnersSection()
    require_approval: bool = False
    prove: str = ""
    batch: BatchSection | tuple[BatchSection, ...] = ()
    deploy: DeploySection = DeploySection()
    test: tuple[Test, ...] = ()

    @property
    def schedules(self) -> tuple[BatchSection, ...]:
        """The schedules of batch jobs."""
        return (self.batch,) if isinstance(self.batch, BatchSection) else self.batch


class Policy(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one run or the loop needs to know of a project: one model, its dataset, those that this is made of, and the
    targets that the model is put on by itself."""

    model: str
    settings: ModelSection
    dataset: DatasetSection
    others: dict[str, DatasetSection] = {}
    targets: dict[str, Target] = {}


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project file, decoded."""

    root: Path
    name: str
    datasets: dict[str, DatasetSection]
    models: dict[str, ModelSection]
    targets: dict[str, Target] = {}

    def policy(self, model: str | None) -> Policy:
        """The policy of one model; None where there is only one.

        Raises:
            InvalidProject: no such model, or several and none was named.
        """
        if model is None and len(self.models) != 1:
            raise InvalidProject(
                f"{self.root / FILE} has {len(self.models)} models: {', '.join(self.models)}.",
                expected="the name of one",
                todo="Say which: headrace run MODEL.",
            )
        name = next(iter(self.models)) if model is None else model
        if name not in self.models:
            raise InvalidProject(
                f"{self.root / FILE} has no model {name!r}.",
                expected=f"one of {', '.join(self.models)}",
                todo=f"Correct the name, or add a table [model.{name}].",
            )
        settings = self.models[name]
        dataset = self.datasets[settings.dataset]
        targets = {one: self.targets[one] for one in settings.deploy.targets}
        return Policy(model=name, settings=settings, dataset=dataset, others=self._needed(dataset), targets=targets)

    def _needed(self, dataset: DatasetSection) -> dict[str, DatasetSection]:
        found = {name: self.datasets[name] for name in dataset.needs}
        return found | {name: one for other in found.values() for name, one in self._needed(other).items()}


def read_project(folder: Path) -> Project:
    """The project in `folder`.

    Raises:
        InvalidProject: there is none, or its file is wrong somewhere.
    """
    path = folder / FILE
    try:
        text = path.read_text()
    except OSError as error:
        raise InvalidProject(
            f"There is no {FILE} in {folder.resolve()}.",
            todo="Go to the project's folder, name it with --project, or make one with 'headrace init DIR'.",
        ) from error
    return decode_project(text, folder)


def decode_project(text: str, folder: Path) -> Project:
    """The project whose file holds `text`.

    Raises:
        InvalidProject: where it is wrong, with the line.
    """
    where = _Where(folder / FILE, text)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidProject(f"{folder / FILE} is not TOML: {error}.", todo="Mend the line that it names.") from error
    unknown = raw.keys() - {"project", "dataset", "model", "target"}
    if unknown:
        expected = "project, dataset.NAME, model.NAME or target.NAME"
        raise where.error([min(unknown)], f"unknown table {min(unknown)!r}", expected)
    section = where.convert(["project"], raw.get("project", {}), ProjectSection)
    datasets = {n: where.convert(["dataset", n], d, DatasetSection) for n, d in raw.get("dataset", {}).items()}
    for name in datasets:
        _check_dataset(where, name, datasets)
    targets = {n: _target(where, n, t) for n, t in raw.get("target", {}).items()}
    models = {n: _model(where, n, dict(m)) for n, m in raw.get("model", {}).items()}
    for name, model in models.items():
        if model.dataset not in datasets:
            known = ", ".join(datasets) or "none is declared"
            raise where.error(["model", name, "dataset"], f"unknown dataset {model.dataset!r}", f"one of: {known}")
        _check_capture(where, name, model, datasets[model.dataset])
        for target in model.deploy.targets:
            if target not in targets:
                known = ", ".join(targets) or "none is declared"
                raise where.error(["model", name, "deploy"], f"unknown target {target!r}", f"one of: {known}")
    root = folder.resolve()
    return Project(root=root, name=section.name, datasets=datasets, models=models, targets=targets)


def _target(where: _Where, name: str, raw: dict[str, Any]) -> Target:
    place = ["target", name]
    where.name(place, name, "target")
    kind = raw.get("kind")
    if kind not in KINDS:
        raise where.error([*place, "kind"], f"kind is {kind!r}", f"one of {', '.join(KINDS)}")
    target: Target = where.convert(place, raw, KINDS[kind])
    where.duration([*place, "wait"], target.wait)
    for key, text in (("image", target.image), ("folder", target.folder)):
        where.filled([*place, key], text, ("model", "version") if key == "image" else ("model",))
    return target


def _check_dataset(where: _Where, name: str, datasets: dict[str, DatasetSection]) -> None:
    """See that a dataset says in one way where its rows come from, and that what it is made of is there.

    Raises:
        InvalidProject: it does not.
    """
    it, place = datasets[name], ["dataset", name]
    wrong = it.problem()
    if wrong is not None:
        raise where.error(place, *wrong)
    for other in it.needs:
        if other not in datasets:
            raise where.error(place, f"unknown dataset {other!r}", f"one of: {', '.join(datasets)}")
    for one in it.join:
        if one.within is not None:
            where.duration([*place, "join"], one.within)
    seen: set[str] = set()
    open_ends = set(it.needs)
    while open_ends - seen:
        other = (open_ends - seen).pop()
        seen.add(other)
        open_ends |= set(datasets[other].needs) & datasets.keys()
    if name in seen:
        raise where.error(place, "it is made of itself", "datasets that do not need each other")


def _model(where: _Where, name: str, raw: dict[str, Any]) -> ModelSection:
    place = ["model", name]
    where.name(place, name, "model")
    gate = raw.get("gate")
    if isinstance(gate, dict) and "slices" in gate:
        raw["slices"] = gate["slices"]
        raw["gate"] = {key: rule for key, rule in gate.items() if key != "slices"}
    raw["test"] = _tests(where, [*place, "test"], raw.get("test", []))
    model = where.convert(place, raw, ModelSection)
    durations = {
        ("monitor", "window"): model.monitor.window,
        ("monitor", "outcomes_within"): model.monitor.outcomes_within,
        ("capture", "keep"): model.capture.keep,
        ("retrain", "every"): model.retrain.every,
        ("rollout", "guard", "p99_latency"): model.rollout.guard.p99_latency,
        ("split", "test"): model.split.test if model.split and model.split.by == "time" else None,
    }
    for keys, duration in durations.items():
        if duration is not None:
            where.duration([*place, *keys], duration)
    if model.split is not None and model.split.by == "random" and isinstance(model.split.test, str):
        raise where.error(
            [*place, "split"], f"test is {model.split.test!r}", 'a share of the rows, such as 0.2, by "random"'
        )
    if model.split is not None and model.split.by == "time" and not isinstance(model.split.test, str):
        raise where.error([*place, "split"], f"test is {model.split.test!r}", 'a duration, such as "30d", by "time"')
    _check_retrain(where, place, model)
    _check_batch(where, [*place, "batch"], model.schedules)
    placed = tuple(_placed(one, where.folder) for one in model.schedules)
    return msgspec.structs.replace(model, batch=placed)


def _tests(where: _Where, place: list[str], raw: Any) -> list[Any]:
    """The tests as they are read, each once more by its kind alone: of a union msgspec does not say what is wrong."""
    tests = raw if isinstance(raw, list) else [raw]
    names = set()
    for one in tests:
        kind = one.get("kind") if isinstance(one, dict) else one
        if kind not in TEST_KINDS:
            raise where.error([*place, "kind"], f"kind is {kind!r}", f"one of {', '.join(TEST_KINDS)}")
        name = title_of(where.convert(place, one, TEST_KINDS[kind]))
        if name in names:
            raise where.error(place, f"two tests are called {name!r}", "a name for each")
        names.add(name)
    return tests


def _check_batch(where: _Where, place: list[str], schedules: tuple[BatchSection, ...]) -> None:
    for one in schedules:
        if not (len(one.cron.split()) == 5 and croniter.is_valid(one.cron)):
            raise where.error([*place, "cron"], f"{one.cron!r} is no schedule", "a cron line of five fields")
        where.filled([*place, "destination"], one.destination, ("date", "time", "model", "version"))
    names = [one.name for one in schedules]
    if len(set(names)) < len(names):
        raise where.error([*place, "name"], "two schedules have one name", "a name for each")


def _placed(one: BatchSection, folder: Path) -> BatchSection:
    """A schedule whose paths do not depend on where the worker runs: they are relative to the project."""

    def absolute(place: str) -> str:
        scheme = "delta:" if place.startswith("delta:") else ""
        path = place.removeprefix(scheme)
        return place if "://" in path or path.startswith("env:") else f"{scheme}{folder.resolve() / path}"

    return msgspec.structs.replace(one, source=absolute(one.source), destination=absolute(one.destination))


def _check_retrain(where: _Where, place: list[str], model: ModelSection) -> None:
    if model.prove and not (len(model.prove.split()) == 5 and croniter.is_valid(model.prove)):
        raise where.error([*place, "prove"], f"{model.prove!r} is no schedule", "a cron line of five fields")
    for trigger in model.retrain.on:
        cron = len(trigger.split()) == 5 and croniter.is_valid(trigger)
        if trigger not in ("harm", "drift", "data") and not cron:
            raise where.error(
                [*place, "retrain", "on"],
                f"unknown trigger {trigger!r}",
                "harm, drift, data or a cron line of five fields",
            )


class _Where:
    """Finds the line of a key, so that an error can name it."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self.folder = path.parent
        self._lines = text.splitlines()

    def convert(self, place: list[str], raw: Any, kind: Any) -> Any:
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            keys = [key for key in re.split(r"[.\[\]`]+", path) if key and not key.isdigit() and key != "..."]
            named = re.search(r"field `([^`]*)`", what)
            if "unknown field" in what and named:
                expected = ", ".join(_fields(kind, keys))
                raise self.error(
                    [*place, *keys, named[1]], f"unknown key {named[1]!r}", f"one of {expected}"
                ) from error
            raise self.error([*place, *keys], what[:1].lower() + what[1:], "") from error

    def name(self, place: list[str], name: str, what: str) -> None:
        try:
            check_name(name, what)
        except InvalidInput as error:
            raise self.error(place, error.text, error.expected or "") from error

    def filled(self, place: list[str], text: str, names: tuple[str, ...]) -> None:
        """See that nothing else than these names is to be filled in."""
        try:
            text.format(**dict.fromkeys(names, ""))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            expected = " and ".join(f"{{{name}}}" for name in names)
            raise self.error(place, f"{error} cannot be filled in", expected) from error

    def duration(self, place: list[str], text: object) -> None:
        try:
            parse_duration(str(text))
        except InvalidInput as error:
            raise self.error(place, error.text.rstrip("."), error.expected or "") from error

    def error(self, place: list[str], what: str, expected: str) -> InvalidProject:
        line = self._line(place)
        at = f"{self._path}, line {line}" if line else str(self._path)
        return InvalidProject(
            f"{at}: [{'.'.join(place)}]: {what}.",
            field=".".join(place),
            expected=expected or None,
            todo="Correct the file.",
        )

    def _line(self, place: list[str]) -> int | None:
        best, table = None, ""
        for number, line in enumerate(self._lines, start=1):
            header = re.match(r"\s*\[+([^\]]+)\]+", line)
            if header and "=" not in line.split("]")[0]:
                table = re.sub(r"[\s\"']", "", header[1])
                best = number if ".".join(place) == table else best
                continue
            key = re.match(r"\s*[\"']?([\w.-]+)[\"']?\s*=", line)
            if key and (
                f"{table}.{key[1]}" == ".".join(place) or (key[1] in place and ".".join(place).startswith(table))
            ):
                best = number
        return best


def _check_capture(where: _Where, name: str, model: ModelSection, dataset: DatasetSection) -> None:
    """What may not be written down, as far as the file alone can be wrong about it.

    Raises:
        InvalidProject: a column is masked and hashed, or outcomes or windows could not find their predictions.
    """
    mask, hashes, place = model.capture.mask, model.capture.hash, ["model", name, "capture"]
    for column in mask:
        if column in hashes:
            raise where.error([*place, "mask"], f"{column!r} is masked and hashed", "one of the two")
        if column in dataset.key:
            what = f"{column!r} is a key, by which outcomes find their predictions"
            raise where.error([*place, "mask"], what, "hash instead of mask, or a dataset without this key")
    if dataset.time is not None and dataset.time in (*mask, *hashes):
        raise where.error(place, f"{dataset.time!r} is the time, by which windows are made", "other columns")


def _fields(kind: Any, keys: list[str]) -> list[str]:
    for key in keys:
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        found = [t for t in getattr(fields.get(key), "__args__", [fields.get(key)]) if hasattr(t, "__struct_fields__")]
        kind = found[0] if found else kind
    return list(kind.__struct_fields__)
