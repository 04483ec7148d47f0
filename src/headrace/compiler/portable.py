"""A compiled version as one ONNX file: encoding, graph and link together, for any runtime that takes doubles.

Inputs are the columns, ``[n, 1]`` each: doubles for numbers, whole numbers and booleans (0 and 1; NaN is null), texts
for the rest. ONNX has no null text: in a column that may be null the empty text stands for it, unless the model knows
the empty text as a value. Outputs: ``label`` and ``probabilities``, or ``value``; and ``refused``, true at rows at
which the model raises, whose other outputs mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.compose import add_prefix

from headrace.compiler.graph import INPUT, IR_VERSION, ML_OPSET, OPSET
from headrace.kernel.errors import InvalidInput
from headrace.kernel.release import VERSION
from headrace.kernel.schema import Column, Scalar, Schema
from headrace.runtimes.plan import Link, Lookup, Number, Plan

TEXTS = ("string", "datetime")
EXACT = 1 << 53
_INNER = "model/"
_LABELS: dict[type, Any] = {bool: np.bool_, int: np.int64, float: np.float64, str: np.object_}


class Output(NamedTuple):
    """An output: its name inside, element type and shape."""

    inside: str
    element: int
    shape: tuple[int | None, ...]


class _Draft:
    """Nodes in the order in which they run, and constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def node(self, operator: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any) -> str:
        name = output or self._name()
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def constant(self, values: Any, dtype: Any = np.float64) -> str:
        name = self._name()
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def cast(self, name: str, element: int) -> str:
        return self.node("Cast", name, to=element)

    def _name(self) -> str:
        self._count += 1
        return f"headrace/{self._count}"


