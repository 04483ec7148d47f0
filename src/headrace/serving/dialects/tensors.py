"""Tensors of the Open Inference Protocol as rows, and answers as tensors.

Sources: open-inference-protocol ``inference_rest.md`` (datatypes, shapes), Triton's ``extension_binary_data.md``
(little-endian, BYTES as a length of 4 bytes and the bytes).
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np

from headrace.kernel.errors import InvalidInput
from headrace.kernel.schema import Column
from headrace.serving.decoding import Rows
from headrace.serving.dialects.dialect import Answered, column_objects
from headrace.serving.endpoints import Loaded

NUMPY = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
DATATYPES = {"boolean": "BOOL", "integer": "INT64", "number": "FP64", "string": "BYTES", "datetime": "BYTES"}


class Tensor(NamedTuple):
    """A named array; `values` are flat, in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]


def tensor(name: Any, datatype: Any, shape: Any, values: list[Any]) -> Tensor:
    """A tensor whose values fill its shape.

    Raises:
        InvalidInput: a name, datatype or shape that cannot be, or another number of values.
    """
    if not isinstance(name, str) or not isinstance(datatype, str) or datatype not in (*NUMPY, "BYTES"):
        raise InvalidInput(
            f"The input {name!r} has the datatype {datatype!r}.",
            expected=f"a name, and one of {', '.join(NUMPY)}, BYTES",
            todo="Correct it; the model's metadata names both.",
        )
    if not isinstance(shape, list | tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise InvalidInput(
            f"The input {name!r} has the shape {shape!r}.", expected="a list of whole numbers", todo="Correct it."
        )
    if math.prod(shape) != len(values):
        raise InvalidInput(
            f"The input {name!r} has the shape {list(shape)} and {len(values)} values.",
            expected=f"{math.prod(shape)} values",
            todo="Make them agree.",
        )
    return Tensor(name, datatype, tuple(shape), values)


def from_bytes(name: str, datatype: str, content: bytes) -> list[Any]:
    """The values in the binary form of a tensor.

    Raises:
        InvalidInput: the bytes do not hold whole values, or texts that are not UTF-8.
    """
    try:
        if datatype == "BYTES":
            return [text.decode() for text in _texts(content)]
        return np.frombuffer(content, dtype=NUMPY[datatype]).tolist()
    except (ValueError, KeyError, struct.error) as error:
        raise InvalidInput(
            f"The binary content of {name!r} cannot be read as {datatype}: {error}.",
            expected="whole little-endian values; for BYTES a length of 4 bytes, then the bytes, for each",
            todo="Correct it.",
        ) from error


def to_bytes(one: Tensor) -> bytes:
    """The binary form of a tensor."""
    if one.datatype == "BYTES":
        texts = [str(value).encode() for value in one.values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(one.values, dtype=NUMPY[one.datatype]).tobytes()


def rows_of(tensors: list[Tensor], loaded: Loaded) -> Rows:
    """The rows in named columns of shape [n] or [n, 1], or in one matrix of shape [n, features].

    Raises:
        InvalidInput: other shapes, or columns of several lengths.
        SchemaViolation: a value breaks the schema.
    """
    if not tensors:
        raise InvalidInput("There are no inputs.", expected="a tensor for each column", todo="Send them.")
    names = [one.name for one in tensors]
    if len(set(names)) != len(names):
        raise InvalidInput(f"The inputs are {', '.join(names[:20])}.", expected="each name once", todo="Correct them.")
    if len(tensors) == 1 and names[0] not in loaded.features:
        return _matrix(tensors[0], loaded)
    columns: dict[str, list[Any]] = {}
    for one in tensors:
        if len(one.shape) not in (1, 2) or (len(one.shape) == 2 and one.shape[1] != 1):
            raise InvalidInput(
                f"The input {one.name!r} has the shape {list(one.shape)}.", expected="[n] or [n, 1]", todo="Reshape it."
            )
        columns[one.name] = _typed(one.datatype, one.values, loaded.schema.column(one.name))
    return column_objects(loaded, columns)


def _matrix(one: Tensor, loaded: Loaded) -> Rows:
    width = len(loaded.features)
    if len(one.shape) != 2 or one.shape[1] != width:
        raise InvalidInput(
            f"The only input, {one.name!r}, has the shape {list(one.shape)} and is no column of the model.",
            expected=f"a tensor for each column, or one of shape [n, {width}]",
            todo="See the model's metadata.",
        )
    by_name = {
        column.name: _typed(one.datatype, one.values[place::width], column)
        for place, column in enumerate(loaded.schema.features)
    }
    return column_objects(loaded, by_name)


def _typed(datatype: str, values: list[Any], column: Column | None) -> list[Any]:
    """Truth values that came as numbers, for a column that holds truth values."""
    if column is not None and column.type == "boolean" and datatype not in ("BOOL", "BYTES"):
        return [bool(value) if value in (0, 1) and value is not None else value for value in values]
    return values


def answers_as_tensors(answered: Answered) -> list[Tensor]:
    """``prediction``, of shape [n] or [n, outputs], and ``probability``, of shape [n, classes], where there is one."""
    answers = answered.lists()
    said, count = answers.predictions, len(answers.predictions)
    shape: tuple[int, ...] = (count,)
    if said and isinstance(said[0], list):
        shape = (count, len(said[0]))
        said = [value for row in said for value in row]
    found = [Tensor("prediction", _datatype(said), shape, said)]
    if answers.probabilities is not None:
        flat = [share for row in answers.probabilities for share in row]
        found.append(Tensor("probability", "FP64", (count, len(answered.loaded.class_names)), flat))
    return found


def output_types(loaded: Loaded) -> list[tuple[str, str, list[int]]]:
    """Name, datatype and shape of what the model answers with."""
    classes = loaded.scorer.classes
    sample = loaded.sample
    several = isinstance(sample, list)
    known = list(classes) if classes else sample if several else [] if sample is None else [sample]
    found = [("prediction", _datatype(known) if known else "FP64", [-1, len(sample)] if several else [-1])]
    return [*found, ("probability", "FP64", [-1, len(classes)])] if classes else found


def _datatype(values: list[Any]) -> str:
    kinds = {type(value) for value in values}
    return {(bool,): "BOOL", (int,): "INT64", (str,): "BYTES"}.get(
        tuple(kinds), "FP64" if str not in kinds else "BYTES"
    )  # type: ignore[call-overload]


def _texts(content: bytes) -> list[bytes]:
    texts, at = [], 0
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        at += 4 + length
        if at > len(content):
            raise ValueError("a text breaks off")
        texts.append(content[at - length : at])
    return texts
