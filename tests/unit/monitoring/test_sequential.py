"""The sequential tests keep their promises: checked by simulation, by arithmetic, and beside another library."""

import math

import numpy as np
import pytest
from scipy import stats

from headrace.monitoring import sequential


def test_p_to_e_is_an_e_value():
    """Its mean over uniform p is 1, by the integral of each κ p^(κ-1)."""
    grid = (np.arange(200_000) + 0.5) / 200_000
    values = np.mean(sequential.KAPPAS[:, None] * grid[None, :] ** (sequential.KAPPAS[:, None] - 1), axis=0)
    assert sequential.p_to_e(0.3) == pytest.approx(float(np.interp(0.3, grid, values)), rel=1e-3)
    assert 0.8 < values.mean() <= 1.0 + 1e-9


def run_length(losses, limit, threshold):
    state: dict[str, float] = {}
    for t, loss in enumerate(losses, 1):
        state = sequential.betting_detector(loss, limit, state)
        if sequential.mixed(state) >= threshold:
            return t
    return len(losses) + 1


def test_false_alarms_are_rarer_than_the_run_length():
    """At the limit itself: of 200 runs of 300 windows at a run length of 1000, the mean says at most 30 %."""
    random = np.random.default_rng(1)
    losses = np.clip(random.normal(0.35, 0.07, (200, 300)), 0, 1)
    alarms = sum(run_length(row, 0.35, 1000) <= 300 for row in losses)
    assert alarms / 200 <= 0.30


def test_real_harm_is_found():
    random = np.random.default_rng(2)
    losses = np.clip(random.normal(0.42, 0.07, (50, 300)), 0, 1)
    delays = [run_length(row, 0.36, 365) for row in losses]
    assert np.median(delays) < 80
    assert max(delays) <= 300


def test_the_betting_process_is_beside_villes_inequality():
    """Under the null a wealth process passes 1/α with probability at most α."""
    random = np.random.default_rng(3)
    passed = 0
    for _ in range(400):
        wealth: dict[str, float] = {}
        highest = 0.0
        for value in random.beta(5, 5, 100):
            wealth = sequential.betting_process(float(value), 0.5, wealth)
            highest = max(highest, sequential.mixed(wealth))
        passed += highest >= 20
    assert passed / 400 <= 0.05


def test_counting_is_a_likelihood_ratio():
    once = sequential.counting_process(3, 100, 0.01, {})
    expected = 3 * math.log(2) + 97 * math.log(0.98 / 0.99)
    assert math.log(once["2"]) == pytest.approx(expected)
    twice = sequential.counting_process(1, 40, 0.01, sequential.counting_process(2, 60, 0.01, {}))
    assert twice["2"] == pytest.approx(once["2"])


def test_the_confidence_sequence_covers_at_all_times():
    random = np.random.default_rng(4)
    missed = 0
    for _ in range(200):
        values = random.normal(0.1, 0.05, 100).tolist()
        missed += any(
            not low <= 0.1 <= high
            for low, high in (sequential.confidence_sequence(values[:t], 0.05) for t in range(14, 101, 3))
        )
    assert missed / 200 <= 0.05 + 0.03
    narrow = sequential.confidence_sequence(random.normal(0, 1, 1000).tolist(), 0.05)
    fixed = 2 * stats.norm.ppf(0.975) / math.sqrt(1000)
    assert fixed < narrow[1] - narrow[0] < 3 * fixed


def test_the_confidence_sequence_is_the_one_of_another_library():
    ville = pytest.importorskip("ville")
    values = np.random.default_rng(5).normal(0.1, 0.3, 60)
    theirs = ville.AsymptoticCS(alpha=0.05, min_samples=2)
    theirs.rho_ = 1 / 0.5**2  # theirs is the mixture's precision, ours its deviation
    theirs.fit(values)
    low, high = sequential.confidence_sequence(values.tolist(), 0.05, rho=0.5)
    assert (low, high) == pytest.approx((np.ravel(theirs.lower_)[-1], np.ravel(theirs.upper_)[-1]))


def test_e_bh_names_what_another_library_names():
    ville = pytest.importorskip("ville")
    from headrace.monitoring.drift import attributed

    random = np.random.default_rng(6)
    for _ in range(50):
        values = np.exp(random.normal(1, 3, 12))
        named = {int(name) for name in attributed({str(i): float(v) for i, v in enumerate(values)})}
        rejected = np.asarray(ville.evalues.ebh(values, 0.1))
        assert named == set(np.flatnonzero(rejected).tolist() if rejected.dtype == bool else rejected.tolist())
