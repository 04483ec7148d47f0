"""The parity certificate: the golden rows through each form, at batch sizes 1, 37 and all.

Levels: L1 the same bits; L2 |Δ| ≤ 1e-9 · max(1, |reference|) and no decision flipped where the reference's
margin exceeds 1e-9; L3 the same decisions only; none otherwise. A form may serve at L2 or better. Between our own
forms of a compiled version nothing but the same bits will do, at any batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from headrace.compiler.golden import Golden
from headrace.kernel.clock import Clock
from headrace.kernel.errors import Unavailable
from headrace.kernel.ports import Answers, Columns
from headrace.kernel.records import Certificate, FormResult, Level, Runtime
from headrace.kernel.release import VERSION

Form = Callable[[Columns, int], Answers]
BATCH_SIZES = (1, 37, 0)
TOLERANCE = 1e-9
OWN_FORM = "in_process"
FEW = 250
LARGEST = float(np.finfo(np.float64).max)
"""Stands for an infinite difference, which JSON has no number for."""


def certify(golden: Golden, forms: Mapping[str, Form], runtime: Runtime, clock: Clock) -> Certificate:
    """Hold every form against the Python object's own answers to the golden rows.

    Args:
        golden: the rows, with the object's answers to all of them at once, and the rows at which it raises.
        forms: how each form answers columns, our own (`in_process`) first; what one raises becomes a failure.
        runtime: of a version that is not compiled, `FEW` rows at most go one by one, and its forms are compared at
            the same batch size only, because the object itself may answer a batch otherwise.
    """
    results: list[FormResult] = []
    failures: list[str] = []
    own: dict[int, Answers] = {}
    for size in sorted(BATCH_SIZES):
        rows = min(golden.rows, FEW) if runtime == "reference" and size == 1 else golden.rows
        for name, form in forms.items():
            try:
                answers = _in_batches(form, golden.columns, rows, size or rows)
            except Exception as error:
                failures.append(f"{name}, {size or rows} rows at a time: {type(error).__name__}: {error}")
                continue
            if name == OWN_FORM:
                own[size] = answers
            against = own.get(0 if runtime == "graph" else size)
            results.append(_result(name, size or rows, rows_of(golden.answers, 0, rows), answers, against))
    failures += _shortcomings(results, runtime)
    failures += _answered(golden, forms)
    return Certificate(
        passed=not failures and bool(results),
        rows=golden.rows,
        refused=golden.refused_rows,
        forms=tuple(sorted(results, key=lambda r: (list(forms).index(r.form), r.batch_size))),
        made=clock(),
        headrace=VERSION,
        failures=tuple(failures),
    )


def agreement(reference: Answers, answers: Answers) -> tuple[Level, float, int]:
    """The level that answers reach, the largest difference, and how many decisions are flipped."""
    expected, found = _numbers(reference), _numbers(answers)
    if expected.shape != found.shape:
        return "none", np.inf, len(reference.predictions)
    unequal = np.array([a != b for a, b in zip(reference.predictions, answers.predictions, strict=True)])
    gap = np.abs(expected - found)
    gap[(expected == found) | (np.isnan(expected) & np.isnan(found))] = 0.0
    gap = np.nan_to_num(gap, nan=np.inf)
    worst = float(gap.max(initial=0.0))
    decides = reference.probabilities is not None or not expected.size
    flipped = int(unequal.sum()) if decides else 0
    if worst == 0.0 and _same_bits(expected, found) and not unequal.any():
        return "L1", 0.0, 0
    within = bool(np.all(gap <= TOLERANCE * np.maximum(1.0, np.abs(np.nan_to_num(expected)))))
    clearly = int(np.sum(unequal & (_margins(reference) > TOLERANCE))) if flipped else 0
    return ("none" if clearly else "L2" if within else "L3"), worst, flipped


def _result(form: str, size: int, reference: Answers, answers: Answers, own: Answers | None) -> FormResult:
    level, worst, flipped = agreement(reference, answers)
    rows = len(reference.predictions)
    between = np.inf if own is None else 0.0
    if own is not None:
        same, between, _ = agreement(rows_of(own, 0, rows), answers)
        between = between if same == "L1" or between else np.inf
    return FormResult(
        form=form,
        batch_size=size,
        rows=rows,
        max_difference=min(worst, LARGEST),
        flipped=flipped,
        level=level,
        between_forms=min(float(between), LARGEST),
    )


def _shortcomings(results: list[FormResult], runtime: Runtime) -> list[str]:
    short = [
        f"{r.form}, {r.batch_size} rows at a time: level {r.level}" for r in results if r.level not in ("L1", "L2")
    ]
    if runtime == "graph":
        short += [
            f"{r.form}, {r.batch_size} rows at a time: differs from {OWN_FORM} by {r.between_forms:g}"
            for r in results
            if r.between_forms
        ]
    return short


def _answered(golden: Golden, forms: Mapping[str, Form]) -> list[str]:
    """Where a form answers a row at which the Python object raises."""
    failures: list[str] = []
    for row in range(golden.refused_rows):
        one = {name: values[row : row + 1] for name, values in golden.refused.items()}
        for name, form in forms.items():
            try:
                form(one, 1)
            except Unavailable as error:
                failures.append(f"{name} could not be asked for a row that the model refuses: {error}")
            except Exception:  # noqa: S112 - whatever it raises, it rejects the row
                continue
            else:
                failures.append(f"{name} answers a row that the model refuses: {one}")
    return failures[:3]


def _in_batches(form: Form, columns: Columns, rows: int, size: int) -> Answers:
    predictions, probabilities = [], []
    for start in range(0, rows, size):
        count = min(size, rows - start)
        answers = form({name: values[start : start + count] for name, values in columns.items()}, count)
        predictions += answers.predictions
        probabilities += answers.probabilities or []
    return Answers(predictions, probabilities or None)


def rows_of(answers: Answers, start: int, count: int) -> Answers:
    """Some of the answers."""
    shares = answers.probabilities
    return Answers(answers.predictions[start : start + count], shares and shares[start : start + count])


def _numbers(answers: Answers) -> np.ndarray:
    if answers.probabilities is not None:
        return np.asarray(answers.probabilities, dtype=np.float64)
    values = np.asarray(answers.predictions)
    return values.astype(np.float64) if values.dtype.kind in "iuf" else np.empty(0)


def _same_bits(expected: np.ndarray, found: np.ndarray) -> bool:
    """Whether the numbers are the same to the sign of zero; one NaN is like another."""
    first, second = (np.where(np.isnan(numbers), np.nan, numbers) for numbers in (expected, found))
    return first.tobytes() == second.tobytes()


def _margins(answers: Answers) -> np.ndarray:
    if answers.probabilities is None:
        return np.full(len(answers.predictions), np.inf)
    ordered = np.sort(np.asarray(answers.probabilities), axis=1)
    return ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else np.full(len(ordered), np.inf)
