"""The gate: what the project asks of a version before it may be promoted."""

from __future__ import annotations

from headrace.kernel.errors import InvalidProject
from headrace.kernel.records import Check, Evaluation, GateResult
from headrace.training.metrics import HIGHER_IS_BETTER
from headrace.training.project import MetricRule


def check_gate(rules: dict[str, MetricRule], found: Evaluation, live: Evaluation | None) -> GateResult:
    """Hold an evaluation against the rules, and against the live version's on the same rows.

    Raises:
        InvalidProject: a rule names a metric that this task does not have.
    """
    checks: list[Check] = []
    for name, rule in rules.items():
        if name not in found.metrics:
            raise InvalidProject(
                f"The gate names the metric {name!r}, which the evaluation does not have.",
                field=f"gate.{name}",
                expected=f"one of {', '.join(found.metrics)}",
                todo="Correct [model.NAME.gate] in headrace.toml.",
            )
        checks += _absolute(name, rule, found) + _against_live(name, rule, found, live) + _slices(name, rule, found)
    return GateResult(passed=all(check.passed for check in checks), checks=tuple(checks))


def _absolute(name: str, rule: MetricRule, found: Evaluation) -> list[Check]:
    value = found.metrics[name].value
    checks = []
    if rule.min is not None:
        checks.append(
            Check(name=f"{name} min", passed=value >= rule.min, asked=f">= {rule.min:g}", found=f"{value:.4f}")
        )
    if rule.max is not None:
        checks.append(
            Check(name=f"{name} max", passed=value <= rule.max, asked=f"<= {rule.max:g}", found=f"{value:.4f}")
        )
    return checks


def _against_live(name: str, rule: MetricRule, found: Evaluation, live: Evaluation | None) -> list[Check]:
    if rule.not_below_live_by is None or live is None or name not in live.metrics:
        return []
    ours, theirs = found.metrics[name].value, live.metrics[name].value
    worse_by = theirs - ours if HIGHER_IS_BETTER[name] else ours - theirs
    return [
        Check(
            name=f"{name} against live",
            passed=worse_by <= rule.not_below_live_by,
            asked=f"not worse than live's {theirs:.4f} by more than {rule.not_below_live_by:g}",
            found=f"{ours:.4f}",
        )
    ]


def _slices(name: str, rule: MetricRule, found: Evaluation) -> list[Check]:
    """A slice falls short only where even the upper end of its interval does: small slices are noisy."""
    if rule.slice_min is None:
        return []
    return [
        Check(
            name=f"{name} where {part.column} is {part.value}",
            passed=part.metrics[name].high >= rule.slice_min,
            asked=f"not clearly below {rule.slice_min:g}",
            found=f"{part.metrics[name].value:.4f} (up to {part.metrics[name].high:.4f})",
        )
        for part in found.slices
        if name in part.metrics
    ]
