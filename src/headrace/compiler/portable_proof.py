"""A portable ONNX file is held against the golden rows before anybody gets it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import numpy_helper

from headrace.compiler.certificate import agreement
from headrace.compiler.golden import Golden
from headrace.compiler.portable import TEXTS, asked_columns, null_is_empty, unsaid
from headrace.kernel.ports import Answers, Columns
from headrace.kernel.records import Level
from headrace.kernel.schema import Column, Schema
from headrace.runtimes.graph import session_of
from headrace.runtimes.plan import Plan

SINGLE = ("exp32", "logistic32", "softmax32")
"""Links that XGBoost computes in float32; another exponential differs from the C library's in its last bit."""
VECTORS = 32


def proved_portable(content: bytes, plan: Plan, schema: Schema, golden: Golden) -> tuple[Level, float]:
    """The level at which the file repeats the Python object's answers to the golden rows, and the largest difference.

    Rows that ONNX cannot say, because an empty text would be a null, are left out.

    Raises:
        InvalidInput: the file flips a decision, differs too far, or does not refuse what the object refuses.
    """
    columns = asked_columns(plan, schema)
    session = session_of(content)
    kept = [row for row in range(golden.rows) if _sayable(columns, plan, golden.columns, row)]
    found, refused = _run(session, columns, golden.columns, kept)
    shares = golden.answers.probabilities
    expected = Answers([golden.answers.predictions[i] for i in kept], shares and [shares[i] for i in kept])
    level, worst, flipped = agreement(expected, found)
    single = plan.link.kind in SINGLE and not flipped and worst <= 1e-6
    if refused.any() or not (level in ("L1", "L2") or single):
        raise unsaid(f"the file differs by up to {worst:.3g} and refuses {int(refused.sum())} golden rows")
    bad = [row for row in range(golden.refused_rows) if _sayable(columns, plan, golden.refused, row)]
    if bad and not _run(session, columns, golden.refused, bad)[1].all():
        raise unsaid("the file answers a row at which the model raises")
    return level, worst


def portable_vectors(content: bytes, plan: Plan, schema: Schema, golden: Golden) -> dict[str, bytes]:
    """Inputs and outputs of up to `VECTORS` golden rows, as files of the layout of ONNX' own tests, for any runtime."""
    columns = asked_columns(plan, schema)
    kept = [row for row in range(golden.rows) if _sayable(columns, plan, golden.columns, row)]
    feeds = _feeds(columns, golden.columns, kept[:: max(1, len(kept) // VECTORS)][:VECTORS])
    session = session_of(content)
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, feeds), strict=True))
    return {
        f"test_data_set_0/{way}_{place}.pb": numpy_helper.from_array(np.asarray(array), name).SerializeToString()
        for way, arrays in (("input", feeds), ("output", found))
        for place, (name, array) in enumerate(arrays.items())
    }


def _run(session: Any, columns: Mapping[str, Column], rows: Columns, kept: list[int]) -> tuple[Answers, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, _feeds(columns, rows, kept)), strict=True))
    shares = found.get("probabilities")
    values = found["label"] if "label" in found else found["value"]
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    return Answers(values.tolist(), None if shares is None else shares.tolist()), found["refused"][:, 0]


def _feeds(columns: Mapping[str, Column], rows: Columns, kept: list[int]) -> dict[str, np.ndarray]:
    feeds = {}
    for name, column in columns.items():
        null, dtype = ("", np.object_) if column.type in TEXTS else (np.nan, np.float64)
        values = [null if rows[name][row] is None else rows[name][row] for row in kept]
        feeds[name] = np.array(values, dtype=dtype).reshape(-1, 1)
    return feeds


def _sayable(columns: Mapping[str, Column], plan: Plan, rows: Columns, row: int) -> bool:
    """Whether a row holds no empty text that would be a null, and no null that would be an empty text."""
    texts = [(name, null_is_empty(plan, column)) for name, column in columns.items() if column.type in TEXTS]
    return all(rows[name][row] != "" if empty else rows[name][row] is not None for name, empty in texts)