def portable(plan: Plan, graph: bytes, schema: Schema, classes: tuple[Scalar, ...], about: Mapping[str, str]) -> bytes:
    """The ONNX file.

    Args:
        graph: the plan's graph.
        about: what the file's metadata say.

    Raises:
        InvalidInput: a part of the version cannot be said in ONNX; names it.
    """
    inner = add_prefix(onnx.load_model_from_string(graph), _INNER)
    columns = asked_columns(plan, schema)
    draft = _Draft()
    refusals = _encode(draft, plan, columns)
    draft.nodes += inner.graph.node
    if plan.checked:
        refusals.append(draft.cast(f"{_INNER}refused", TensorProto.BOOL))
    width = inner.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    outputs = _link(draft, plan.link, classes, width) | {"refused": _any(draft, refusals, next(iter(columns)))}
    for name, output in outputs.items():
        draft.node("Identity", output.inside, output=name)
    made = helper.make_graph(
        draft.nodes,
        "headrace",
        [helper.make_tensor_value_info(name, _element(column), [None, 1]) for name, column in columns.items()],
        [helper.make_tensor_value_info(name, one.element, one.shape) for name, one in outputs.items()],
        [*inner.graph.initializer, *draft.constants],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(
        made, opset_imports=opsets, producer_name="headrace", producer_version=VERSION, ir_version=IR_VERSION
    )
    helper.set_model_props(model, dict(about))
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def asked_columns(plan: Plan, schema: Schema) -> dict[str, Column]:
    """The columns that the file asks for: those that the plan encodes.

    Raises:
        InvalidInput: a column has the name of an output.
    """
    used = {encoder.column for encoder in plan.encoders}
    columns = {column.name: column for column in schema.features if column.name in used}
    taken = [name for name in ("label", "probabilities", "value", "refused") if name in columns]
    if taken or not columns:
        raise unsaid(f"the column {taken[0]!r} has the name of an output" if taken else "it reads no column")
    return columns


def null_is_empty(plan: Plan, column: Column) -> bool:
    """Whether the empty text stands for null in a column."""
    known = any(isinstance(e, Lookup) and e.column == column.name and "" in e.values for e in plan.encoders)
    return column.type in TEXTS and column.nullable and not known


def _encode(draft: _Draft, plan: Plan, columns: Mapping[str, Column]) -> list[str]:
    """The matrix that the graph takes; gives the names of what says which rows are refused."""
    parts: list[str] = []
    refusals: list[str] = []
    for encoder in plan.encoders:
        column = columns[encoder.column]
        if isinstance(encoder, Number) and column.type not in TEXTS:
            parts.append(_number(draft, encoder, refusals))
        elif isinstance(encoder, Lookup):
            parts.append(_lookup(draft, encoder, column, null_is_empty(plan, column), refusals))
        else:
            raise unsaid(f"the words of the column {encoder.column!r} are counted by Python's regular expressions")
    draft.node("Concat", *parts, output=f"{_INNER}{INPUT}", axis=1)
    return refusals


def _number(draft: _Draft, encoder: Number, refusals: list[str]) -> str:
    name = encoder.column
    if encoder.round:
        narrow = TensorProto.FLOAT if encoder.round == "float32" else TensorProto.FLOAT16
        name = draft.cast(draft.cast(name, narrow), TensorProto.DOUBLE)
    if encoder.least is not None:
        refusals.append(draft.node("Less", name, draft.constant([[encoder.least]])))
    if encoder.most is not None:
        refusals.append(draft.node("Greater", name, draft.constant([[encoder.most]])))
    return name


def _lookup(draft: _Draft, encoder: Lookup, column: Column, empty: bool, refusals: list[str]) -> str:
    count = len(encoder.values)
    if column.type in TEXTS:
        places = {str(value): place for place, value in enumerate(encoder.values)}
        places.setdefault("", count if empty else count + 1)
        keys, numbers = list(places), list(places.values())
        named = {"keys_strings": keys, "values_int64s": numbers, "default_int64": count + 1}
        place = draft.node("LabelEncoder", encoder.column, domain="ai.onnx.ml", **named)
    else:
        place = _place_of_number(draft, encoder)
    flat = draft.node("Reshape", place, draft.constant([-1], np.int64))
    if encoder.refused:
        marks = [[at in encoder.refused] for at in range(count + 2)]
        refusals.append(draft.node("Gather", draft.constant(marks, np.bool_), flat, axis=0))
    table = [[np.nan if cell is None else cell for cell in row] for row in encoder.table]
    return draft.node("Gather", draft.constant(np.reshape(table, (count + 2, encoder.width))), flat, axis=0)


def _place_of_number(draft: _Draft, encoder: Lookup) -> str:
    """The first of: the value that is equal, null, anything else."""
    values: list[Any] = list(encoder.values)
    if any(isinstance(value, str) or abs(value) > EXACT for value in values):
        raise unsaid(f"the column {encoder.column!r} holds values that no double holds exactly")
    found = [draft.node("IsNaN", encoder.column)]
    if values:
        found.insert(0, draft.node("Equal", encoder.column, draft.constant([[float(value) for value in values]])))
    anything = draft.node("Or", found[-1], draft.node("Not", found[-1]))
    marks = draft.cast(draft.node("Concat", *found, anything, axis=1), TensorProto.FLOAT)
    return draft.node("ArgMax", marks, axis=1, keepdims=0, select_last_index=0)


def _link(draft: _Draft, link: Link, classes: tuple[Scalar, ...], width: int) -> dict[str, Output]:
    scores = f"{_INNER}scores"
    if link.decision == "each":
        raise unsaid("it gives several classes for each row")
    if link.decision == "value":
        name = _TURNS[link.kind](draft, scores) if link.kind not in ("logistic", "logistic32") else None
        name = name or _logistic(draft, scores, link.kind == "logistic32")
        element = TensorProto.INT64 if link.whole else TensorProto.DOUBLE
        return {"value": Output(draft.cast(name, element), element, (None, width))}
    last = scores
    if link.decision == "index":
        scores, last = _columns(draft, scores, 0, width - 1), _columns(draft, scores, width - 1, width)
    shares = None if link.kind == "none" else _TURNS[link.kind](draft, scores)
    place = _decide(draft, link, scores, shares, last)
    outputs = {"label": _labels(draft, classes, place)}
    if shares is not None:
        outputs["probabilities"] = Output(shares, TensorProto.DOUBLE, (None, len(classes)))
    return outputs


def _decide(draft: _Draft, link: Link, scores: str, shares: str | None, last: str) -> str:
    """The place of the class of each row, int64 of shape [n]."""
    zero = draft.constant(0.0)
    match link.decision:
        case "positive":
            chosen = draft.node("Greater", _columns(draft, scores, 0, 1), zero)
        case "nonnegative":
            chosen = draft.node("GreaterOrEqual", _columns(draft, scores, 0, 1), zero)
        case "majority" if shares is not None:
            chosen = draft.node("Greater", _columns(draft, shares, 1, 2), draft.constant(0.5))
        case "index":
            chosen = last
        case _:
            return draft.node("ArgMax", scores, axis=1, keepdims=0, select_last_index=0)
    return draft.node("Reshape", draft.cast(chosen, TensorProto.INT64), draft.constant([-1], np.int64))


def _labels(draft: _Draft, classes: tuple[Scalar, ...], place: str) -> Output:
    kinds = {type(value) for value in classes}
    if len(kinds) != 1 or not kinds <= set(_LABELS):
        raise unsaid("its classes are of several types")
    table = numpy_helper.from_array(np.array(classes, dtype=_LABELS[kinds.pop()]), "headrace/classes")
    draft.constants.append(table)
    return Output(draft.node("Gather", table.name, place, axis=0), table.data_type, (None,))


def _any(draft: _Draft, refusals: list[str], column: str) -> Output:
    if not refusals:
        rows = draft.node("Shape", column)
        name = draft.node("ConstantOfShape", rows, value=numpy_helper.from_array(np.array([False])))
    else:
        name = refusals[0]
        for other in refusals[1:]:
            name = draft.node("Or", name, other)
    return Output(name, TensorProto.BOOL, (None, 1))


def _columns(draft: _Draft, name: str, first: int, end: int) -> str:
    return draft.node("Slice", name, *(draft.constant([v], np.int64) for v in (first, end, 1)))


def _logistic(draft: _Draft, scores: str, single: bool = False) -> str:
    one = draft.constant(1.0)
    if single:
        scores = draft.cast(draft.cast(scores, TensorProto.FLOAT), TensorProto.DOUBLE)
    return draft.node("Div", one, draft.node("Add", draft.node("Exp", draft.node("Neg", scores)), one))


def _second_class(draft: _Draft, scores: str, single: bool = False) -> str:
    share = _logistic(draft, _columns(draft, scores, 0, 1), single)
    return draft.node("Concat", draft.node("Sub", draft.constant(1.0), share), share, axis=1)


def _softmax(draft: _Draft, scores: str, single: bool = False) -> str:
    if single:
        scores = draft.cast(draft.cast(scores, TensorProto.FLOAT), TensorProto.DOUBLE)
    axis = draft.constant([1], np.int64)
    powers = draft.node("Exp", draft.node("Sub", scores, draft.node("ReduceMax", scores, axis, keepdims=1)))
    return draft.node("Div", powers, draft.node("ReduceSum", powers, axis, keepdims=1))


def _exponential(draft: _Draft, scores: str) -> str:
    return draft.node("Exp", scores)


def _as_they_are(_draft: _Draft, scores: str) -> str:
    return scores


_TURNS: dict[str, Callable[[_Draft, str], str]] = {
    "identity": _as_they_are,
    "given": _as_they_are,
    "exp": _exponential,
    "exp32": _exponential,
    "logistic": _second_class,
    "logistics": _logistic,
    "logistic32": lambda draft, scores: _second_class(draft, scores, single=True),
    "softmax": _softmax,
    "softmax32": lambda draft, scores: _softmax(draft, scores, single=True),
}


def _element(column: Column) -> int:
    return TensorProto.STRING if column.type in TEXTS else TensorProto.DOUBLE


def unsaid(why: str) -> InvalidInput:
    """The error of a version that cannot be given so."""
    return InvalidInput(
        f"The version cannot be given as one ONNX file: {why}.",
        todo="Export it as a bundle or for MLflow, or serve it with Headrace.",
    )
