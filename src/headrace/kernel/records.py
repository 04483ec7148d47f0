"""The records that rooms hand to each other: frozen, comparable, and JSON without further ado."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from headrace.kernel import notebook
from headrace.kernel.schema import Schema

Task = Literal["binary", "multiclass", "regression", "multioutput"]
Runtime = Literal["graph", "reference"]
Level = Literal["L0", "L1", "L2", "L3", "none"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen value with named fields."""


class Metric(Record, frozen=True, kw_only=True):
    """A figure with the limits of its confidence interval (95 %) and the rows it rests on."""

    value: float
    low: float
    high: float
    rows: int


class Slice(Record, frozen=True, kw_only=True):
    """The metrics of the rows in which `column` has `value`."""

    column: str
    value: str
    metrics: dict[str, Metric]


class Gain(Record, frozen=True, kw_only=True):
    """What a column brings: by how much the loss of a row grows, on average, where the column's values are shuffled."""

    column: str
    value: float
    low: float
    high: float


class Evaluation(Record, frozen=True, kw_only=True):
    """What a fitted object is worth on rows that it has not seen.

    `baselines` are what a constant and a linear model reach there, in the task's first metric; `gains` what each column
    brings; `unweighed` says why one of them is not known.
    """

    metrics: dict[str, Metric]
    slices: tuple[Slice, ...] = ()
    rows: int
    start: str = ""
    end: str = ""
    baselines: dict[str, Metric] = {}
    gains: tuple[Gain, ...] = ()
    unweighed: str = ""


class Check(Record, frozen=True, kw_only=True):
    """One condition of a gate: what was asked, what was found."""

    name: str
    passed: bool
    asked: str
    found: str


class GateResult(Record, frozen=True, kw_only=True):
    """The gate's answer: it is passed when every check is."""

    passed: bool
    checks: tuple[Check, ...]


class FormResult(Record, frozen=True, kw_only=True):
    """How far one form agrees with the Python object at one batch size.

    `max_difference` and `flipped` are against the Python object; `between_forms` is the largest difference from our
    own form in process, with all rows at once where the version is compiled, else with as many.
    """

    form: str
    batch_size: int
    rows: int
    max_difference: float
    flipped: int
    level: Level
    between_forms: float = 0.0


class Certificate(Record, frozen=True, kw_only=True):
    """The parity proof: the golden rows through every form, at several batch sizes.

    `refused` more rows are those at which the Python object raises; every form must reject them.
    """

    passed: bool
    rows: int
    refused: int = 0
    forms: tuple[FormResult, ...]
    made: datetime
    headrace: str
    failures: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        return notebook.certificate_html(self)


class Lineage(Record, frozen=True, kw_only=True):
    """Where a version comes from. `code` is the digest of the project's source as of the run."""

    run: str
    snapshot: str = ""
    dataset: str = ""
    code: str = ""
    commit: str = ""
    project: str = ""


class Version(Record, frozen=True, kw_only=True):
    """One immutable, content-addressed state of a model.

    `uncompiled` is the reason for which its runtime is the Python object, where it is.
    """

    name: str
    number: int
    runtime: Runtime
    uncompiled: str = ""
    task: Task
    digest: str
    schema: Schema
    metrics: dict[str, Metric]
    slices: tuple[Slice, ...] = ()
    baselines: dict[str, Metric] = {}
    gains: tuple[Gain, ...] = ()
    unweighed: str = ""
    gate: GateResult | None = None
    certificate: Certificate | None = None
    lineage: Lineage
    aliases: tuple[str, ...] = ()
    created: datetime
    created_by: str

    @property
    def reference(self) -> str:
        """``name@number``."""
        return f"{self.name}@{self.number}"

    def _repr_html_(self) -> str:
        return notebook.version_html(self)


class ProofInput(Record, frozen=True, kw_only=True):
    """One thing on which a training rests: as it was recorded, and as the proof found it."""

    name: Literal["data", "code", "parameters", "threads", "python", "environment", "hardware"]
    recorded: str
    found: str
    same: bool
    detail: str = ""


