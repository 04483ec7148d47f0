"""A double-precision ONNX graph in the making: nodes, constants, and constants that are known only at the end.

Only operators whose onnxruntime kernels take doubles are used; `docs/compiler.md` says which of them keep their bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from headrace.kernel.release import VERSION

OPSET, ML_OPSET, IR_VERSION = 21, 5, 10
INPUT = "rows"
_ELEMENTS = {"double": TensorProto.DOUBLE, "float": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Graph:
    """Nodes and constants, each named once; equal constants are stored once."""

    def __init__(self) -> None:
        self.checks: list[str] = []
        self.row_bytes = 64
        self.reach = np.inf
        self.splits: dict[int, list[np.ndarray]] = {}
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._pending: dict[str, Callable[[], np.ndarray]] = {}
        self._count = 0

    def constant(self, values: Any, dtype: Any = np.float64) -> str:
        """The name of a constant with these values."""
        array = np.ascontiguousarray(np.asarray(values, dtype=dtype))
        array = array.reshape(np.shape(values))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._name("c")
            self._arrays[self._constants[key]] = array
        return self._constants[key]

    def pending(self, make: Callable[[], np.ndarray]) -> str:
        """The name of a constant that `make` gives when the graph is finished."""
        name = self._name("p")
        self._pending[name] = make
        return name

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output, and give the name of that."""
        output = self._name("n")
        self._nodes.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output

    def nodes(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add an operator with several outputs, and give their names."""
        outputs = [self._name("n") for _ in range(count)]
        self._nodes.append(helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs

    def cast(self, name: str, to: str) -> str:
        """The same values as ``double``, ``float`` or ``int64``."""
        return self.node("Cast", name, to=_ELEMENTS[to])

    def finish(self, width: int, outputs: Mapping[str, tuple[str, int]]) -> bytes:
        """The graph as an ONNX model.

        Args:
            width: the columns of its one input, ``rows``, doubles of shape [n, width].
            outputs: for each output its inner name and its columns; doubles of shape [n, columns].
        """
        arrays = self._arrays | {name: make() for name, make in self._pending.items()}
        renamed = [helper.make_node("Identity", [inner], [name]) for name, (inner, _) in outputs.items()]
        nodes = _needed(_without_identities(self._nodes + renamed, arrays, width), set(outputs))
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "headrace",
            [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, [None, width])],
            [helper.make_tensor_value_info(n, TensorProto.DOUBLE, [None, w]) for n, (_, w) in outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in sorted(arrays.items()) if name in used],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, producer_name="headrace", producer_version=VERSION, ir_version=IR_VERSION
        )
        return model.SerializeToString(deterministic=True)

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"


def _without_identities(nodes: list[Any], arrays: Mapping[str, np.ndarray], width: int) -> list[Any]:
    """The nodes less those that take every column of the input in its order."""
    same: dict[str, str] = {}
    for node in nodes:
        if node.op_type == "Gather" and node.input[0] == INPUT:
            index = arrays[node.input[1]]
            if len(index) == width and np.array_equal(index, np.arange(width)):
                same[node.output[0]] = INPUT
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
    return [node for node in nodes if node.output[0] not in same]


def _needed(nodes: list[Any], outputs: set[str]) -> list[Any]:
    """The nodes that lead to the outputs."""
    wanted = set(outputs)
    kept: list[Any] = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]
