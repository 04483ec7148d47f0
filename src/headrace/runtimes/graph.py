"""The graph runtime: encode, run the double-precision graph with one thread, link. Nothing is unpickled."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from headrace.kernel.errors import SchemaViolation
from headrace.kernel.ports import AnswerArrays, Answers, Columns
from headrace.kernel.records import Runtime, Task
from headrace.kernel.schema import Scalar, Schema
from headrace.runtimes.bundle import FLAT_GRAPH, GRAPH, PLAN
from headrace.runtimes.encoding import Encoding
from headrace.runtimes.link import Linked
from headrace.runtimes.plan import Plan

ENCODED = 4 << 20
"""Bytes of rows that are encoded at one go; each block of them is given to the graph by itself."""


class GraphScorer:
    """A compiled version. See `kernel.ports.Scorer`; safe to call from several threads."""

    runtime: Runtime = "graph"

    def __init__(
        self, plan: Plan, graph: bytes | str, schema: Schema, task: Task, classes: tuple[Scalar, ...], threads: int = 1
    ) -> None:
        self.plan = plan
        self.schema = schema
        self.task: Task = task
        self.classes = classes
        self._encoding = Encoding(plan.encoders)
        self._session = session_of(graph)
        self._link = Linked(plan.link, classes)
        self._outputs = ["scores", "refused"] if plan.checked else ["scores"]
        self._threads = threads
        blocks = ENCODED // (8 * max(self._encoding.width, 1) * plan.block)
        self._chunk = plan.block * (max(1, blocks) if threads == 1 else 1)

    def answer(self, columns: Columns, rows: int) -> Answers:
        """Answers to `rows` rows.

        Raises:
            SchemaViolation: a row at which the Python model raises.
        """
        if rows > self.plan.block:
            return self.arrays(columns, rows).lists()
        return self._link.answers(self._scores(columns, rows, 0))

    def arrays(self, columns: Columns, rows: int) -> AnswerArrays:
        """The same answers as arrays; several threads take chunks of rows side by side.

        Raises:
            SchemaViolation: a row at which the Python model raises.
        """
        parts = self._in_chunks(columns, rows, lambda *chunk: self._link.arrays(self._scores(*chunk)))
        shares = [part.probabilities for part in parts if part.probabilities is not None]
        return AnswerArrays(np.concatenate([p.predictions for p in parts]), np.concatenate(shares) if shares else None)

    def scores(self, columns: Columns, rows: int) -> np.ndarray:
        """The raw scores, of shape [rows, m].

        Raises:
            SchemaViolation: a row at which the Python model raises.
        """
        return np.concatenate(self._in_chunks(columns, rows, self._scores))

    def _in_chunks(self, columns: Columns, rows: int, work: Callable[[Columns, int, int], Any]) -> list[Any]:
        def one(start: int) -> Any:
            count = min(size, rows - start)
            return work({name: values[start : start + count] for name, values in columns.items()}, count, start)

        size = self._chunk
        starts = range(0, max(rows, 1), size)
        if self._threads == 1 or len(starts) == 1:
            return [one(start) for start in starts]
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(one, starts))

    def _scores(self, columns: Columns, rows: int, start: int) -> np.ndarray:
        encoded = self._encoding.encode(columns, rows, start)
        block = self.plan.block
        if rows <= block:
            return self._run(encoded, start)
        return np.concatenate([self._run(encoded[at : at + block], start + at) for at in range(0, rows, block)])

    def _run(self, encoded: np.ndarray, start: int) -> np.ndarray:
        """The scores of one block, whose first row has the number `start`."""
        scores, *refusals = self._session.run(self._outputs, {"rows": encoded})
        if refusals and refusals[0].any():
            row = start + int((refusals[0] != 0.0).argmax())
            raise SchemaViolation(
                f"The model refuses row {row}: a step of it meets a value that is not finite.",
                row=row,
                todo="Correct the row; the model's own predict raises at it in every form.",
            )
        return scores


def session_of(graph: bytes | str) -> onnxruntime.InferenceSession:
    """An onnxruntime session with one thread, from a file's path or its content."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def load_graph(folder: Path, schema: Schema, task: Task, classes: tuple[Scalar, ...], threads: int = 1) -> GraphScorer:
    """The scorer of the compiled form in a verified bundle.

    A large graph has a second file in onnxruntime's own format, which needs half the memory; an onnxruntime that
    cannot read that takes the ONNX file, which says the same.
    """
    plan = msgspec.json.decode((folder / PLAN).read_bytes(), type=Plan)
    flat, whole = os.fspath(folder / FLAT_GRAPH), os.fspath(folder / GRAPH)
    if not Path(flat).exists():
        return GraphScorer(plan, whole, schema, task, classes, threads)
    try:
        scorer = GraphScorer(plan, flat, schema, task, classes, threads)
    except Exception:  # onnxruntime's errors have no class of their own
        scorer = GraphScorer(plan, whole, schema, task, classes, threads)
    _give_back_memory()
    return scorer


def _give_back_memory() -> None:
    """Return to the system what reading a large graph needed for a moment; the C library keeps it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
