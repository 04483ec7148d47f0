"""Sequential tests: e-values that may be looked at after every window without spending their guarantee.

The e-detectors are Shiryaev-Roberts sums (Shin, Ramdas and Rinaldo, 2022): started anew at each window, summed, and
an alarm at a threshold of A has a mean run length to a false alarm of at least A windows, given the null.
"""

from __future__ import annotations

import math

import numpy as np

KAPPAS = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
BETS = (0.25, 0.5, 1.0, 2.0, 4.0)
CEILING = 1e12


def p_to_e(p: float) -> float:
    """A p-value as an e-value: the mean over κ of κ p^(κ-1) (Vovk and Wang, 2021)."""
    return float(np.mean(KAPPAS * np.exp((KAPPAS - 1) * math.log(max(p, 1e-300)))))


def detector(e: float, before: float) -> float:
    """One Shiryaev-Roberts step: M ← e (1 + M), bounded so that it stays a number."""
    return min(e * (1 + before), CEILING)


def betting_detector(loss: float, limit: float, before: dict[str, float]) -> dict[str, float]:
    """One step of the detectors of E[loss] > limit, one for each bet λ < 1/limit; losses lie in [0, 1]."""
    bets = [bet for bet in BETS if bet * limit < 1]
    return {f"{bet:g}": detector(1 + bet * (loss - limit), before.get(f"{bet:g}", 0.0)) for bet in bets}


def betting_process(value: float, limit: float, before: dict[str, float]) -> dict[str, float]:
    """One step of the e-processes of E[value] > limit for values in [0, 1]: the wealth of each bet λ < 1/limit."""
    bets = [bet for bet in BETS if bet * limit < 1]
    return {f"{bet:g}": min((1 + bet * (value - limit)) * before.get(f"{bet:g}", 1.0), CEILING) for bet in bets}


def mixed(parts: dict[str, float]) -> float:
    """The mean over bets: an e-value again."""
    return sum(parts.values()) / len(parts) if parts else 0.0


def counting_process(failures: int, trials: int, limit: float, before: dict[str, float]) -> dict[str, float]:
    """The wealth against "a trial fails with probability at most `limit`" after `trials` more of them.

    Each bet names an alternative q > limit; its wealth is the likelihood ratio of q to `limit`, whose expectation is
    at most 1 for every smaller probability too.
    """
    wealth = {}
    for factor in (2.0, 5.0, 20.0):
        q = min(limit * factor, (1 + limit) / 2)
        step = failures * math.log(q / limit) + (trials - failures) * math.log((1 - q) / (1 - limit))
        name = f"{factor:g}"
        wealth[name] = float(np.clip(math.exp(min(step, 50.0)) * before.get(name, 1.0), 1e-12, CEILING))
    return wealth


def confidence_sequence(values: list[float], alpha: float, rho: float = 0.5) -> tuple[float, float]:
    """An interval for the mean that holds at all times at once, asymptotically (Waudby-Smith et al., 2024).

    Args:
        values: t of them, in order. Returns the lower and the upper end; infinite before the second value.
    """
    t = len(values)
    if t < 2:
        return -math.inf, math.inf
    spread = float(np.std(values, ddof=1))
    scale = t * rho * rho + 1
    half = spread * math.sqrt(2 * scale / (t * t * rho * rho) * math.log(math.sqrt(scale) / alpha))
    mean = float(np.mean(values))
    return mean - half, mean + half
