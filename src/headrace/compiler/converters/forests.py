"""scikit-learn's trees, forests and boosted trees: raw scores to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.compiler.converting import Prediction, converts, transformed
from headrace.compiler.table import Table
from headrace.compiler.tensor import Tensor, concat
from headrace.compiler.trees import Tree, ensemble
from headrace.compiler.uncompiled import NotCompiled


def grown(tree: Any, values: np.ndarray, offset: int = 0) -> Tree:
    """A `sklearn.tree._tree.Tree` with these leaf values of shape [nodes, targets]."""
    missing = getattr(tree, "missing_go_to_left", None)
    return Tree(
        feature=np.maximum(tree.feature, 0),
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        left=tree.children_left,
        right=tree.children_right,
        missing_left=np.zeros(tree.node_count, dtype=bool) if missing is None else np.asarray(missing, dtype=bool),
        values=values,
        offset=offset,
    )


def read_rows(x: Tensor, *, missing: bool) -> Tensor:
    """The rows as scikit-learn's trees read them: rounded to float32, finite but for NaN where it was fitted so."""
    rounded = x.rounded()
    checked = rounded.isnan().where(0.0, rounded) if missing else rounded
    checked.finite = False
    checked.require_finite()
    return rounded


def _accepts_missing(step: Any) -> bool:
    single = step.estimators_[0] if hasattr(step, "estimators_") else step
    single = single.ravel()[0] if isinstance(single, np.ndarray) else single
    return bool(np.any(getattr(single.tree_, "missing_go_to_left", None) is not None)) and _tagged(single)


def _tagged(tree: Any) -> bool:
    return bool(tree.__sklearn_tags__().input_tags.allow_nan)


def _shares(tree: Any, classes: int, output: int = 0) -> np.ndarray:
    return np.ascontiguousarray(tree.value[:, output, :classes], dtype=np.float64)


def _several_outputs(x: Tensor, trees: list[Any], classes: list[np.ndarray]) -> Prediction:
    """The class with the largest share, for each output."""
    places = [
        ensemble(x, [grown(tree, _shares(tree, len(one), output)) for tree in trees], len(one)).argmax()
        for output, one in enumerate(classes)
    ]
    return Prediction(concat(places), "none", "each", labels=tuple(classes))


@converts("sklearn.DecisionTreeClassifier", "sklearn.ExtraTreeClassifier", predicts=True, single=True)
def tree_classifier(step: Any, x: Tensor) -> Prediction:
    """The shares of the classes at the leaf."""
    x = read_rows(x, missing=_accepts_missing(step))
    if step.n_outputs_ != 1:
        return _several_outputs(x, [step.tree_], step.classes_)
    scores = ensemble(x, [grown(step.tree_, _shares(step.tree_, len(step.classes_)))], len(step.classes_))
    return Prediction(scores, "given", "argmax", step.classes_)


@converts("sklearn.DecisionTreeRegressor", "sklearn.ExtraTreeRegressor", predicts=True, single=True)
def tree_regressor(step: Any, x: Tensor) -> Prediction:
    """The value at the leaf, for each output."""
    x = read_rows(x, missing=_accepts_missing(step))
    values = np.ascontiguousarray(step.tree_.value[:, :, 0])
    return Prediction(ensemble(x, [grown(step.tree_, values)], values.shape[1]), "identity", "value")


@converts("sklearn.RandomForestClassifier", "sklearn.ExtraTreesClassifier", predicts=True, single=True)
def forest_classifier(step: Any, x: Tensor) -> Prediction:
    """The mean of the trees' shares, added in their order."""
    x = read_rows(x, missing=_accepts_missing(step))
    if step.n_outputs_ != 1:
        return _several_outputs(x, [tree.tree_ for tree in step.estimators_], step.classes_)
    classes = len(step.classes_)
    trees = [grown(tree.tree_, _shares(tree.tree_, classes)) for tree in step.estimators_]
    return Prediction(ensemble(x, trees, classes) / float(len(trees)), "given", "argmax", step.classes_)


@converts("sklearn.RandomForestRegressor", "sklearn.ExtraTreesRegressor", predicts=True, single=True)
def forest_regressor(step: Any, x: Tensor) -> Prediction:
    """The mean of the trees, added in their order."""
    x = read_rows(x, missing=_accepts_missing(step))
    trees = [grown(tree.tree_, np.ascontiguousarray(tree.tree_.value[:, :, 0])) for tree in step.estimators_]
    return Prediction(ensemble(x, trees, step.n_outputs_) / float(len(trees)), "identity", "value")


@converts("sklearn.IsolationForest", predicts=True, single=True)
def isolation_forest(step: Any, x: Tensor) -> Prediction:
    """-1 where the mean path is short, else 1."""
    x = read_rows(x, missing=_accepts_missing(step))
    trees: list[Tree] = []
    for tree, features, lengths, averages in zip(
        step.estimators_,
        step.estimators_features_,
        step._decision_path_lengths,
        step._average_path_length_per_tree,
        strict=True,
    ):
        depth = np.asarray(lengths, dtype=np.float64) + np.asarray(averages, dtype=np.float64) - 1.0
        one = grown(tree.tree_, depth[:, None])
        trees.append(_on_features(one, features))
    from sklearn.ensemble._iforest import _average_path_length

    denominator = len(trees) * float(_average_path_length(np.array([step._max_samples]))[0])
    depths = ensemble(x, trees, 1)
    ratio = depths / denominator if denominator else depths * 0.0 + 1.0
    scores = -((ratio * -np.log(2.0)).exp())
    outlier = scores - float(step.offset_) < 0.0
    return Prediction(outlier.where(-1.0, constant_one(scores)), "identity", "value", whole=True)


