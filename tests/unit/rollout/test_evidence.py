"""Rollouts: equal versions are almost never sent back, worse ones are, and nothing moves without evidence."""

import numpy as np
import pytest

from headrace.kernel.records import Window
from headrace.rollout.evidence import Evidence, fold, judge
from headrace.rollout.settings import Settings

SETTINGS = Settings(steps=(1, 5, 25, 50, 100), windows=14, errors=True, slow=True, margin=0.02)


def window(day, loss, baseline, requests=20, errors=0, slow=0):
    return Window(
        model="m",
        number=2,
        start=f"2013-01-{day:04d}",
        end="",
        answers=requests,
        outcomes=500,
        findings={
            "traffic": {"requests": requests, "errors": errors, "slow": slow},
            "paired": {"baseline": 1, "rows": 500, "loss": loss, "baseline_loss": baseline},
        },
        state={},
    )


def roll(windows):
    """Advance through windows as a rollout does; gives the last action, the window and the shares seen."""
    evidence, share, shares = Evidence(), 1.0, [1.0]
    for i, w in enumerate(windows, 1):
        evidence = fold(evidence, w, SETTINGS.margin)
        verdict = judge(evidence, SETTINGS, share)
        if verdict.action in ("finish", "roll back"):
            return verdict.action, i, shares
        if verdict.action == "advance":
            share = next(step for step in SETTINGS.steps if step > share)
            shares.append(share)
    return "hold", len(windows), shares


def test_a_better_version_goes_through_all_steps_and_waits_for_the_evidence():
    random = np.random.default_rng(1)
    windows = [window(d, 0.35 + random.normal(-0.02, 0.01), 0.35) for d in range(60)]
    action, at, shares = roll(windows)
    assert (action, shares) == ("finish", [1.0, 5, 25, 50])
    assert 14 <= at <= 20


@pytest.mark.parametrize("fault", [{"errors": 5}, {"slow": 8}])
def test_errors_and_a_slow_tail_send_it_back(fault):
    action, at, _ = roll([window(d, 0.35, 0.35, **fault) for d in range(60)])
    assert action == "roll back"
    assert at <= 14


def test_a_worse_version_is_sent_back_and_never_finishes():
    random = np.random.default_rng(2)
    windows = [window(d, 0.42 + random.normal(0, 0.02), 0.35) for d in range(120)]
    assert roll(windows)[0] == "roll back"


def test_two_thousand_equal_rollouts_with_continuous_peeking():
    """At most 1 % of A/A rollouts are wrongly sent back, however often one looks."""
    random = np.random.default_rng(3)
    wrong = 0
    for _ in range(2000):
        differences = random.normal(0, 0.035, 40)
        errors, slow = random.binomial(20, 0.001, 40), random.binomial(20, 0.01, 40)
        windows = [
            window(d, 0.35 + difference, 0.35, errors=int(e), slow=int(s))
            for d, (difference, e, s) in enumerate(zip(differences, errors, slow, strict=True))
        ]
        wrong += roll(windows)[0] == "roll back"
    assert wrong / 2000 <= 0.01


def test_without_outcomes_it_holds():
    windows = [window(d, 0.3, 0.3) for d in range(40)]
    for w in windows:
        w.findings["paired"] = None
    assert roll(windows) == ("hold", 40, [1.0, 5, 25, 50])
