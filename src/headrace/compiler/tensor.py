"""Rows of doubles as they stand at one place of a graph, with the arithmetic of numpy.

A converter reads like the transformer's own `transform`: ``(x - step.mean_) / step.scale_``. Every operation is one
whose result for a row has the same bits whatever rows stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import numpy as np

from headrace.compiler.graph import Graph
from headrace.compiler.origin import Kind, Origin
from headrace.compiler.uncompiled import NotCompiled

PACKET = 8
INEXACT = ("Exp", "Log", "Tanh", "Sin", "Cos", "Pow")
"""Operators whose last bit differs from numpy's."""
Operand = Union["Tensor", float, int, np.ndarray]


class Tensor:
    """Values of shape [n, width]: doubles, or truth values where `mask`.

    `dtype` is that in which the Python model holds these values; `finite` says that neither NaN nor an infinity can
    stand here, `bounded` that no infinity can; `exact` that they have the Python model's own bits; `origins` from which
    columns of the input they come, where known.
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        width: int,
        *,
        mask: bool = False,
        dtype: Any = np.float64,
        finite: bool = False,
        bounded: bool = False,
        exact: bool = True,
        origins: Sequence[Origin | None] = (),
    ) -> None:
        self.graph = graph
        self.name = name
        self.width = width
        self.mask = mask
        self.dtype = np.dtype(dtype)
        self.finite = finite
        self.bounded = bounded or finite
        self.exact = exact
        self.origins: list[Origin | None] = list(origins) or [None] * width

    @property
    def narrow(self) -> bool:
        """Whether the Python model computes on these values with less than double precision."""
        return is_narrow(self.dtype)

    def derive(self, operator: str, *others: Operand, mask: bool = False, **attributes: Any) -> Tensor:
        """An operator over this and others: arrays of shape (width,) and numbers become constants."""
        names = [self.operand(other) for other in others]
        widths = [other.width for other in others if isinstance(other, Tensor)]
        widths += [np.shape(other)[-1] for other in others if isinstance(other, np.ndarray) and other.ndim]
        name = self.graph.node(operator, self.name, *names, **attributes)
        exact = self.exact and all(other.exact for other in others if isinstance(other, Tensor))
        width = max([self.width, *widths])
        return Tensor(self.graph, name, width, mask=mask, exact=exact and operator not in INEXACT)

    def operand(self, other: Operand) -> str:
        """The name of another tensor, or of a constant."""
        return other.name if isinstance(other, Tensor) else self.graph.constant(other)

    def _moved(self, operator: str, kind: Kind, other: Operand) -> Tensor:
        out = self.derive(operator, other)
        if not isinstance(other, Tensor) and out.width == self.width:
            constants = np.broadcast_to(np.asarray(other, dtype=np.float64), (self.width,)).tolist()
            pairs = zip(self.origins, constants, strict=True)
            out.origins = [origin and origin.then(kind, constant) for origin, constant in pairs]
        return out

    def __add__(self, other: Operand) -> Tensor:
        return self._moved("Add", "add", other)

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Tensor:
        return self._moved("Sub", "subtract", other)

    def __rsub__(self, other: float) -> Tensor:
        return self._reversed("Sub", other)

    def __mul__(self, other: Operand) -> Tensor:
        return self._moved("Mul", "multiply", other)

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Tensor:
        return self._moved("Div", "divide", other)

    def __rtruediv__(self, other: float) -> Tensor:
        return self._reversed("Div", other)

    def _reversed(self, operator: str, first: float) -> Tensor:
        name = self.graph.node(operator, self.graph.constant(first), self.name)
        return Tensor(self.graph, name, self.width, exact=self.exact)

    def __neg__(self) -> Tensor:
        return self.derive("Neg")

    def __lt__(self, other: Operand) -> Tensor:
        return self.derive("Less", other, mask=True)

    def __le__(self, other: Operand) -> Tensor:
        return self.derive("LessOrEqual", other, mask=True)

    def __gt__(self, other: Operand) -> Tensor:
        return self.derive("Greater", other, mask=True)

    def __ge__(self, other: Operand) -> Tensor:
        return self.derive("GreaterOrEqual", other, mask=True)

    def equals(self, other: Operand) -> Tensor:
        """Where the values are equal; NaN equals nothing."""
        return self.derive("Equal", other, mask=True)

    def __and__(self, other: Tensor) -> Tensor:
        return self.derive("And", other, mask=True)

    def __or__(self, other: Tensor) -> Tensor:
        return self.derive("Or", other, mask=True)

    def __invert__(self) -> Tensor:
        return self.derive("Not", mask=True)

    def isnan(self) -> Tensor:
        """Where the values are NaN."""
        return self.derive("IsNaN", mask=True)

    def doubles(self) -> Tensor:
        """Truth values as 0.0 and 1.0."""
        return Tensor(self.graph, self.graph.cast(self.name, "double"), self.width, finite=True, exact=self.exact)

    def where(self, yes: Operand, no: Operand) -> Tensor:
        """`yes` where this mask holds, else `no`."""
        tensors = [part.width for part in (yes, no) if isinstance(part, Tensor)]
        arrays = [np.shape(part)[-1] for part in (yes, no) if isinstance(part, np.ndarray) and part.ndim]
        name = self.graph.node("Where", self.name, self.operand(yes), self.operand(no))
        exact = self.exact and all(part.exact for part in (yes, no) if isinstance(part, Tensor))
        return Tensor(self.graph, name, max([self.width, *tensors, *arrays]), exact=exact)

    def rounded(self) -> Tensor:
        """Rounded to float32 and back, as scikit-learn's trees read their rows."""
        if self.dtype == np.float32:
            return self
        single = self.graph.cast(self.graph.cast(self.name, "float"), "double")
        origins = [origin and origin.then("round") for origin in self.origins]
        return Tensor(self.graph, single, self.width, dtype=np.float32, exact=self.exact, origins=origins)

    def filled(self, values: np.ndarray) -> Tensor:
        """A value for each column in place of NaN."""
        out = self.isnan().where(values, self)
        out.dtype = self.dtype
        out.finite = out.bounded = self.bounded and bool(np.all(np.isfinite(values)))
        out.origins = [
            origin and origin.then("fill", value) for origin, value in zip(self.origins, values.tolist(), strict=True)
        ]
        return out

    def totals(self, axis_width: int, columns: int) -> Tensor:
        """The sums over the middle axis of values of shape [n, axis_width, columns], each added from the first."""
        graph = self.graph
        turned = graph.node("Transpose", self.name, perm=[0, 2, 1])
        sums = graph.node("MatMul", turned, graph.constant(np.ones((axis_width, 1))))
        return Tensor(graph, graph.node("Squeeze", sums, graph.constant([2], np.int64)), columns, exact=False)

    def sqrt(self) -> Tensor:
        """The correctly rounded square root."""
        return self.derive("Sqrt")

    def absolute(self) -> Tensor:
        """The magnitude."""
        return self.derive("Abs")

    def clip(self, low: float, high: float) -> Tensor:
        """Between `low` and `high`; NaN stays."""
        above = (self < low).where(low, self)
        return (above > high).where(high, above)

    def exp(self) -> Tensor:
        """e to the power of each value."""
        return self._padded("Exp")

    def log(self) -> Tensor:
        """The natural logarithm."""
        return self._padded("Log")

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return self._padded("Tanh")

    def sine(self) -> Tensor:
        """The sine of an angle in radians."""
        return self._padded("Sin")

    def cosine(self) -> Tensor:
        """The cosine of an angle in radians."""
        return self._padded("Cos")

    def power(self, exponent: float | np.ndarray) -> Tensor:
        """To the power of a constant."""
        return self._padded("Pow", np.broadcast_to(np.asarray(exponent, dtype=np.float64), (self.width,)))

    def logistic(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return 1.0 / ((-self).exp() + 1.0)

    def total(self) -> Tensor:
        """The sum of each row, added from the left."""
        ones = np.ones((self.width, 1))
        return self @ ones

    def largest(self) -> Tensor:
        """The maximum of each row."""
        name = self.graph.node("ReduceMax", self.name, self.graph.constant([1], np.int64), keepdims=1)
        return Tensor(self.graph, name, 1, exact=self.exact)

    def argmax(self) -> Tensor:
        """The place of each row's maximum, the first where several are equal."""
        name = self.graph.node("ArgMax", self.name, axis=1, keepdims=1)
        return Tensor(self.graph, self.graph.cast(name, "double"), 1, finite=True)

    def argmin(self) -> Tensor:
        """The place of each row's minimum, the first where several are equal."""
        return (-self).argmax()

    def softmax(self) -> Tensor:
        """exp(x - max) over its sum."""
        powers = (self - self.largest()).exp()
        return powers / powers.total()

    def __matmul__(self, weights: np.ndarray) -> Tensor:
        name = self.graph.node("MatMul", self.name, self.graph.constant(weights))
        return Tensor(self.graph, name, weights.shape[1], exact=False)

    def pick(self, places: Sequence[int]) -> Tensor:
        """Some columns, in this order."""
        places = list(places)
        if places == list(range(self.width)):
            return self
        index = self.graph.constant(places, np.int64)
        name = self.graph.node("Gather", self.name, index, axis=1)
        origins = [self.origins[place] for place in places]
        return Tensor(
            self.graph,
            name,
            len(places),
            mask=self.mask,
            dtype=self.dtype,
            finite=self.finite,
            bounded=self.bounded,
            exact=self.exact,
            origins=origins,
        )

    def lookup(self, table: np.ndarray) -> Tensor:
        """The rows of `table` that the one column here numbers."""
        flat = self.graph.node("Reshape", self.graph.cast(self.name, "int64"), self.graph.constant([-1], np.int64))
        name = self.graph.node("Gather", self.graph.constant(table), flat, axis=0)
        return Tensor(self.graph, name, table.shape[1], finite=bool(np.all(np.isfinite(table))))

    def require_finite(self) -> Tensor:
        """Reject the rows that hold a NaN or an infinity here, as scikit-learn's checks do."""
        if not self.finite:
            self.graph.checks.append((self * 0.0).total().name)
        return self

    def require_exact(self) -> Tensor:
        """Go on only with the Python model's own bits, because what follows jumps at exact values.

        Raises:
            NotCompiled: a step before may differ in the last bit.
        """
        if not self.exact:
            raise NotCompiled("it jumps at exact values, and a step before it may differ from numpy in the last bit")
        return self

    def require_bounded(self) -> Tensor:
        """Reject the rows that hold an infinity here; NaN may."""
        if not self.bounded:
            self.graph.checks.append((self.isnan().where(0.0, self) * 0.0).total().name)
        return self

    def _padded(self, operator: str, *others: np.ndarray) -> Tensor:
        """An operator whose vector kernel differs from its scalar one: the row is filled up to whole packets."""
        short = -self.width % PACKET
        if not short:
            return self.derive(operator, *others)
        places = list(range(self.width)) + [self.width - 1] * short
        wide = self.pick(places)
        done = wide.derive(operator, *(np.concatenate([o, np.repeat(o[-1:], short)]) for o in others))
        return done.pick(range(self.width))


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of this type have less than double precision."""
    return dtype.kind == "f" and dtype.itemsize < 8


def concat(tensors: Sequence[Tensor]) -> Tensor:
    """Side by side."""
    if len(tensors) == 1:
        return tensors[0]
    graph = tensors[0].graph
    name = graph.node("Concat", *(tensor.name for tensor in tensors), axis=1)
    return Tensor(
        graph,
        name,
        sum(tensor.width for tensor in tensors),
        mask=tensors[0].mask,
        dtype=np.result_type(*(tensor.dtype for tensor in tensors)),
        finite=all(tensor.finite for tensor in tensors),
        bounded=all(tensor.bounded for tensor in tensors),
        exact=all(tensor.exact for tensor in tensors),
        origins=[origin for tensor in tensors for origin in tensor.origins],
    )


def constant_rows(like: Tensor, values: np.ndarray) -> Tensor:
    """The same row for each row of `like`."""
    graph = like.graph
    count = graph.node("Shape", like.name, start=0, end=1)
    shape = graph.node("Concat", count, graph.constant([len(values)], np.int64), axis=0)
    return Tensor(graph, graph.node("Expand", graph.constant(values[None, :]), shape), len(values), finite=True)
