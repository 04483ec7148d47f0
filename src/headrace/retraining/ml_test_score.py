"""The ML Test Score of a version: 28 tests, 0.5 each by hand and 1 where automatic and repeated (Breck et al., 2017).

What the workspace knows is computed; what it cannot know says what is missing. The score is the least of the four
sections' sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from headrace.kernel.records import (
    Metric,
    ModelTestResult,
    ModelTests,
    Promotion,
    Proof,
    Record,
    Rollout,
    Run,
    Version,
    Window,
)
from headrace.notices.receivers import receivers
from headrace.training.metrics import HIGHER_IS_BETTER, PRIMARY
from headrace.training.project import Policy

SECTIONS = {"D": "data and features", "M": "model development", "I": "infrastructure", "Mo": "monitoring"}
Found = tuple[float, str]
FEWEST_RELEASES = 3
AGREEMENT = 0.5


class Release(NamedTuple):
    """A version that answered: its first metric on held-out rows, and its mean loss on rows whose truth is known."""

    metric: str
    offline: float
    online: float


class Facts(NamedTuple):
    """What is known of one version, and of its model."""

    version: Version
    policy: Policy | None
    trials: int
    proofs: list[Proof]
    rollouts: list[Rollout]
    windows: list[Window]
    promotions: list[Promotion]
    monitored: bool
    releases: list[Release]
    run: Run | None
    tests: ModelTests | None


class Row(Record, frozen=True, kw_only=True):
    """One of the 28: its points (0, 0.5 or 1), and why."""

    id: str
    section: str
    title: str
    points: float
    why: str


class Score(Record, frozen=True, kw_only=True):
    """All of them: `score` is the least of `sections`."""

    score: float
    sections: dict[str, float]
    tests: tuple[Row, ...]


def ml_test_score(facts: Facts) -> Score:
    """The score of a version."""
    tests = tuple(_row(name, title, rule(facts)) for name, title, rule in TABLE)
    sections = {title: sum(test.points for test in tests if test.section == title) for title in SECTIONS.values()}
    return Score(score=min(sections.values()), sections=sections, tests=tests)


def _row(name: str, title: str, found: Found) -> Row:
    section = SECTIONS[name.rstrip("0123456789")]
    return Row(id=name, section=section, title=title, points=found[0], why=found[1])


def _missing(what: str) -> Callable[[Facts], Found]:
    return lambda _facts: (0.0, f"missing: {what}")


def _privacy(f: Facts) -> Found:
    hidden = (*f.policy.settings.capture.mask, *f.policy.settings.capture.hash) if f.policy else ()
    if hidden:
        return 0.5, f"the columns {', '.join(hidden)} are never written down as they are; no scan for others"
    return 0.0, "missing: [model.NAME.capture] hides no column, and nothing scans for personal data"


def _reviewed(f: Facts) -> Found:
    commit = f.version.lineage.commit
    if not commit:
        return 0.0, "missing: the project was in no git repository when it ran"
    if commit.endswith("+"):
        return 0.0, f"missing: files differed from the commit {commit[:12]} when it ran"
    return 1.0, f"commit {commit[:12]}, without changes"


def _tuned(f: Facts) -> Found:
    return (1.0, f"the best of {f.trials} trials") if f.trials else (0.0, "missing: no sweep: headrace run --sweep")


def _slices(f: Facts) -> Found:
    count = len(f.version.slices)
    return (1.0, f"{count} slices, each with its interval") if count else (0.0, "missing: slices in [model.NAME.gate]")


def _reproducible(f: Facts) -> Found:
    proof = next((one for one in f.proofs if not one.against), None)
    if proof is None:
        return 0.0, f"missing: headrace prove {f.version.reference}"
    return (1.0, f"proved {proof.level} on {proof.made:%Y-%m-%d}") if proof.passed else (0.0, f"not: {proof.diverged}")


def _gate(f: Facts) -> Found:
    gate = f.version.gate
    if gate is None or not gate.checks:
        return 0.0, "missing: [model.NAME.gate] asks for nothing"
    return (1.0, f"{len(gate.checks)} checks passed") if gate.passed else (0.0, "the gate is not passed")


def _canary(f: Facts) -> Found:
    mine = [one for one in f.rollouts if one.candidate == f.version.number]
    return (1.0, f"rolled out in steps: {mine[0].status}") if mine else (0.0, "missing: it was not rolled out in steps")


def _rollback(f: Facts) -> Found:
    moves = [p for p in f.promotions if p.previous not in (None, p.number)]
    return (0.5, "an earlier version stands ready; no timed drill") if moves else (0.0, "missing: no version before it")


def _invariants(f: Facts) -> Found:
    return (
        (1.0, "held against the profile of its training data, window by window")
        if f.monitored
        else (
            0.0,
            "missing: registered without a profile of its training data",
        )
    )


def _same(f: Facts) -> Found:
    certificate = f.version.certificate
    if certificate is None or not certificate.passed:
        return 0.0, "the certificate is not passed"
    return 1.0, f"{certificate.rows} golden rows through every form; 'headrace trace ID --replay' for any prediction"


def _stale(f: Facts) -> Found:
    on = f.policy.settings.retrain.on if f.policy else ()
    return (
        (0.5, f"retrained on {', '.join(on)}; no curve of staleness") if on else (0.0, "missing: [model.NAME.retrain]")
    )


def _speed(f: Facts) -> Found:
    guard = f.policy.settings.rollout.guard.p99_latency if f.policy else None
    return (1.0, f"a rollout goes back past a p99 of {guard}") if guard else (0.0, "missing: p99_latency in the guard")


def _quality(f: Facts) -> Found:
    seen = sum(window.outcomes for window in f.windows)
    return (
        (1.0, f"the harm detector saw {seen:,} outcomes") if seen else (0.0, "missing: no outcomes: headrace outcomes")
    )


def _schema(f: Facts) -> Found:
    return 1.0, f"{len(f.version.schema.features)} columns, inferred and held against every request"


def _beneficial(f: Facts) -> Found:
    if not f.version.gains:
        return 0.0, "missing: the gain of each column, which a run measures"
    idle = [gain.column for gain in f.version.gains if gain.low <= 0]
    if idle:
        return 0.0, f"not: nothing that can be told from chance comes of {', '.join(idle)}"
    least = f.version.gains[-1]
    return 1.0, f"{len(f.version.gains)} columns; the least, {least.column}, brings {least.value:.3g} of loss a row"


def _allowed(f: Facts) -> Found:
    never = f.policy.dataset.never if f.policy else ()
    if not never:
        return 0.0, "missing: never = [...] in [dataset.NAME], the columns that may not be used"
    return 1.0, f"{', '.join(never)} may not be used; a model that uses it is refused"


def _quick(f: Facts) -> Found:
    mine = [p.time for p in f.promotions if p.number == f.version.number]
    if not mine or f.run is None:
        return 0.0, "missing: it was not made live after a run"
    hours = (min(mine) - f.run.created).total_seconds() / 3600
    return 0.5, f"{hours:.1f} hours from the run to serving; the time from commit to run is not known"


def _simpler(f: Facts) -> Found:
    if "linear" not in f.version.baselines or not f.version.metrics:
        return 0.0, f"missing: a constant and a linear model beside it {f.version.unweighed}".strip()
    name, ours = compared(f.version)
    linear, constant = f.version.baselines["linear"], f.version.baselines["constant"]
    better = ours.low > linear.value if HIGHER_IS_BETTER.get(name, True) else ours.high < linear.value
    said = f"{name} {ours.value:.4f}; linear {linear.value:.4f}, constant {constant.value:.4f}"
    return (1.0, said) if better else (0.0, f"not: a linear model does as well: {said}")


def compared(version: Version) -> tuple[str, Metric]:
    """The metric by which simple models are held against a version: the task's first one that it has."""
    name = PRIMARY.get(version.task, "")
    return (name, version.metrics[name]) if name in version.metrics else next(iter(version.metrics.items()))


