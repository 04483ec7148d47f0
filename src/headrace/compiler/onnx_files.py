"""Taking in an ONNX file: what may not be in it, how it is fed, what its outputs mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec
import numpy as np
import onnx
from onnx import TensorProto

from headrace.compiler.onnx_probe import probe
from headrace.kernel.errors import HeadraceError, InvalidInput, NotTrusted
from headrace.kernel.ports import Columns
from headrace.kernel.records import Task
from headrace.kernel.schema import Scalar, Schema
from headrace.runtimes.graph import session_of
from headrace.runtimes.onnx_file import ELEMENTS, FileInput, FileLayout, OnnxModel, OnnxScorer

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
MOST_BYTES = 1 << 30
MOST_CELLS = 1 << 28
MOST_NODES = 200_000
MOST_BATCH = 65_536
RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")


def check_onnx(content: bytes) -> onnx.ModelProto:
    """The model in an ONNX file, if nothing in it reaches outside the file or asks for absurd memory.

    Raises:
        InvalidInput: it is no ONNX file, or onnxruntime cannot run it.
        NotTrusted: it names data outside itself, operators that are not ONNX's, or sizes past all reason.
    """
    if len(content) > MOST_BYTES:
        _refuse(f"The ONNX file holds {len(content)} bytes", f"at most {MOST_BYTES}")
    try:
        model = onnx.load_from_string(content)
    except Exception as error:
        raise InvalidInput(
            f"The file is not ONNX: {error}.", expected="a model in the ONNX format", todo="Export the model again."
        ) from error
    if model.functions:
        _refuse("The ONNX file defines functions of its own", "operators of ONNX alone")
    nodes = 0
    for graph in _graphs(model.graph):
        nodes += len(graph.node)
        if nodes > MOST_NODES:
            _refuse(f"The ONNX file has more than {MOST_NODES} operators", "fewer")
        for node in graph.node:
            if node.domain not in DOMAINS:
                _refuse(
                    f"The ONNX file uses the operator {node.op_type!r} of {node.domain!r}", "operators of ONNX alone"
                )
            if node.op_type in RANDOM:
                _refuse(f"The ONNX file uses the operator {node.op_type!r}", "operators that answer alike each time")
        for tensor in _tensors(graph):
            _check_tensor(tensor)
    return model


def _check_tensor(tensor: TensorProto) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        _refuse(f"The ONNX file keeps {tensor.name!r} outside itself", "all data inside the file")
    cells = int(np.prod([int(size) for size in tensor.dims], dtype=object)) if tensor.dims else 1
    if any(size < 0 for size in tensor.dims) or cells > MOST_CELLS:
        _refuse(f"The ONNX file declares {tensor.name!r} with {cells} cells", f"at most {MOST_CELLS}")


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else list(attribute.graphs)
            for one in inner:
                yield from _graphs(one)


def _tensors(graph: Any) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors
            sparse_ones = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            for sparse in [*sparse_ones, *attribute.sparse_tensors]:
                yield from (sparse.values, sparse.indices)


def _refuse(found: str, expected: str) -> NoReturn:
    raise NotTrusted(
        f"{found}; it was not opened.", expected=expected, todo="Export the model so, and register it again."
    )


def read_onnx(
    content: bytes, schema: Schema, example: Columns, rows: int, classes: tuple[Scalar, ...] | None = None
) -> tuple[OnnxModel, Task, tuple[Scalar, ...]]:
    """An ONNX file as a fitted object, with its task and classes.

    Args:
        schema: the contract of its requests.
        example: `rows` rows of the features, which show what it answers.
        classes: the classes in the order of its probabilities; else they are read off the file or its answers.

    Raises:
        NotTrusted: see `check_onnx`.
        InvalidInput: its inputs do not fit the schema's columns, or its outputs are not understood.
    """
    model = check_onnx(content)
    probe(content)
    session = session_of(content)
    layout = _layout(session, schema)
    try:
        layout, task, found = _meaning(session, model, layout, schema, example, rows, classes)
    except HeadraceError:
        raise
    except Exception as error:
        _misfit(
            f"It cannot answer the example: {type(error).__name__}: {str(error).splitlines()[0]}", "answers row by row"
        )
    layout = _steady(layout, content, schema, task, found, example, rows)
    return OnnxModel(content, layout, schema, task, found), task, found


def _layout(session: Any, schema: Schema) -> FileLayout:
    names = tuple(column.name for column in schema.features)
    inputs = session.get_inputs()
    unknown = [one for one in inputs if one.type not in ELEMENTS]
    if unknown:
        _misfit(f"Its input {unknown[0].name!r} is a {unknown[0].type}", "tensors of numbers, booleans or texts")
    if len(inputs) == 1 and len(inputs[0].shape) == 2:
        wide = inputs[0].shape[1]
        if isinstance(wide, int) and wide != len(names):
            _misfit(f"Its input {inputs[0].name!r} has {wide} columns", f"{len(names)}, as the example has")
        fed = (FileInput(inputs[0].name, names, inputs[0].type),)
    else:
        absent = [one.name for one in inputs if one.name not in names]
        if absent:
            _misfit(f"Its input {absent[0]!r} is no column of the example", f"one of {', '.join(names)}")
        fed = tuple(FileInput(one.name, (one.name,), one.type, flat=len(one.shape) == 1) for one in inputs)
    fixed = [one.shape[0] for one in inputs if one.shape and isinstance(one.shape[0], int)]
    if fixed and not 0 < fixed[0] <= MOST_BATCH:
        _misfit(f"Its inputs hold {fixed[0]} rows at a time", f"1 to {MOST_BATCH}, or any number")
    return FileLayout(inputs=fed, block=fixed[0] if fixed else 0, least=fixed[0] if fixed else 2)


def _misfit(found: str, expected: str) -> NoReturn:
    raise InvalidInput(
        f"The ONNX file does not fit the example. {found}.",
        expected=expected,
        todo="Give an example with the columns of the file's inputs, in their order.",
    )


def _meaning(
    session: Any,
    model: onnx.ModelProto,
    layout: FileLayout,
    schema: Schema,
    example: Columns,
    rows: int,
    classes: tuple[Scalar, ...] | None,
) -> tuple[FileLayout, Task, tuple[Scalar, ...]]:
    outputs = {one.name: one for one in session.get_outputs()}
    label = next((n for n, o in outputs.items() if o.type in ("tensor(int64)", "tensor(string)", "tensor(bool)")), "")
    maps = next((n for n, o in outputs.items() if o.type.startswith("seq(map(")), "")
    floats = [n for n, o in outputs.items() if o.type in ("tensor(float)", "tensor(double)", "tensor(float16)")]
    if label and (maps or floats):
        layout = msgspec.structs.replace(layout, label=label, shares=maps or floats[0])
    elif floats and classes:
        layout = msgspec.structs.replace(layout, shares=floats[0])
    elif floats or label:
        return msgspec.structs.replace(layout, value=(floats or [label])[0]), "regression", ()
    else:
        _misfit(f"Its outputs {', '.join(outputs)} are not understood", "numbers, or labels with probabilities")
    asked = OnnxScorer(layout, model.SerializeToString(), schema, "multiclass", classes or ())
    answers = asked.arrays({name: values[: min(rows, 500)] for name, values in example.items()}, min(rows, 500))
    width = 0 if answers.probabilities is None else answers.probabilities.shape[1]
    found = tuple(classes) if classes else _classes(session, layout, model, answers.predictions.tolist(), width)
    if len(found) != width:
        layout = msgspec.structs.replace(layout, shares="")
    return layout, "binary" if len(found) == 2 else "multiclass", found


def _classes(
    session: Any, layout: FileLayout, model: onnx.ModelProto, said: list[Any], width: int
) -> tuple[Scalar, ...]:
    """The classes in the order of the probabilities: maps are read in the order of their sorted keys."""
    seen = sorted(set(said))
    maps = any(one.name == layout.shares and one.type.startswith("seq(") for one in session.get_outputs())
    for node in reversed(model.graph.node):
        for attribute in node.attribute:
            if attribute.name.startswith("classlabels_"):
                values = [v.decode() for v in attribute.strings] or list(attribute.ints)
                if len(values) == width or not width:
                    return tuple(sorted(values)) if maps else tuple(values)
    whole = all(isinstance(value, int) and 0 <= value < max(width, 1) for value in seen)
    return tuple(range(width)) if whole and len(seen) < width else tuple(seen)


def _steady(
    layout: FileLayout,
    content: bytes,
    schema: Schema,
    task: Task,
    classes: tuple[Scalar, ...],
    example: Columns,
    rows: int,
) -> FileLayout:
    """The layout with which a row's answer has the same bits whatever rows stand beside it."""
    if layout.block:
        return layout
    count = min(rows, 200)
    columns = {name: values[:count] for name, values in example.items()}
    scorer = OnnxScorer(layout, content, schema, task, classes)
    whole = scorer.answer(columns, count)
    for size in (1, 37):
        for start in range(0, count, size):
            part = {name: values[start : start + size] for name, values in columns.items()}
            some = scorer.answer(part, min(size, count - start))
            if some.predictions != whole.predictions[start : start + size] or (
                whole.probabilities and some.probabilities != whole.probabilities[start : start + size]
            ):
                return msgspec.structs.replace(layout, block=layout.least)
    return layout
