"""A version as one ONNX file: the file, how it is asked, and rows to try it with in another runtime."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from headrace.compiler.golden import class_name, stored_golden
from headrace.compiler.portable import TEXTS, asked_columns, null_is_empty, portable
from headrace.compiler.portable_proof import portable_vectors, proved_portable
from headrace.kernel.errors import InvalidInput
from headrace.kernel.records import Version
from headrace.kernel.schema import Column
from headrace.runtimes.bundle import FILE_LAYOUT, GRAPH, MANIFEST, PLAN, Manifest
from headrace.runtimes.plan import Plan

MODEL = "model.onnx"


def write_onnx(version: Version, bundle: Path, draft: Path) -> None:
    """Write ``model.onnx``, ``README.md`` and ``test_data_set_0`` to `draft`. A version that was registered as an ONNX
    file is given back as that file.

    Raises:
        InvalidInput: the version is not compiled, or a part of it cannot be said in ONNX.
    """
    draft.mkdir()
    if (bundle / FILE_LAYOUT).exists():
        shutil.copyfile(bundle / GRAPH, draft / MODEL)
        return
    manifest = msgspec.json.decode((bundle / MANIFEST).read_bytes(), type=Manifest)
    if not (bundle / PLAN).exists():
        raise InvalidInput(
            f"{version.reference} is not compiled, so there is no ONNX form of it: {manifest.uncompiled}.",
            todo="Export it as a bundle or for MLflow; docs/estimators.md says what is compiled.",
        )
    plan = msgspec.json.decode((bundle / PLAN).read_bytes(), type=Plan)
    golden = stored_golden(bundle)
    about = {"headrace.version": version.reference, "headrace.digest": version.digest}
    content = portable(plan, (bundle / GRAPH).read_bytes(), version.schema, manifest.classes, about)
    level, worst = proved_portable(content, plan, version.schema, golden)
    files = {MODEL: content, **portable_vectors(content, plan, version.schema, golden)}
    agreed = f"{golden.rows} golden rows at level {level}, with differences of {worst:.3g} at most"
    files["README.md"] = _how_to_ask(version, plan, manifest, agreed).encode()
    for name, file in files.items():
        (draft / name).parent.mkdir(exist_ok=True)
        (draft / name).write_bytes(file)


def _how_to_ask(version: Version, plan: Plan, manifest: Manifest, agreed: str) -> str:
    rows = [_input(name, column, plan) for name, column in asked_columns(plan, version.schema).items()]
    answer = "`value` of each row, `[n, outputs]`"
    if manifest.task != "regression" and plan.link.decision != "value":
        classes = ", ".join(class_name(value) for value in manifest.classes)
        shares = "; `probabilities`, `[n, classes]`, doubles in the order of the classes" * (plan.link.kind != "none")
        answer = f"`label`, `[n]`, one of {classes}{shares}"
    return f"""# {version.reference} as one ONNX file

It repeats the model's own answers to its {agreed}. Give it at most {plan.block} rows at a time.

| input | element | null |
|---|---|---|
{"".join(rows)}
Outputs: {answer}; and `refused`, `[n, 1]`: true where the model itself raises. What else is said about such a row means
nothing. `test_data_set_0` holds rows and what comes out for them.
"""


def _input(name: str, column: Column, plan: Plan) -> str:
    text = column.type in TEXTS
    if not column.nullable:
        null = "there is none"
    elif not text:
        null = "NaN"
    else:
        null = "the empty text" if null_is_empty(plan, column) else "cannot be said: the empty text is a value"
    return f"| `{name}` | {'string' if text else 'double'}, `[n, 1]` | {null} |\n"
