"""CatBoost: its JSON model as trees in double precision over numbers rounded to float32, scale and bias last."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from headrace.compiler.converting import Prediction, converts
from headrace.compiler.table import Table
from headrace.compiler.tensor import Tensor
from headrace.compiler.trees import Tree, ensemble
from headrace.compiler.uncompiled import NotCompiled

_EXPONENTIAL = ("Poisson", "Tweedie")


@converts("catboost.CatBoostClassifier", takes="table", predicts=True, single=True)
def classifier(step: Any, table: Table) -> Prediction:
    """Trees, then the logistic function or softmax."""
    scores, loss = _scores(step, table)
    if scores.width == 1:
        return Prediction(scores, "logistic", "positive", step.classes_)
    if loss == "MultiClassOneVsAll":
        return Prediction(scores, "logistics", "argmax", step.classes_)
    if loss == "MultiClass":
        return Prediction(scores, "softmax", "argmax", step.classes_)
    raise NotCompiled(f"its loss {loss!r} is not covered")


@converts("catboost.CatBoostRegressor", "catboost.CatBoostRanker", takes="table", predicts=True, single=True)
def regressor(step: Any, table: Table) -> Prediction:
    """Trees, and the exponential of them where the loss has a log link."""
    scores, loss = _scores(step, table)
    if loss == "RMSEWithUncertainty":
        raise NotCompiled("it predicts a mean and a variance")
    return Prediction(scores, "exp" if loss in _EXPONENTIAL else "identity", "value")


@converts("headrace.CatBoostNumbers", takes="table", predicts=True, single=True)
def native(step: Any, table: Table) -> Prediction:
    """The raw sum of the trees, which its `predict` gives."""
    return Prediction(_scores(step.model, table)[0], "identity", "value")


def _scores(step: Any, table: Table) -> tuple[Tensor, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        step.save_model(str(path), format="json")
        model = json.loads(path.read_bytes())
    features = model["features_info"]
    if features.get("categorical_features"):
        raise NotCompiled("it hashes categories and replaces them by statistics while it predicts")
    if features.get("text_features") or features.get("embedding_features"):
        raise NotCompiled("it reads texts or embeddings")
    x = table.tensor().rounded()
    numbers = {feature["feature_index"]: feature for feature in features["float_features"]}
    grow = _oblivious if "oblivious_trees" in model else _branching
    trees = [grow(tree, numbers) for tree in model.get("oblivious_trees", model.get("trees", []))]
    scale, bias = model["scale_and_bias"]
    bias = np.atleast_1d(np.asarray(bias, dtype=np.float64))
    scores = ensemble(x, trees, trees[0].values.shape[1])
    scores = scores if scale == 1.0 else scores * float(scale)
    scores = scores + bias if np.any(bias != 0.0) else scores
    return scores, str(step.get_all_params().get("loss_function", "")).split(":")[0]


def _split(split: dict[str, Any], numbers: dict[int, Any]) -> tuple[int, float, bool]:
    """Column, border and whether NaN stays at or below it."""
    if split.get("split_type") != "FloatFeature":
        raise NotCompiled(f"it splits by {split.get('split_type')}")
    feature = numbers[split["float_feature_index"]]
    above = feature.get("has_nans") and feature["nan_value_treatment"] == "AsTrue"
    return feature["flat_feature_index"], float(np.float32(split["border"])), not above


def _oblivious(tree: dict[str, Any], numbers: dict[int, Any]) -> Tree:
    """Every level asks the same; the answers are the bits of the leaf's number, the first split the lowest."""
    splits = [_split(split, numbers) for split in tree["splits"] or ()]
    depth = len(splits)
    leaves = np.array(tree["leaf_values"], dtype=np.float64).reshape(2**depth, -1)
    inner = 2**depth - 1
    nodes = inner + 2**depth
    level = np.floor(np.log2(np.arange(inner) + 1)).astype(int)
    feature = np.zeros(nodes, dtype=np.int64)
    threshold, missing_left = np.zeros(nodes), np.zeros(nodes, dtype=bool)
    for node, deep in enumerate(level):
        feature[node], threshold[node], missing_left[node] = splits[deep]
    children = np.arange(inner)
    values = np.zeros((nodes, leaves.shape[1]))
    order = [int(f"{path:0{depth}b}"[::-1], 2) if depth else 0 for path in range(2**depth)]
    values[inner:] = leaves[order]
    pad = np.full(2**depth, -1)
    return Tree(
        feature=feature,
        threshold=threshold,
        left=np.concatenate([2 * children + 1, pad]),
        right=np.concatenate([2 * children + 2, pad]),
        missing_left=missing_left,
        values=values,
    )


def _branching(tree: dict[str, Any], numbers: dict[int, Any]) -> Tree:
    rows: list[tuple[int, float, bool, int, int, Any]] = []

    def grow(node: dict[str, Any]) -> int:
        place = len(rows)
        if "value" in node:
            rows.append((0, 0.0, False, -1, -1, np.atleast_1d(np.asarray(node["value"], dtype=np.float64))))
            return place
        rows.append((0, 0.0, False, 0, 0, None))
        left, right = grow(node["left"]), grow(node["right"])
        rows[place] = (*_split(node["split"], numbers), left, right, None)
        return place

    grow(tree)
    width = max(len(row[5]) for row in rows if row[5] is not None)
    return Tree(
        feature=np.array([row[0] for row in rows]),
        threshold=np.array([row[1] for row in rows]),
        missing_left=np.array([row[2] for row in rows]),
        left=np.array([row[3] for row in rows]),
        right=np.array([row[4] for row in rows]),
        values=np.array([np.zeros(width) if row[5] is None else row[5] for row in rows]),
    )