class Retraining(Record, frozen=True, kw_only=True):
    """One training anew, in a process of its own, held against the version's answers to its golden rows.

    `digest` is the canonical digest of the fitted object; `row` the first golden row that is answered otherwise.
    """

    digest: str
    level: Level
    max_difference: float
    flipped: int
    row: int | None = None
    metrics: dict[str, Metric]
    seconds: float


class Proof(Record, frozen=True, kw_only=True):
    """How far a version can be made again from its records. `level` is that of the worse of two trainings.

    L0: the fitted object is the same; L1: the same bits of every answer; L2: |Δ| ≤ 1e-9 · max(1, |answer|) and the
    same decisions; L3: only the metrics are within their intervals. `repeats`: the two trainings gave the same object.
    `against` is the project with which it was made again, empty where it was from its records alone. `diverged` names
    the first input that is not the recorded one; `changes` says what is otherwise than in the version before.
    `statement` is the signed provenance (DSSE around in-toto, SLSA provenance 1).
    """

    id: str
    model: str
    number: int
    level: Level
    against: str = ""
    rows: int
    repeats: bool
    rebuilt: bool
    inputs: tuple[ProofInput, ...]
    diverged: str = ""
    changes: tuple[str, ...] = ()
    trainings: tuple[Retraining, ...]
    hardware: str
    made: datetime
    who: str
    statement: dict[str, Any] = {}

    @property
    def passed(self) -> bool:
        """Whether the version was made again: the same answers from the recorded inputs."""
        return self.level in ("L0", "L1", "L2") and not self.diverged


class Finding(Record, frozen=True, kw_only=True):
    """One broken expectation of a dataset: `count` `of` its rows break it, `rows` are the first of their places (from
    0), `examples` what stands there. `declared` ones stop a run."""

    column: str
    expected: str
    count: int
    of: int
    rows: tuple[int, ...] = ()
    examples: tuple[str, ...] = ()
    declared: bool = False

    def text(self) -> str:
        """The finding in one line."""
        where = f"{self.column}: " if self.column else ""
        rows = f"; the first rows: {', '.join(map(str, self.rows[:5]))}" if self.rows else ""
        values = f" ({'; '.join(self.examples[:5])})" if self.examples else ""
        return f"{where}expected {self.expected}; {self.count:,} of {self.of:,} are not{rows}{values}"


class Suspect(Record, frozen=True, kw_only=True):
    """A column that may leak the target, or tell a model nothing that holds."""

    column: str
    why: str


class Point(Record, frozen=True, kw_only=True):
    """One point of a learning curve: what training on so many rows gave."""

    rows: int
    score: Metric


class Assessment(Record, frozen=True, kw_only=True):
    """What data are worth for a target. `balance` is the share of each class, `duplicates` and `contradictions` count
    rows, `verdict` says it in sentences, the most important first."""

    target: str
    task: Task
    metric: str
    rows: int
    held_out: int
    balance: dict[str, float]
    duplicates: int
    contradictions: int
    curve: tuple[Point, ...]
    linear: Metric
    constant: Metric
    suspects: tuple[Suspect, ...]
    verdict: tuple[str, ...]


class ModelTestResult(Record, frozen=True, kw_only=True):
    """One test that a project declares of its model: what was asked, and what was found."""

    name: str
    kind: str
    passed: bool
    asked: str
    found: str


class ModelTests(Record, frozen=True, kw_only=True):
    """The tests of a project, run against one version."""

    id: str
    model: str
    number: int
    passed: bool
    results: tuple[ModelTestResult, ...]
    made: datetime
    who: str


class Snapshot(Record, frozen=True, kw_only=True):
    """One immutable state of a dataset: `digest` covers every row and column, `table` is its Delta version, `origin`
    says what it was read from."""

    digest: str
    dataset: str
    table: int
    rows: int
    schema: Schema
    start: str = ""
    end: str = ""
    created: datetime
    origin: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


class Step(Record, frozen=True, kw_only=True):
    """One durable step of a run."""

    name: str
    status: Literal["running", "done", "failed"]
    started: datetime
    ended: datetime | None = None
    worker: str = ""
    attempts: int = 1
    note: str = ""


