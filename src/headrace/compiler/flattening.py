"""A graph in onnxruntime's own flat format, which loads in half the memory of an ONNX file's."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime

FROM_BYTES = 1 << 20


def flattened(graph: bytes) -> bytes:
    """The same graph in the ORT format, optimised by nothing that depends on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "graph.ort"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry("session.save_model_format", "ORT")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return target.read_bytes()
