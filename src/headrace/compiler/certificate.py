"""The parity certificate: the golden rows through each form, at batch sizes 1, 37 and all.

Levels: L1 the same bits; L2 |Δ| ≤ 1e-9 · max(1, |reference|) and no decision flipped where the reference's
margin exceeds 1e-9; L3 the same decisions only; none otherwise. A form may serve at L2 or better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from headrace.kernel.clock import Clock
from headrace.kernel.ports import Answers, Columns
from headrace.kernel.records import Certificate, FormResult, Level
from headrace.kernel.release import VERSION

Form = Callable[[Columns, int], Answers]
BATCH_SIZES = (1, 37, 0)
TOLERANCE = 1e-9


def certify(reference: Answers, columns: Columns, rows: int, forms: Mapping[str, Form], clock: Clock) -> Certificate:
    """Hold every form against the Python object's own answers to the golden rows.

    Args:
        reference: the Python object's answers to all rows at once.
        columns: the golden rows.
        forms: how each form answers columns; what a form raises becomes a failure of the certificate.
    """
    results: list[FormResult] = []
    failures: list[str] = []
    for name, form in forms.items():
        for size in BATCH_SIZES:
            try:
                answers = _in_batches(form, columns, rows, size or rows)
            except Exception as error:
                failures.append(f"{name}, {size or rows} rows at a time: {type(error).__name__}: {error}")
                continue
            results.append(_compare(name, size or rows, reference, answers))
    short = [
        f"{r.form}, {r.batch_size} rows at a time: level {r.level}" for r in results if r.level not in ("L1", "L2")
    ]
    return Certificate(
        passed=not failures and not short and bool(results),
        rows=rows,
        forms=tuple(results),
        made=clock(),
        headrace=VERSION,
        failures=tuple(failures + short),
    )


def _in_batches(form: Form, columns: Columns, rows: int, size: int) -> Answers:
    predictions, probabilities = [], []
    for start in range(0, rows, size):
        count = min(size, rows - start)
        answers = form({name: values[start : start + count] for name, values in columns.items()}, count)
        predictions += answers.predictions
        probabilities += answers.probabilities or []
    return Answers(predictions, probabilities or None)


def _compare(form: str, size: int, reference: Answers, answers: Answers) -> FormResult:
    expected, found = _numbers(reference), _numbers(answers)
    if expected.shape != found.shape:
        return _result(form, size, reference, np.inf, len(reference.predictions), "none")
    unequal = [a != b for a, b in zip(reference.predictions, answers.predictions, strict=True)]
    gap = np.abs(expected - found)
    gap[np.isnan(expected) & np.isnan(found)] = 0.0
    gap = np.nan_to_num(gap, nan=np.inf)
    worst = float(gap.max(initial=0.0))
    flipped = 0 if reference.probabilities is None and expected.size else int(np.sum(unequal))
    if worst == 0.0 and expected.tobytes() == found.tobytes() and not any(unequal):
        return _result(form, size, reference, 0.0, 0, "L1")
    within = bool(np.all(gap <= TOLERANCE * np.maximum(1.0, np.abs(np.nan_to_num(expected)))))
    flipped_clearly = int(np.sum(np.asarray(unequal) & (_margins(reference) > TOLERANCE))) if flipped else 0
    level: Level = "none" if flipped_clearly else "L2" if within else "L3"
    return _result(form, size, reference, worst, flipped, level)


def _result(form: str, size: int, reference: Answers, worst: float, flipped: int, level: Level) -> FormResult:
    return FormResult(
        form=form, batch_size=size, rows=len(reference.predictions), max_difference=worst, flipped=flipped, level=level
    )


def _numbers(answers: Answers) -> np.ndarray:
    if answers.probabilities is not None:
        return np.asarray(answers.probabilities, dtype=np.float64)
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in answers.predictions)
    return np.asarray(answers.predictions, dtype=np.float64) if numeric else np.empty(0)


def _margins(answers: Answers) -> np.ndarray:
    if answers.probabilities is None:
        return np.full(len(answers.predictions), np.inf)
    ordered = np.sort(np.asarray(answers.probabilities), axis=1)
    return ordered[:, -1] - ordered[:, -2]
