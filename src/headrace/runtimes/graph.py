"""The graph runtime: encode, run the double-precision graph with one thread, link. Nothing is unpickled."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime

from headrace.kernel.errors import SchemaViolation
from headrace.kernel.ports import Answers, Columns
from headrace.kernel.records import Runtime, Task
from headrace.kernel.schema import Scalar, Schema
from headrace.runtimes.bundle import GRAPH, PLAN
from headrace.runtimes.encoding import Encoding
from headrace.runtimes.link import linked
from headrace.runtimes.plan import Plan

SHARE_ROWS = 4096


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
        self._link = linked(plan.link, classes)
        self._outputs = ["scores", "refused"] if plan.checked else ["scores"]
        self._threads = threads

    def answer(self, columns: Columns, rows: int) -> Answers:
        """Answers to `rows` rows.

        Raises:
            SchemaViolation: a row at which the Python model raises.
        """
        return self._link(self.scores(columns, rows))

    def scores(self, columns: Columns, rows: int) -> np.ndarray:
        """The raw scores, of shape [rows, m].

        Raises:
            SchemaViolation: a row at which the Python model raises.
        """
        return self.run(self._encoding.encode(columns, rows))

    def run(self, matrix: np.ndarray) -> np.ndarray:
        """The graph's raw scores for encoded rows, in blocks; several threads take blocks side by side."""
        rows = len(matrix)
        if rows <= self.plan.block and (self._threads == 1 or rows < SHARE_ROWS):
            return self._block(matrix, 0)
        size = min(self.plan.block, max(SHARE_ROWS, -(-rows // self._threads)))
        starts = range(0, rows, size)
        with ThreadPoolExecutor(self._threads) as pool:
            parts = list(pool.map(lambda start: self._block(matrix[start : start + size], start), starts))
        return np.concatenate(parts)

    def _block(self, matrix: np.ndarray, start: int) -> np.ndarray:
        scores, *refusals = self._session.run(self._outputs, {"rows": matrix})
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
    """The scorer of the compiled form in a verified bundle."""
    plan = msgspec.json.decode((folder / PLAN).read_bytes(), type=Plan)
    return GraphScorer(plan, os.fspath(folder / GRAPH), schema, task, classes, threads)
