"""Trees of any library as one `ai.onnx.ml` TreeEnsemble in double precision.

Its sum runs in the order of the trees, from 0, at every batch size; so it repeats a library's own sum to the bit
where that adds tree after tree in doubles (a baseline that comes first is put into the first tree's leaves).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import numpy_helper

from headrace.compiler.graph import INPUT
from headrace.compiler.origin import goes_left_missing, input_thresholds
from headrace.compiler.tensor import Tensor

LEQ, LT, MEMBER = 0, 1, 6


@dataclass(frozen=True)
class Tree:
    """One tree; node 0 is its root, and a node whose `left` is negative is a leaf.

    x[feature] <= threshold goes to the left, NaN where `missing_left` says; `members` makes a node ask instead
    whether x[feature], a whole number, is one of these. `values` [nodes, targets] counts at leaves; target t of the
    tree is added to output ``offset + t``.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    values: np.ndarray
    members: dict[int, list[float]] = field(default_factory=dict)
    offset: int = 0
    strict: bool = False

    def plus(self, first: np.ndarray | float) -> Tree:
        """The tree with a number added before each leaf's value."""
        return replace(self, values=first + self.values)


def ensemble(x: Tensor, trees: Sequence[Tree], targets: int, *, single: bool = False) -> Tensor:
    """The sum of the trees' leaves, for each of `targets` outputs.

    Args:
        single: thresholds, leaves and the sum are float32, and so are the rows (rounded).
    """
    x, trees = (x, list(trees)) if single else _on_input(x, list(trees))
    parts: list[dict[str, np.ndarray]] = []
    members: list[float] = []
    nodes = leaves = 0
    for tree in trees:
        for target in range(tree.values.shape[1]):
            part = _flat(tree, target, nodes, leaves, members)
            nodes += len(part["nodes_featureids"])
            leaves += len(part["leaf_weights"])
            parts.append(part)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    attributes: dict[str, Any] = {name: joined[name].tolist() for name in _INTEGERS}
    real = np.float32 if single else np.float64
    for name, dtype in (("nodes_modes", np.uint8), ("nodes_splits", real), ("leaf_weights", real)):
        attributes[name] = numpy_helper.from_array(joined[name].astype(dtype), name)
    if members:
        attributes["membership_values"] = numpy_helper.from_array(np.array(members, dtype=real), "membership_values")
    name = x.graph.node(
        "TreeEnsemble",
        x.graph.cast(x.name, "float") if single else x.name,
        domain="ai.onnx.ml",
        n_targets=targets,
        aggregate_function=1,
        post_transform=0,
        **attributes,
    )
    name = x.graph.cast(name, "double") if single else name
    return Tensor(x.graph, name, targets, finite=bool(np.all(np.isfinite(joined["leaf_weights"]))))


def _on_input(x: Tensor, trees: list[Tree]) -> tuple[Tensor, list[Tree]]:
    """The same trees, splitting the graph's input itself, where every column they split comes from one of its own."""
    used = {int(f) for tree in trees for f in np.unique(tree.feature[tree.left >= 0])}
    in_sets = {int(tree.feature[node]) for tree in trees for node in tree.members}
    origins = {place: x.origins[place] for place in used}
    if not used or any(o is None for o in origins.values()) or any(tree.strict for tree in trees):
        return x, trees
    if any(origins[place].steps for place in in_sets):  # type: ignore[union-attr]
        return x, trees
    columns = np.concatenate([tree.feature for tree in trees])
    splits = np.concatenate([tree.left >= 0 for tree in trees])
    thresholds = np.concatenate([tree.threshold for tree in trees])
    missing = np.concatenate([tree.missing_left for tree in trees])
    sets = np.concatenate([[node in tree.members for node in range(len(tree.left))] for tree in trees]).astype(bool)
    moved_columns = np.zeros_like(columns)
    for place, origin in origins.items():
        if origin is None:
            continue
        here = splits & (columns == place)
        moved_columns[here] = origin.place
        here &= ~sets
        missing[here] = goes_left_missing(origin, thresholds[here], missing[here])
        thresholds[here] = input_thresholds(origin, thresholds[here])
        x.graph.splits.setdefault(origin.place, []).append(thresholds[here])
    bounds = np.cumsum([len(tree.left) for tree in trees])[:-1]
    parted = (np.split(array, bounds) for array in (moved_columns, thresholds, missing))
    moved = [
        replace(tree, feature=f, threshold=t, missing_left=m) for tree, f, t, m in zip(trees, *parted, strict=True)
    ]
    return Tensor(x.graph, INPUT, 0), moved


_INTEGERS = (
    "nodes_featureids",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_trueleafs",
    "nodes_falseleafs",
    "nodes_missing_value_tracks_true",
    "leaf_targetids",
    "tree_roots",
)


def _flat(tree: Tree, target: int, nodes: int, leaves: int, members: list[float]) -> dict[str, np.ndarray]:
    if len(tree.left) == 1:
        tree = _split_leaf(tree)
    leaf = tree.left < 0
    inner = np.flatnonzero(~leaf)
    place = np.where(leaf, np.cumsum(leaf) - 1 + leaves, np.cumsum(~leaf) - 1 + nodes)
    left, right = tree.left[inner], tree.right[inner]
    modes = np.full(len(inner), LT if tree.strict else LEQ)
    for node in inner:
        if int(node) in tree.members:
            modes[np.searchsorted(inner, node)] = MEMBER
            members.extend([*tree.members[int(node)], np.nan])
    return {
        "nodes_featureids": tree.feature[inner],
        "nodes_modes": modes,
        "nodes_splits": tree.threshold[inner],
        "nodes_truenodeids": place[left],
        "nodes_falsenodeids": place[right],
        "nodes_trueleafs": leaf[left].astype(np.int64),
        "nodes_falseleafs": leaf[right].astype(np.int64),
        "nodes_missing_value_tracks_true": tree.missing_left[inner].astype(np.int64),
        "leaf_targetids": np.full(int(leaf.sum()), tree.offset + target),
        "leaf_weights": tree.values[leaf, target],
        "tree_roots": np.array([nodes]),
    }


def _split_leaf(tree: Tree) -> Tree:
    """A tree that is one leaf, as a node with that leaf on both sides."""
    return replace(
        tree,
        feature=np.zeros(3, dtype=np.int64),
        threshold=np.zeros(3),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        missing_left=np.ones(3, dtype=bool),
        values=np.repeat(tree.values, 3, axis=0),
        members={},
    )
