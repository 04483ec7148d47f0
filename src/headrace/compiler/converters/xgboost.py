"""XGBoost: its JSON model as trees in float32, the base margin first.

Source: `InitOutPredictions` and the predictors of XGBoost 3: the margin starts at the base and each leaf is added in
float32, in the order of the trees.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

from headrace.compiler.converters.categories import coded, only_in
from headrace.compiler.converting import Prediction, converts
from headrace.compiler.table import Table
from headrace.compiler.tensor import Tensor
from headrace.compiler.trees import Tree, ensemble
from headrace.compiler.uncompiled import NotCompiled

_IDENTITY = (
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:quantileerror",
    "reg:pseudohubererror",
    "reg:squaredlogerror",
)
_RANKS = ("rank:ndcg", "rank:map", "rank:pairwise")
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")


@converts("xgboost.XGBClassifier", "xgboost.XGBRFClassifier", takes="table", predicts=True, single=True)
def classifier(step: Any, table: Table) -> Prediction:
    """Trees, then the link of the objective in float32."""
    margin, objective = _of_sklearn(step, table)
    if objective == "binary:logistic" and margin.width == 1:
        return Prediction(margin, "logistic32", "majority", step.classes_)
    if objective == "multi:softprob":
        return Prediction(margin, "softmax32", "argmax", step.classes_)
    raise NotCompiled(f"its objective {objective!r} is not covered")


@converts(
    "xgboost.XGBRegressor", "xgboost.XGBRFRegressor", "xgboost.XGBRanker", takes="table", predicts=True, single=True
)
def regressor(step: Any, table: Table) -> Prediction:
    """Trees, then the link of the objective in float32."""
    return _numbers(*_of_sklearn(step, table))


def _numbers(margin: Tensor, objective: str) -> Prediction:
    if objective in _IDENTITY or objective in _RANKS:
        return Prediction(margin, "identity", "value", single=True)
    if objective in _EXPONENTIAL:
        return Prediction(margin, "exp32", "value")
    if objective in ("reg:logistic", "binary:logistic"):
        return Prediction(margin, "logistic32", "value")
    raise NotCompiled(f"its objective {objective!r} is not covered")


@converts("headrace.XGBoostBooster", takes="table", predicts=True, single=True)
def native(step: Any, table: Table) -> Prediction:
    """All the trees, then the link of the objective in float32."""
    margin, objective = _margin(step.booster, table)
    if objective == "multi:softprob":
        return Prediction(margin, "softmax32", "value")
    return _numbers(margin, objective)


def _of_sklearn(step: Any, table: Table) -> tuple[Tensor, str]:
    """The margin and the objective of a scikit-learn class, which stops at its best iteration."""
    return _margin(step.get_booster(), table, missing=float(step.missing), stops=True)


def _margin(booster: Any, table: Table, *, missing: float = np.nan, stops: bool = False) -> tuple[Tensor, str]:
    document = json.loads(bytes(booster.save_raw("json")))
    learner = document["learner"]
    gradient = learner["gradient_booster"]
    if gradient["name"] == "gblinear":
        raise NotCompiled("its booster 'gblinear' adds products in float32")
    base = _base_margin(document)
    drop = None
    if gradient["name"] == "dart":
        drop, gradient = np.asarray(gradient["weight_drop"], dtype=np.float32), gradient["gbtree"]
    model = gradient["model"]
    count = len(model["trees"])
    if stops and "best_iteration" in learner["attributes"]:
        count = model["iteration_indptr"][int(learner["attributes"]["best_iteration"]) + 1]
    trees = [_base_tree(value, output) for output, value in enumerate(base)]
    for place in range(count):
        weight = None if drop is None else drop[place]
        trees.append(_grown(model["trees"][place], model["tree_info"][place], base, weight))
    x = _prepared(table, trees, int(learner["learner_model_param"]["num_feature"]), missing)
    return ensemble(x, trees, len(base), single=True), learner["objective"]["name"]


def _prepared(table: Table, trees: list[Tree], features: int, missing: float) -> Tensor:
    sparse = table.sparse
    table, categorical = coded(table, None)
    x = table.tensor()
    if x.width != features:
        raise NotCompiled(f"it has {features} features, and is given {x.width} columns")
    if sparse:
        x = x.equals(0.0).where(np.nan, x)
    if missing == missing:
        x = x.rounded()
        x = x.equals(float(np.float32(missing))).where(np.nan, x)
    sets = {int(tree.feature[node]) for tree in trees for node in tree.members} - set(categorical)
    return only_in(x, sorted(sets), x.rounded().derive("Floor")) if sets else x


def _base_margin(document: dict[str, Any]) -> np.ndarray:
    """The margin before the first tree, float32 [outputs]: what the same model says when its leaves are zero."""
    import xgboost

    bare = copy.deepcopy(document)
    gradient = bare["learner"]["gradient_booster"]
    bare["learner"]["attributes"] = {}
    if gradient["name"] == "dart":
        gradient["weight_drop"] = [1.0] * gradient["gbtree"]["model"]["iteration_indptr"][1]
        gradient = gradient["gbtree"]
    model = gradient["model"]
    first = model["iteration_indptr"][1]
    model["trees"], model["tree_info"] = model["trees"][:first], model["tree_info"][:first]
    model["iteration_indptr"] = [0, first]
    model["gbtree_model_param"]["num_trees"] = str(first)
    for tree in model["trees"]:
        leaves = [left == -1 for left in tree["left_children"]]
        tree["split_conditions"] = [
            0.0 if leaf else c for leaf, c in zip(leaves, tree["split_conditions"], strict=True)
        ]
        for name in ("leaf_weights", "base_weights"):
            if name in tree:
                tree[name] = [0.0] * len(tree[name])
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(bare).encode()))
    features = int(bare["learner"]["learner_model_param"]["num_feature"])
    row = np.zeros((1, features), dtype=np.float32)
    margin = booster.inplace_predict(row, predict_type="margin", validate_features=False)
    return np.asarray(margin, dtype=np.float32).ravel()


def _base_tree(value: Any, output: int) -> Tree:
    one, none = np.zeros(1), np.array([-1])
    values = np.array([[value]], dtype=np.float64)
    return Tree(one.astype(np.int64), one, none, none, one.astype(bool), values, offset=output, strict=True)


def _grown(tree: dict[str, Any], output: int, base: np.ndarray, weight: Any) -> Tree:
    left = np.array(tree["left_children"])
    right = np.array(tree["right_children"])
    leaf = left == -1
    values, offset = _leaf_values(tree, leaf, right, output, base, weight)
    default_left = np.array(tree["default_left"], dtype=bool)
    is_set = np.array(tree["split_type"]) == 1
    sets = dict(zip(tree["categories_nodes"], _segments(tree), strict=True))
    swapped = is_set & ~leaf
    return Tree(
        feature=np.where(leaf, 0, np.array(tree["split_indices"])),
        threshold=np.where(leaf | is_set, 0.0, np.array(tree["split_conditions"], dtype=np.float32)).astype(np.float64),
        left=np.where(swapped, right, left),
        right=np.where(swapped, left, np.where(leaf, -1, right)),
        missing_left=np.where(swapped, ~default_left, default_left),
        values=values,
        members={int(node): sets[int(node)] for node in np.flatnonzero(swapped)},
        offset=offset,
        strict=True,
    )


def _leaf_values(
    tree: dict[str, Any], leaf: np.ndarray, right: np.ndarray, output: int, base: np.ndarray, weight: Any
) -> tuple[np.ndarray, int]:
    if int(tree["tree_param"].get("size_leaf_vector", "0")) > 1:
        vectors = np.array(tree["leaf_weights"], dtype=np.float32).reshape(-1, len(base))
        if len(vectors) != int(leaf.sum()):
            raise NotCompiled("its leaves hold vectors in an order that is not known")
        return vectors[np.where(leaf, right, 0)].astype(np.float64), 0
    values = np.array(tree["split_conditions"], dtype=np.float32)
    if weight is not None:
        values = ((base[output] + values) - base[output]) * weight
    return values.astype(np.float64)[:, None], output


def _segments(tree: dict[str, Any]) -> list[list[float]]:
    return [
        [float(value) for value in tree["categories"][start : start + size]]
        for start, size in zip(tree["categories_segments"], tree["categories_sizes"], strict=True)
    ]