def _online(f: Facts) -> Found:
    same = [one for one in f.releases if one.metric == f.releases[0].metric]
    if len(same) < FEWEST_RELEASES:
        return 0.0, f"missing: {FEWEST_RELEASES} versions whose outcomes are known; there are {len(same)}"
    sign = -1 if HIGHER_IS_BETTER.get(same[0].metric, True) else 1
    from scipy.stats import spearmanr  # takes most of a second to import, which other commands need not wait for

    found = float(spearmanr([sign * one.offline for one in same], [one.online for one in same]).statistic)
    said = f"over {len(same)} versions the order by {same[0].metric} and the order by online loss agree to {found:.2f}"
    return (1.0, said) if found >= AGREEMENT else (0.0, f"not: {said}")


def _told(f: Facts) -> Found:
    owner = f.policy.settings.owners.accuracy if f.policy else ""
    if not receivers(owner):
        return 0.0, "missing: an address in owners.accuracy, to be told of packages that changed"
    return 0.5, "a retraining on other packages is told to the owner of accuracy; upstream tables are not watched"


def _tests_of(f: Facts, *kinds: str) -> list[ModelTestResult]:
    return [one for one in (f.tests.results if f.tests else ()) if one.kind in kinds]


def _code_tested(f: Facts) -> Found:
    """Of the functions that make features only those are known to be tested that the project's own tests call."""
    mine = _tests_of(f, "function")
    failed = [one.name for one in mine if not one.passed]
    if not mine:
        return 0.0, f"missing: tests of kind function, and headrace test {f.version.reference}"
    return (0.0, f"not: {', '.join(failed)}") if failed else (0.5, f"{len(mine)} tests passed; no coverage is measured")


