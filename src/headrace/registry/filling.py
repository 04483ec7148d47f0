"""Filling a draft: all that a bundle holds, made of a fitted object and the evidence that came with it.

What is filled can be entered by another process, so that an object from an unknown hand is loaded, asked and compiled
where it can do no harm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from headrace.compiler.canonical import canonical_digest
from headrace.compiler.golden import Golden, answers_frame, rows_frame
from headrace.compiler.making import make
from headrace.kernel.clock import Clock
from headrace.kernel.ports import Columns
from headrace.kernel.records import Evaluation, GateResult, Lineage, Record, Task
from headrace.kernel.release import VERSION
from headrace.kernel.schema import Scalar, Schema
from headrace.registry.bundles import Draft
from headrace.registry.environment import Environment, requirements
from headrace.runtimes import bundle as layout
from headrace.runtimes.onnx_file import OnnxModel


class Registration(Record, frozen=True, kw_only=True):
    """All that makes a version: the fitted object, its contract, and the evidence that came with it.

    `example` holds `example_rows` rows of the features, as columns.
    """

    model: str
    fitted: Any
    schema: Schema
    task: Task
    classes: tuple[Scalar, ...]
    example: Columns
    example_rows: int
    params: dict[str, Any]
    lineage: Lineage
    environment: Environment
    evaluation: Evaluation | None = None
    gate: GateResult | None = None
    monitor: bytes | None = None
    code: Path | None = None
    who: str


class Filled(Record, frozen=True, kw_only=True):
    """What stands in a draft that was filled."""

    manifest: layout.Manifest
    schema: Schema
    evaluation: Evaluation | None = None
    gate: GateResult | None = None


def fill(draft: Draft, it: Registration, clock: Clock) -> Filled:
    """Make the files of a version and put them into the draft.

    Raises:
        InvalidInput: the fitted object cannot be stored, or answers no row of the example.
    """
    made = make(it.fitted, it.schema, it.task, it.classes, it.example, it.example_rows)
    for name, content in made.files.items():
        draft.put(name, content)
    _put_golden(draft, made.golden, it)
    draft.put(layout.SCHEMA, msgspec.json.encode(it.schema))
    draft.put("environment/environment.json", msgspec.json.encode(it.environment))
    draft.put("environment/requirements.txt", requirements(it.environment).encode())
    draft.put("evidence/evaluation.json", msgspec.json.encode(it.evaluation))
    if not isinstance(it.fitted, OnnxModel):
        draft.put(layout.CANONICAL, canonical_digest(it.fitted).encode())
    draft.put("evidence/gate.json", msgspec.json.encode(it.gate))
    if it.monitor is not None:
        draft.put(layout.MONITOR, it.monitor)
    if it.code is not None:
        draft.put_tree("code", it.code)
    manifest = layout.Manifest(
        name=it.model,
        version=0,
        runtime=made.runtime,
        uncompiled=made.uncompiled,
        task=it.task,
        classes=it.classes,
        lineage=it.lineage,
        params=it.params,
        created=clock(),
        headrace=VERSION,
        files={},
    )
    return Filled(manifest=manifest, schema=it.schema, evaluation=it.evaluation, gate=it.gate)


def _put_golden(draft: Draft, golden: Golden, it: Registration) -> None:
    frames = {
        layout.GOLDEN_ROWS: rows_frame(it.schema, golden.columns),
        layout.GOLDEN_OUTPUTS: answers_frame(golden.answers, it.classes),
        layout.GOLDEN_REFUSED: rows_frame(it.schema, golden.refused),
    }
    for name, frame in frames.items():
        (draft.folder / name).parent.mkdir(exist_ok=True)
        frame.write_ipc(draft.folder / name)
