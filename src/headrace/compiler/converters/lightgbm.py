"""LightGBM: its text model as trees in double precision.

Source: `Tree::NumericalDecision`, `Tree::CategoricalDecision` and `GBDT::PredictRaw` of LightGBM 4. A number whose
magnitude is at most `kZeroThreshold` counts as zero there; that is put into the thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.compiler.converters.categories import coded, only_in, whole
from headrace.compiler.converting import Prediction, converts
from headrace.compiler.table import Table
from headrace.compiler.tensor import Tensor
from headrace.compiler.trees import Tree, ensemble
from headrace.compiler.uncompiled import NotCompiled

ZERO = float(np.float32(1e-35))
NONE, AS_ZERO, AS_NAN = 0, 1, 2
_IDENTITY = [
    "regression",
    "regression_l2",
    "l2",
    "mean_squared_error",
    "mse",
    "l2_root",
    "root_mean_squared_error",
    "rmse",
    "regression_l1",
    "l1",
    "mean_absolute_error",
    "mae",
    "huber",
    "fair",
    "quantile",
    "mape",
]


@converts("lightgbm.LGBMClassifier", takes="table", predicts=True, single=True)
def classifier(step: Any, table: Table) -> Prediction:
    """Trees, then the link of the objective."""
    scores, objective = _scores(step.booster_, table)
    name = objective[0]
    sigmoid = float(dict(part.split(":", 1) for part in objective[1:] if ":" in part).get("sigmoid", 1.0))
    if name == "binary":
        scores = scores if sigmoid == 1.0 else scores * sigmoid
        return Prediction(scores, "logistic", "majority", step.classes_)
    if name == "multiclass":
        return Prediction(scores, "softmax", "argmax", step.classes_)
    if name == "multiclassova":
        scores = scores if sigmoid == 1.0 else scores * sigmoid
        return Prediction(scores, "logistics", "argmax", step.classes_)
    raise NotCompiled(f"its objective {name!r} is not covered")


@converts("lightgbm.LGBMRegressor", "lightgbm.LGBMRanker", takes="table", predicts=True, single=True)
def regressor(step: Any, table: Table) -> Prediction:
    """Trees, then the link of the objective."""
    return booster(step.booster_, table)


@converts("lightgbm.Booster", takes="table", predicts=True, single=True)
def booster(step: Any, table: Table) -> Prediction:
    """Trees, then the link of the objective; a probability is a number here."""
    scores, objective = _scores(step, table)
    name = objective[0]
    if "sqrt" in objective[1:]:
        return Prediction(scores.derive("Sign") * scores * scores, "identity", "value")
    if name in _IDENTITY or name in ("lambdarank", "rank_xendcg", "custom", ""):
        return Prediction(scores, "identity", "value")
    if name in ("poisson", "gamma", "tweedie"):
        return Prediction(scores, "exp", "value")
    if name == "multiclass":
        return Prediction(scores, "softmax", "value")
    if name in ("cross_entropy", "xentropy") or (name == "binary" and "sigmoid:1" in objective):
        return Prediction(scores, "logistic", "value")
    raise NotCompiled(f"its objective {name!r} is not covered")


def _scores(booster: Any, table: Table) -> tuple[Tensor, list[str]]:
    best = booster.best_iteration
    text = booster.model_to_string(num_iteration=best if best and best > 0 else -1)
    head, *parts = text.split("\nTree=")
    model = dict(line.split("=", 1) if "=" in line else (line, "") for line in head.splitlines() if line)
    table, categorical = coded(table, booster.pandas_categorical)
    x = table.tensor()
    outputs = int(model["num_tree_per_iteration"])
    if int(model["max_feature_idx"]) + 1 != x.width:
        raise NotCompiled(f"it has {int(model['max_feature_idx']) + 1} features, and is given {x.width} columns")
    trees = [_Text(part, place % outputs) for place, part in enumerate(parts)]
    scores = ensemble(_prepared(x, trees, categorical), [tree.grown() for tree in trees], outputs)
    if "average_output" in model:
        scores = scores / float(len(trees) // outputs)
    return scores, model.get("objective", "").split() or [""]


def _prepared(x: Tensor, trees: Sequence[_Text], coded_already: Sequence[int]) -> Tensor:
    as_zero = {f for tree in trees for f in tree.features_by(AS_ZERO)}
    others = {f for tree in trees for kind in (NONE, AS_NAN) for f in tree.features_by(kind)}
    if as_zero & others:
        raise NotCompiled("it treats zeros of one feature as missing in some trees only")
    chosen = {f for tree in trees for f in tree.categorical}
    x = whole(x, sorted(chosen - set(coded_already)), -1.0) if chosen - set(coded_already) else x
    zero = x.absolute() <= ZERO
    return only_in(x, sorted(as_zero), zero.where(np.nan, x)) if as_zero else x


class _Text:
    """One tree of the text model."""

    def __init__(self, text: str, output: int) -> None:
        lines = text.split("end of trees")[0].splitlines()[1:]
        self._fields = dict(line.split("=", 1) for line in lines if "=" in line)
        self._output = output
        if self._fields.get("is_linear", "0") == "1":
            raise NotCompiled("its leaves hold linear models")
        self.feature = self._array("split_feature", np.int64)
        self.decision = self._array("decision_type", np.int64)

    @property
    def categorical(self) -> list[int]:
        """The features that it splits by sets of categories."""
        return self.feature[(self.decision & 1) == 1].tolist()

    def features_by(self, missing: int) -> list[int]:
        """The features whose missing values it treats in this way."""
        return self.feature[((self.decision >> 2) & 3 == missing) & ((self.decision & 1) == 0)].tolist()

    def grown(self) -> Tree:
        """The tree, with its inner nodes before its leaves."""
        values = self._array("leaf_value", np.float64)
        leaves = len(values)
        if leaves == 1:
            return _leaf(float(values[0]), self._output)
        inner = leaves - 1
        left, right = self._array("left_child", np.int64), self._array("right_child", np.int64)
        threshold = self._array("threshold", np.float64)
        kind, default = (self.decision >> 2) & 3, (self.decision & 2) != 0
        is_set = (self.decision & 1) == 1
        missing_left = np.where(kind == NONE, threshold >= 0.0, default) & ~is_set
        pad = np.full(leaves, -1)
        return Tree(
            feature=np.concatenate([self.feature, np.zeros(leaves, dtype=np.int64)]),
            threshold=np.concatenate([np.where(is_set, 0.0, _beside_zero(threshold)), np.zeros(leaves)]),
            left=np.concatenate([np.where(left < 0, inner + ~left, left), pad]),
            right=np.concatenate([np.where(right < 0, inner + ~right, right), pad]),
            missing_left=np.concatenate([missing_left, np.zeros(leaves, dtype=bool)]),
            values=np.concatenate([np.zeros(inner), values])[:, None],
            members={int(node): self._members(int(threshold[node])) for node in np.flatnonzero(is_set)},
            offset=self._output,
        )

    def _members(self, place: int) -> list[float]:
        bounds, words = self._array("cat_boundaries", np.int64), self._array("cat_threshold", np.uint32)
        bits = np.unpackbits(words[bounds[place] : bounds[place + 1]].view(np.uint8), bitorder="little")
        return np.flatnonzero(bits).astype(float).tolist()

    def _array(self, name: str, dtype: Any) -> np.ndarray:
        return np.array(self._fields.get(name, "").split(), dtype=dtype)


def _beside_zero(threshold: np.ndarray) -> np.ndarray:
    """Thresholds so that every number of magnitude at most `ZERO` goes where zero goes."""
    moved = np.where((threshold >= 0.0) & (threshold < ZERO), ZERO, threshold)
    return np.where((moved < 0.0) & (moved >= -ZERO), np.nextafter(-ZERO, -np.inf), moved)


def _leaf(value: float, output: int) -> Tree:
    one, none = np.zeros(1), np.array([-1])
    return Tree(one.astype(np.int64), one, none, none, one.astype(bool), np.array([[value]]), offset=output)
