"""ONNX files as they come: fed with their own types, from the columns of the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headrace.kernel.errors import InvalidInput, SchemaViolation
from headrace.kernel.ports import AnswerArrays, Answers, Columns
from headrace.kernel.records import Runtime, Task
from headrace.kernel.schema import Scalar, Schema
from headrace.runtimes.bundle import FILE_LAYOUT, GRAPH
from headrace.runtimes.graph import session_of
from headrace.runtimes.link import named_array

ELEMENTS: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class FileInput(msgspec.Struct, frozen=True):
    """One input: the columns that fill it, its element type, and whether it is [n] instead of [n, columns]."""

    name: str
    columns: tuple[str, ...]
    element: str
    flat: bool = False


class FileLayout(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is asked and understood.

    `label`, `shares` and `value` name the outputs that hold classes, their probabilities, and numbers; "" where there
    is none. `block` rows at most are given at once (0: any number), and never fewer than `least`, by repeating the
    last, because kernels for one row may round otherwise.
    """

    inputs: tuple[FileInput, ...]
    label: str = ""
    shares: str = ""
    value: str = ""
    block: int = 0
    least: int = 1


class OnnxScorer:
    """An ONNX file, answering. See `kernel.ports.Scorer`."""

    runtime: Runtime = "graph"

    def __init__(
        self, layout: FileLayout, content: bytes | str, schema: Schema, task: Task, classes: tuple[Scalar, ...]
    ) -> None:
        self.layout = layout
        self.schema = schema
        self.task: Task = task
        self.classes = classes
        self._named = named_array(classes)
        self._session = session_of(content)
        self._outputs = [name for name in (layout.label, layout.shares, layout.value) if name]

    def answer(self, columns: Columns, rows: int) -> Answers:
        """Answers to `rows` rows.

        Raises:
            SchemaViolation: a null where the file's type has none.
        """
        return self.arrays(columns, rows).lists()

    def arrays(self, columns: Columns, rows: int) -> AnswerArrays:
        """The same answers as arrays.

        Raises:
            SchemaViolation: a null where the file's type has none.
        """
        feeds = {one.name: self._feed(one, columns, rows) for one in self.layout.inputs}
        size = self.layout.block or rows
        parts = [self._run(feeds, start, min(start + size, rows)) for start in range(0, rows, size)]
        found = {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(self._outputs)}
        return self._understood(found)

    def _run(self, feeds: dict[str, np.ndarray], start: int, end: int) -> list[np.ndarray]:
        short = max(self.layout.least - (end - start), 0)
        index = np.r_[np.arange(start, end), np.full(short, end - 1)]
        outputs = self._session.run(self._outputs, {name: feed[index] for name, feed in feeds.items()})
        return [_table(output)[: end - start] for output in outputs]

    def _understood(self, found: dict[str, np.ndarray]) -> AnswerArrays:
        shares = found.get(self.layout.shares)
        shares = None if shares is None else shares.astype(np.float64)
        if self.layout.label:
            labels = found[self.layout.label].reshape(len(found[self.layout.label]), -1)[:, 0]
            return AnswerArrays(labels, shares)
        if shares is not None:
            return AnswerArrays(self._named[shares.argmax(axis=1)], shares)
        values = found[self.layout.value]
        values = values.astype(np.float64) if values.dtype.kind == "f" else values
        return AnswerArrays(values.reshape(len(values), -1)[:, 0] if values[0].size == 1 else values, None)

    def _feed(self, one: FileInput, columns: Columns, rows: int) -> np.ndarray:
        kind = ELEMENTS[one.element]
        parts = [self._column(name, columns[name], kind) for name in one.columns]
        feed = np.column_stack(parts) if parts else np.empty((rows, 0), dtype=kind)
        return np.ascontiguousarray(feed[:, 0] if one.flat else feed)

    def _column(self, name: str, values: Any, kind: Any) -> np.ndarray:
        if not np.issubdtype(kind, np.floating):
            missing = next((row for row, value in enumerate(values) if value is None or value != value), None)
            if missing is not None:
                raise SchemaViolation(
                    f"Row {missing}, field {name!r}: the model's input has no null.",
                    row=missing,
                    field=name,
                    todo="Send a value.",
                )
        try:
            with np.errstate(over="ignore"):
                array = np.array(list(values), dtype=kind)
        except (TypeError, ValueError, OverflowError) as error:
            raise _unfit(name, str(error)) from error
        if np.issubdtype(kind, np.integer) and not np.array_equal(array, np.asarray(list(values))):
            raise _unfit(name, f"a value does not fit into {np.dtype(kind)}")
        return array


def _unfit(name: str, why: str) -> SchemaViolation:
    return SchemaViolation(
        f"Field {name!r} cannot be fed to the model: {why}.",
        field=name,
        todo="Send values of the type that the model's input has.",
    )


class OnnxModel:
    """An ONNX file as a fitted object, for the places that know only `predict`."""

    def __init__(self, content: bytes, layout: FileLayout, schema: Schema, task: Task, classes: Any) -> None:
        self.content = content
        self.layout = layout
        self._scorer = OnnxScorer(layout, content, schema, task, classes)
        if classes:
            self.classes_ = list(classes)
        if layout.shares:
            self.predict_proba = self._shares

    def predict(self, frame: Any) -> np.ndarray:
        """The labels or numbers for a frame or a 2-d array with the columns of the schema."""
        return self._scorer.arrays(self._columns(frame), len(frame)).predictions

    def _shares(self, frame: Any) -> np.ndarray:
        return self._scorer.arrays(self._columns(frame), len(frame)).probabilities

    def _columns(self, frame: Any) -> Columns:
        names = [column.name for column in self._scorer.schema.features]
        if isinstance(frame, np.ndarray):
            return {name: frame[:, place] for place, name in enumerate(names)}
        return {name: frame[name].to_list() for name in names}


def load_onnx_file(folder: Path, schema: Schema, task: Task, classes: tuple[Scalar, ...]) -> OnnxScorer:
    """The scorer of the ONNX file in a verified bundle."""
    layout = msgspec.json.decode((folder / FILE_LAYOUT).read_bytes(), type=FileLayout)
    return OnnxScorer(layout, str(folder / GRAPH), schema, task, classes)


def _table(output: Any) -> np.ndarray:
    """An output as an array; a list of maps from class to probability as a matrix in the order of the classes."""
    if isinstance(output, list):
        if not output or not isinstance(output[0], dict):
            raise InvalidInput(
                "An output of the ONNX file is a list of values that are no maps.",
                expected="a tensor, or a map from class to probability for each row",
                todo="Export the model with tensors as outputs.",
            )
        return np.array([[one[key] for key in sorted(output[0])] for one in output])
    return output
