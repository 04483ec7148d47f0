"""What a rollout knows, folded window by window, and what follows from it: advance, hold or roll back.

Each guard is an e-process, so that looking after every window costs nothing: with α = 0.01 in total, at most one
rollout in a hundred of a version whose true rates are within the guards' limits is rolled back. The limits of errors
and of slow answers are absolute; only harm is measured against the live version. Harm is judged on
pairs: both versions score every request, and the loss is compared on the very same rows.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from headrace.kernel.records import Window
from headrace.monitoring.sequential import betting_process, confidence_sequence, counting_process, mixed
from headrace.rollout.settings import Settings

ALPHA = 0.01
PROMOTION_ALPHA = 0.05
TOLERATED_ERRORS = 0.001
TOLERATED_SLOW = 0.01


class Evidence(msgspec.Struct, frozen=True):
    """The state of a rollout's guards after some windows. `differences` are candidate's loss minus baseline's."""

    errors: dict[str, float] = {}
    slow: dict[str, float] = {}
    harm: dict[str, float] = {}
    differences: tuple[float, ...] = ()
    windows: int = 0
    last: str = ""


class Verdict(NamedTuple):
    """What to do now, and why, in words and figures."""

    action: Literal["advance", "finish", "hold", "roll back"]
    why: str
    figures: dict[str, Any]


def fold(before: Evidence, window: Window, margin: float) -> Evidence:
    """The evidence after one more window of the candidate."""
    traffic, paired = window.findings["traffic"], window.findings.get("paired")
    differences, harm = before.differences, before.harm
    if paired is not None:
        difference = paired["loss"] - paired["baseline_loss"]
        differences = (*differences, difference)
        harm = betting_process((difference + 1) / 2, (margin + 1) / 2, harm)
    requests = traffic["requests"]
    return Evidence(
        errors=counting_process(traffic["errors"], requests, TOLERATED_ERRORS, before.errors),
        slow=counting_process(traffic["slow"], requests, TOLERATED_SLOW, before.slow),
        harm=harm,
        differences=differences,
        windows=before.windows + 1,
        last=window.start,
    )


def judge(evidence: Evidence, settings: Settings, share: float) -> Verdict:
    """What the evidence says at the present share of traffic."""
    guards = {"errors": mixed(evidence.errors), "slow answers": mixed(evidence.slow), "harm": mixed(evidence.harm)}
    watched = {"harm", *(["errors"] if settings.errors else []), *(["slow answers"] if settings.slow else [])}
    low, high = confidence_sequence(list(evidence.differences), PROMOTION_ALPHA)
    figures = {
        "windows": evidence.windows,
        "pairs": len(evidence.differences),
        "share": share,
        "e_values": guards,
        "harm_interval": [low, high] if len(evidence.differences) > 1 else None,
        "margin": settings.margin,
    }
    threshold = len(watched) / ALPHA
    for name in sorted(watched):
        if guards[name] >= threshold:
            return Verdict(
                "roll back", f"the guard on {name} fired: e-value {guards[name]:.3g} passed {threshold:g}", figures
            )
    enough = len(evidence.differences) >= settings.windows
    if enough and low > settings.margin:
        return Verdict(
            "roll back", f"the loss is above live's by {low:.4f} at least, the margin is {settings.margin:g}", figures
        )
    later = [step for step in settings.steps if step > share]
    if not later:
        return Verdict("finish", "all traffic is on the candidate", figures)
    if later[0] < 100:
        return Verdict("advance", "no guard fired in the last window", figures)
    if not enough:
        return Verdict("hold", f"{len(evidence.differences)} of {settings.windows} windows of evidence", figures)
    if high < settings.margin:
        return Verdict(
            "finish",
            f"the loss is above live's by {high:.4f} at most, within the margin of {settings.margin:g}",
            figures,
        )
    return Verdict("hold", f"the loss may be above live's by {high:.4f}, the margin is {settings.margin:g}", figures)