def _model_tested(f: Facts) -> Found:
    mine = _tests_of(f, "overfit", "invariance", "directional")
    failed = [one.name for one in mine if not one.passed]
    if failed:
        return 0.0, f"not: {', '.join(failed)}"
    if not any(one.kind == "overfit" for one in mine):
        return 0.0, f"missing: a test of kind overfit, and headrace test {f.version.reference}"
    return 1.0, f"{len(mine)} tests passed, among them one that learns a few rows by heart"


TABLE: tuple[tuple[str, str, Callable[[Facts], Found]], ...] = (
    ("D1", "feature expectations are captured in a schema", _schema),
    ("D2", "all features are beneficial", _beneficial),
    ("D3", "no feature's cost is too much", _missing("a judgement of cost against gain")),
    ("D4", "features adhere to meta-level requirements", _allowed),
    ("D5", "the pipeline has privacy controls", _privacy),
    ("D6", "new features can be added quickly", _quick),
    ("D7", "all input feature code is tested", _code_tested),
    ("M1", "every model specification is reviewed and checked in", _reviewed),
    ("M2", "offline metrics correlate with online ones", _online),
    ("M3", "all hyperparameters have been tuned", _tuned),
    ("M4", "the impact of staleness is known", _missing("a backtest by age")),
    ("M5", "a simpler model is not better", _simpler),
    ("M6", "quality is sufficient on all important slices", _slices),
    ("M7", "tested for considerations of inclusion", _missing("declared attributes, and somebody's word")),
    ("I1", "training is reproducible", _reproducible),
    ("I2", "model specification code is unit tested", _model_tested),
    ("I3", "the full pipeline is integration tested", _missing("a sampled run for each commit")),
    ("I4", "quality is validated before serving", _gate),
    ("I5", "one example can be followed step by step", lambda _f: (1.0, "headrace trace ID --replay")),
    ("I6", "canary before production", _canary),
    ("I7", "quick, safe rollback", _rollback),
    ("Mo1", "dependency changes notify", _told),
    ("Mo2", "data invariants hold in training and serving inputs", _invariants),
    ("Mo3", "training and serving features are the same", _same),
    ("Mo4", "models are not too stale", _stale),
    ("Mo5", "the model is numerically stable", lambda _f: (1.0, "infinite and NaN numbers are refused and counted")),
    ("Mo6", "no regression in speed, latency, throughput, memory", _speed),
    ("Mo7", "no regression in quality on served data", _quality),
)


def as_markdown(reference: str, it: Score) -> str:
    """The score as a table for people."""
    lines = [f"# ML Test Score of {reference}: {it.score:g}", ""]
    lines += [f"- {title}: {points:g} of 7" for title, points in it.sections.items()]
    lines += ["", "| test | points | why |", "| --- | --- | --- |"]
    lines += [f"| {t.id} {t.title} | {t.points:g} | {_cell(t.why)} |" for t in it.tests]
    return "\n".join(lines) + "\n"


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
