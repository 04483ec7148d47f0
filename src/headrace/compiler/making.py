"""What a fitted object becomes when it is registered: its files, its golden rows, and the runtime that was proved."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

from headrace.compiler.certificate import agreement
from headrace.compiler.flattening import FROM_BYTES, flattened
from headrace.compiler.golden import Golden, golden_rows
from headrace.compiler.proving import proved, try_compile
from headrace.compiler.storing import stored_safely
from headrace.kernel.ports import Columns
from headrace.kernel.records import Runtime, Task
from headrace.kernel.schema import Scalar, Schema
from headrace.runtimes import bundle as layout
from headrace.runtimes.onnx_file import OnnxModel
from headrace.runtimes.reference import ReferenceScorer


class Made(NamedTuple):
    """The files of a bundle that hold the model, and what they were proved by."""

    files: dict[str, bytes]
    golden: Golden
    runtime: Runtime
    uncompiled: str


def make(fitted: Any, schema: Schema, task: Task, classes: tuple[Scalar, ...], example: Columns, rows: int) -> Made:
    """Compile where that is proved right, and store.

    Raises:
        InvalidInput: the object cannot be stored, or answers no row of the example.
    """
    scorer = ReferenceScorer(fitted, schema, task, classes)
    if isinstance(fitted, OnnxModel):
        files = {layout.FILE_LAYOUT: msgspec.json.encode(fitted.layout), layout.GRAPH: fitted.content}
        return Made(files, golden_rows(scorer, example, rows), "graph", "")
    compiled, reason = try_compile(fitted, schema, task, classes)
    reach = compiled.reach if compiled else np.inf
    golden = golden_rows(scorer, example, rows, compiled.splits if compiled else None, reach)
    if compiled:
        compiled, reason = proved(compiled, scorer, golden, example, rows)

    def same(loaded: Any) -> bool:
        again = ReferenceScorer(loaded, schema, task, classes).answer(golden.columns, golden.rows)
        return agreement(golden.answers, again)[0] == "L1"

    name, content = stored_safely(fitted, same)
    files = {name: content}
    if compiled:
        files |= {layout.PLAN: msgspec.json.encode(compiled.plan), layout.GRAPH: compiled.graph}
        if len(compiled.graph) >= FROM_BYTES:
            files[layout.FLAT_GRAPH] = flattened(compiled.graph)
    return Made(files, golden, "graph" if compiled else "reference", reason)