class Run(Record, frozen=True, kw_only=True):
    """One durable execution of a pipeline, with all that was asked and found."""

    id: str
    model: str
    kind: Literal["train", "trial", "sweep", "register", "prove", "deploy"]
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    params: dict[str, Any]
    reason: str
    created_by: str
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    parent: str = ""
    code: str = ""
    snapshot: str = ""
    version: int | None = None
    evaluation: Evaluation | None = None
    gate: GateResult | None = None
    error: dict[str, Any] | None = None
    steps: tuple[Step, ...] = ()


class Window(Record, frozen=True, kw_only=True):
    """What was seen of one version in one window of time, and the state of its detectors after it."""

    model: str
    number: int
    start: str
    end: str
    answers: int
    outcomes: int
    findings: dict[str, Any]
    state: dict[str, Any]


class Alarm(Record, frozen=True, kw_only=True):
    """A detector's finding that asks for attention: `evidence` holds the figures that led to it."""

    id: str
    model: str
    number: int
    kind: Literal["data", "drift", "harm"]
    window: str
    text: str
    evidence: dict[str, Any]
    created: datetime


class Promotion(Record, frozen=True, kw_only=True):
    """One move of an alias: who, when, why and on which evidence."""

    id: str
    model: str
    alias: str
    number: int
    previous: int | None
    who: str
    why: str
    evidence: dict[str, Any]
    time: datetime


class Rollout(Record, frozen=True, kw_only=True):
    """The guarded movement of traffic from `baseline` to `candidate`."""

    id: str
    model: str
    candidate: int
    baseline: int
    status: Literal["running", "done", "rolled_back", "superseded"]
    share: float
    reason: str
    started: datetime
    ended: datetime | None = None
    state: dict[str, Any]
    history: tuple[dict[str, Any], ...] = ()


class Freed(Record, frozen=True, kw_only=True):
    """Something that nothing refers to: `paths` of the workspace that hold `size` bytes."""

    kind: str
    name: str
    why: str
    size: int
    paths: tuple[str, ...]


class Copied(Record, frozen=True, kw_only=True):
    """A copy of a workspace: how many files of how many bytes, beside its databases."""

    files: int
    size: int
    folder: str


class Node(Record, frozen=True, kw_only=True):
    """A thing in a graph of lineage: a snapshot, code, run, version, promotion, route or its predictions."""

    id: str
    kind: str
    label: str


class Edge(Record, frozen=True, kw_only=True):
    """What one thing has to do with another: `begin` `what` `end`."""

    begin: str
    end: str
    what: str


class Graph(Record, frozen=True, kw_only=True):
    """Where things come from, and where they went."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class Forgotten(Record, frozen=True, kw_only=True):
    """How many rows were erased."""

    predictions: int
    outcomes: int


class Hit(Record, frozen=True, kw_only=True):
    """A version that was found: what tells it from others, at a glance."""

    version: str
    digest: str
    run: str
    created: str
    gate: bool | None
    aliases: tuple[str, ...]
    metrics: dict[str, float]


class Approval(Record, frozen=True, kw_only=True):
    """A request that a version may become live; `approved_by` is empty while it waits, `word` is what was said."""

    id: str
    model: str
    number: int
    asked_by: str
    asked: datetime
    why: str
    approved_by: str = ""
    approved: datetime | None = None
    word: str = ""


class Hold(Record, frozen=True, kw_only=True):
    """A snapshot's digest, or a source's, that must stay: who said so, and why."""

    subject: str
    who: str
    why: str
    created: datetime


class AuditEntry(Record, frozen=True, kw_only=True):
    """One link of the audit chain; `hash` covers everything before it, `signature` covers `hash`."""

    seq: int
    time: str
    who: str
    action: str
    subject: str
    detail: dict[str, Any]
    previous: str
    hash: str
    signature: str


class AuditReport(Record, frozen=True, kw_only=True):
    """Whether the chain is whole: how many entries, what is wrong, and the head that was signed last."""

    intact: bool
    entries: int
    head: str
    problems: tuple[str, ...] = ()