def constant_one(like: Tensor) -> Tensor:
    """1 for each row."""
    return like.equals(like).doubles()


def _on_features(tree: Tree, features: Any) -> Tree:
    features = np.asarray(features)
    return Tree(
        feature=features[tree.feature],
        threshold=tree.threshold,
        left=tree.left,
        right=tree.right,
        missing_left=tree.missing_left,
        values=tree.values,
    )


def _boosted(step: Any, x: Tensor, outputs: int) -> Tensor:
    trees = [
        grown(tree.tree_, step.learning_rate * np.asarray(tree.tree_.value[:, 0, :1], dtype=np.float64), offset=output)
        for stage in step.estimators_
        for output, tree in enumerate(stage)
    ]
    start = _start(step, outputs)
    for output in range(outputs):
        trees[output] = trees[output].plus(start[output])
    return ensemble(x, trees, outputs)


def _start(step: Any, outputs: int) -> np.ndarray:
    """The score before the first tree, the same for every row."""
    if step.init_ == "zero":
        return np.zeros(outputs)
    if type(step.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise NotCompiled(f"it starts from a {type(step.init_).__name__}")
    row = np.zeros((1, step.n_features_in_), dtype=np.float32)
    return np.asarray(step._raw_predict_init(row), dtype=np.float64)[0]


@converts("sklearn.GradientBoostingClassifier", predicts=True, single=True)
def gradient_boosting_classifier(step: Any, x: Tensor) -> Prediction:
    """The start, then each tree times the learning rate."""
    x = read_rows(x, missing=False)
    outputs = step.estimators_.shape[1]
    scores = _boosted(step, x, outputs)
    if outputs > 1:
        return Prediction(scores, "softmax", "argmax", step.classes_, margin=scores)
    doubled = scores * 2.0 if step.loss == "exponential" else scores
    return Prediction(doubled, "logistic", "nonnegative", step.classes_, margin=scores)


@converts("sklearn.GradientBoostingRegressor", predicts=True, single=True)
def gradient_boosting_regressor(step: Any, x: Tensor) -> Prediction:
    """The start, then each tree times the learning rate."""
    return Prediction(_boosted(step, read_rows(x, missing=False), 1), "identity", "value")


@converts("sklearn.HistGradientBoostingClassifier", takes="table", predicts=True, single=True)
def hist_classifier(step: Any, table: Table) -> Prediction:
    """The baseline, then each tree."""
    scores = _hist(step, table)
    if scores.width > 1:
        return Prediction(scores, "softmax", "argmax", step.classes_, margin=scores)
    return Prediction(scores, "logistic", "positive", step.classes_, margin=scores)


@converts("sklearn.HistGradientBoostingRegressor", takes="table", predicts=True, single=True)
def hist_regressor(step: Any, table: Table) -> Prediction:
    """The baseline, then each tree; the exponential of it for a log link."""
    link = type(step._loss.link).__name__
    if link not in ("LogLink", "IdentityLink"):
        raise NotCompiled(f"its link {link} is not covered")
    return Prediction(_hist(step, table), "exp" if link == "LogLink" else "identity", "value")


def _hist(step: Any, table: Table) -> Tensor:
    if step._preprocessor is not None:
        table = transformed(step._preprocessor, table)
    x = table.tensor().require_exact()
    outputs = step.n_trees_per_iteration_
    baseline = np.asarray(step._baseline_prediction, dtype=np.float64).reshape(-1)
    known, places = step._bin_mapper.make_known_categories_bitsets()
    trees = [
        _hist_tree(predictor, output, known, places)
        for stage in step._predictors
        for output, predictor in enumerate(stage)
    ]
    if not trees:
        return constant_one(x.pick([0])) * baseline
    for output in range(outputs):
        trees[output] = trees[output].plus(baseline[output])
    return ensemble(x, trees, outputs)


def _hist_tree(predictor: Any, output: int, known: np.ndarray, places: np.ndarray) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    left = nodes["left"].astype(np.int64)
    right = nodes["right"].astype(np.int64)
    left[leaf] = right[leaf] = -1
    members: dict[int, list[float]] = {}
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
        row = nodes[node]
        chosen = _bits(predictor.raw_left_cat_bitsets[row["bitset_idx"]])
        if row["missing_go_to_left"]:
            chosen = chosen | ~_bits(known[places[row["feature_idx"]]])
        members[node] = np.flatnonzero(chosen).astype(float).tolist()
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=left,
        right=right,
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"].astype(np.float64)[:, None],
        members=members,
        offset=output,
    )


def _bits(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(np.asarray(words, dtype="<u4").view(np.uint8), bitorder="little").astype(bool)


@converts("sklearn.RandomTreesEmbedding", single=True)
def trees_embedding(step: Any, x: Tensor) -> Tensor:
    """One column for each leaf of each tree: 1 where the row ends there."""
    x = read_rows(x, missing=False)
    columns: list[Tensor] = []
    for tree, categories in zip(step.estimators_, step.one_hot_encoder_.categories_, strict=True):
        numbers = np.arange(tree.tree_.node_count, dtype=np.float64)[:, None]
        place = ensemble(x, [grown(tree.tree_, numbers)], 1)
        columns.append(place.equals(np.asarray(categories, dtype=np.float64)).doubles())
    return concat(columns)
