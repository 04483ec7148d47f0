"""Estimators made of estimators: votes, stacks, bags, boosts, chains, calibration, thresholds."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from headrace.compiler.converters.neighbours import squared_distances
from headrace.compiler.converters.pieces import interpolated
from headrace.compiler.converters.scaling import known_function
from headrace.compiler.converting import Prediction, converts, predicted
from headrace.compiler.table import Table, side_by_side, slots
from headrace.compiler.tensor import Tensor, concat, constant_rows
from headrace.compiler.uncompiled import NotCompiled


def added(parts: list[Tensor]) -> Tensor:
    """The sum, from the left."""
    return reduce(lambda total, part: total + part, parts)


def label_numbers(prediction: Prediction) -> Tensor:
    """The predicted classes themselves, where they are numbers."""
    try:
        classes = np.asarray(prediction.classes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NotCompiled("its inner classes are texts") from error
    return prediction.place().lookup(classes[:, None])


def decision(prediction: Prediction) -> Tensor:
    """What `decision_function` gives."""
    if prediction.margin is None:
        raise NotCompiled("the decision function of a classifier inside it is not covered")
    return prediction.margin


@converts("sklearn.VotingClassifier", takes="table", predicts=True, single=True)
def voting_classifier(step: Any, table: Table) -> Prediction:
    """The mean of the probabilities, or the class with most votes."""
    inner = [predicted(estimator, table) for estimator in step.estimators_]
    weights = step._weights_not_none
    if step.voting == "soft":
        mean = _average([one.probabilities() for one in inner], weights)
        return Prediction(mean, "given", "argmax", step.classes_)
    each = np.eye(len(step.classes_))
    votes = [
        label_numbers(one).lookup(each * (1.0 if weights is None else float(weights[place])))
        for place, one in enumerate(inner)
    ]
    return Prediction(added(votes), "none", "argmax", step.classes_)


@converts("sklearn.VotingRegressor", takes="table", predicts=True, single=True)
def voting_regressor(step: Any, table: Table) -> Prediction:
    """The mean of the answers."""
    values = [predicted(estimator, table).values() for estimator in step.estimators_]
    return Prediction(_average(values, step._weights_not_none), "identity", "value")


def _average(parts: list[Tensor], weights: Any) -> Tensor:
    if weights is None:
        return added(parts) / float(len(parts))
    weighed = [part * float(weight) for part, weight in zip(parts, weights, strict=True)]
    return added(weighed) / float(np.sum(weights))


@converts("sklearn.StackingClassifier", takes="table", predicts=True, single=True)
def stacking_classifier(step: Any, table: Table) -> Prediction:
    """The final estimator on what the others say."""
    final = predicted(step.final_estimator_, slots_of_stack(step, table))
    return final.named(step.classes_)


@converts("sklearn.StackingRegressor", takes="table", predicts=True, single=True)
def stacking_regressor(step: Any, table: Table) -> Prediction:
    """The final estimator on what the others say."""
    return predicted(step.final_estimator_, slots_of_stack(step, table))


@converts("sklearn.StackingClassifier", "sklearn.StackingRegressor", takes="table", single=True)
def stacked(step: Any, table: Table) -> Table:
    """What the estimators say."""
    return slots_of_stack(step, table)


def slots_of_stack(step: Any, table: Table) -> Table:
    """The columns that the final estimator is given."""
    parts: list[Table] = []
    for estimator, method in zip(step.estimators_, step.stack_method_, strict=True):
        parts.append(slots(table.source, _stack_column(step, estimator, method, predicted(estimator, table))))
    return side_by_side([*parts, table] if step.passthrough else parts)


def _stack_column(step: Any, estimator: Any, method: str, one: Prediction) -> Tensor:
    if one.classes is None:
        return one.values()
    match method:
        case "predict_proba":
            shares = one.probabilities()
            return shares.pick([1]) if len(step.classes_) == 2 else shares
        case "decision_function":
            return decision(one)
    return label_numbers(one)


@converts("sklearn.BaggingClassifier", takes="table", predicts=True, single=True)
def bagging_classifier(step: Any, table: Table) -> Prediction:
    """The mean of the probabilities, each on its own columns."""
    parts: list[Tensor] = []
    for estimator, features in zip(step.estimators_, step.estimators_features_, strict=True):
        one = predicted(estimator, _shared(table).pick([int(f) for f in features]))
        parts.append(_spread(one, len(step.classes_)))
    return Prediction(added(parts) / float(len(parts)), "given", "argmax", step.classes_)


def _shared(table: Table) -> Table:
    """The columns as one tensor, so that what is computed of it is computed once."""
    return slots(table.source, table.tensor())


def _spread(one: Prediction, classes: int) -> Tensor:
    known = np.asarray(one.classes, dtype=np.int64)
    table = np.eye(classes)[known]
    if not one.has_probabilities:
        return one.place().lookup(table)
    shares = one.probabilities()
    return shares if len(known) == classes else shares @ table


@converts("sklearn.BaggingRegressor", takes="table", predicts=True, single=True)
def bagging_regressor(step: Any, table: Table) -> Prediction:
    """The mean of the answers, each on its own columns."""
    shared = _shared(table)
    parts = [
        predicted(estimator, shared.pick([int(f) for f in features])).values()
        for estimator, features in zip(step.estimators_, step.estimators_features_, strict=True)
    ]
    return Prediction(added(parts) / float(len(parts)), "identity", "value")


@converts("sklearn.AdaBoostClassifier", takes="table", predicts=True, single=True)
def ada_boost_classifier(step: Any, table: Table) -> Prediction:
    """Weighted votes, and softmax of them."""
    classes = np.asarray(step.classes_)
    count = len(classes)
    if count == 1:
        raise NotCompiled("it knows only one class")
    shared = _shared(table)
    parts: list[Tensor] = []
    for estimator, weight in zip(step.estimators_, step.estimator_weights_, strict=False):
        one = predicted(estimator, shared)
        against = np.full((len(estimator.classes_), count), -1 / (count - 1) * weight)
        against[np.asarray(estimator.classes_)[:, None] == classes[None, :]] = weight
        parts.append(one.place().lookup(against))
    scores = added(parts) / float(np.sum(step.estimator_weights_))
    if count > 2:
        return Prediction(scores / float(count - 1), "softmax", "index", classes, chosen=scores.argmax(), margin=scores)
    single = -scores.pick([0]) + scores.pick([1])
    both = concat([-single, single]) / 2.0
    return Prediction(both, "softmax", "index", classes, chosen=(single > 0.0).doubles(), margin=single)


@converts("sklearn.AdaBoostRegressor", takes="table", predicts=True, single=True)
def ada_boost_regressor(step: Any, table: Table) -> Prediction:
    """The weighted median of the answers."""
    shared = _shared(table)
    values = concat([predicted(estimator, shared).values() for estimator in step.estimators_])
    graph = values.graph
    count = graph.constant([values.width], np.int64)
    ordered, places = graph.nodes("TopK", 2, values.name, count, axis=1, largest=0, sorted=1)
    weights = np.asarray(step.estimator_weights_[: values.width], dtype=np.float64)
    each = graph.node("Gather", graph.constant(weights), places, axis=0)
    sums = Tensor(graph, graph.node("CumSum", each, graph.constant(1, np.int64)), values.width)
    reached = sums >= sums.pick([values.width - 1]) * 0.5
    first = graph.node("ArgMax", reached.doubles().name, axis=1, keepdims=1)
    return Prediction(Tensor(graph, graph.node("GatherElements", ordered, first, axis=1), 1), "identity", "value")


@converts("sklearn.CalibratedClassifierCV", takes="table", predicts=True, single=True)
def calibrated(step: Any, table: Table) -> Prediction:
    """The mean of the calibrated probabilities."""
    parts = [_calibrated(one, table) for one in step.calibrated_classifiers_]
    return Prediction(added(parts) / float(len(parts)), "given", "argmax", step.classes_)


def _calibrated(one: Any, table: Table) -> Tensor:
    inner = predicted(one.estimator, table)
    classes = len(one.classes)
    scored = hasattr(one.estimator, "decision_function")
    if one.method not in ("sigmoid", "isotonic"):
        raise NotCompiled(f"its method {one.method!r} is not covered")
    scores = decision(inner) if scored else inner.probabilities()
    if classes == 2:
        share = _calibration(one.calibrators[0], scores.pick([scores.width - 1]))
        return concat([1.0 - share, share])
    shares = concat([_calibration(c, scores.pick([place])) for place, c in enumerate(one.calibrators)])
    if shares.width != classes or not np.array_equal(one.estimator.classes_, one.classes):
        raise NotCompiled("a class was not in every part of the data")
    whole = shares.total()
    return whole.equals(0.0).where(1.0 / classes, shares / whole)


def _calibration(calibrator: Any, scores: Tensor) -> Tensor:
    if type(calibrator).__name__ == "_SigmoidCalibration":
        return (-(scores * float(calibrator.a_) + float(calibrator.b_))).logistic()
    return isotonic(calibrator, scores).values()


@converts("sklearn.IsotonicRegression", predicts=True)
def isotonic(step: Any, x: Tensor) -> Prediction:
    """Linear between the thresholds."""
    x.require_finite()
    xs, ys = np.asarray(step.X_thresholds_), np.asarray(step.y_thresholds_)
    if step.out_of_bounds == "raise":
        outside = (x < float(xs[0])) | (x > float(xs[-1]))
        x.graph.checks.append(outside.where(np.nan, x * 0.0).name)
    if len(xs) == 1:
        return Prediction(constant_rows(x, np.asarray(ys, dtype=np.float64)), "identity", "value")
    value = interpolated(x, xs, ys)
    if step.out_of_bounds == "nan":
        value = ((x < float(xs[0])) | (x > float(xs[-1]))).where(np.nan, value)
    return Prediction(value, "identity", "value")


@converts("sklearn.FixedThresholdClassifier", "sklearn.TunedThresholdClassifierCV", takes="table", predicts=True)
def threshold(step: Any, table: Table) -> Prediction:
    """The second class from a threshold of its own on."""
    tuned = type(step).__name__ == "TunedThresholdClassifierCV"
    if getattr(step, "pos_label", None) is not None:
        raise NotCompiled("it names the positive class")
    inner = predicted(step.estimator_, table)
    method = step.response_method
    scored = method == "decision_function" or (method == "auto" and not inner.has_probabilities)
    limit = step.best_threshold_ if tuned else step.threshold
    limit = (0.0 if scored else 0.5) if limit == "auto" else float(limit)
    score = decision(inner) if scored else inner.probabilities().pick([1])
    chosen = (score >= limit).doubles()
    if not inner.has_probabilities:
        return Prediction(inner.scores, "none", "index", step.classes_, chosen=chosen)
    return Prediction(inner.probabilities(), "given", "index", step.classes_, chosen=chosen)


@converts("sklearn.SelfTrainingClassifier", takes="table", predicts=True, single=True)
def self_training(step: Any, table: Table) -> Prediction:
    """The estimator fitted last."""
    return predicted(step.estimator_, table)


@converts("sklearn.OneVsRestClassifier", takes="table", predicts=True, single=True)
def one_vs_rest(step: Any, table: Table) -> Prediction:
    """A classifier for each class; the surest decides."""
    if step.multilabel_:
        raise NotCompiled("it predicts several labels at once")
    inner = [predicted(estimator, table) for estimator in step.estimators_]
    if len(inner) == 1:
        return inner[0].named(step.classes_)
    scores = concat([_binary_score(e, one) for e, one in zip(step.estimators_, inner, strict=True)])
    chosen = scores.argmax()
    if not all(one.has_probabilities for one in inner):
        return Prediction(scores, "none", "index", step.classes_, chosen=chosen, margin=scores)
    shares = concat([one.probabilities().pick([1]) for one in inner])
    whole = shares.total()
    nothing = whole.equals(0.0)
    return Prediction(shares / nothing.where(1.0, whole), "given", "index", step.classes_, chosen=chosen, margin=scores)


def _binary_score(estimator: Any, one: Prediction) -> Tensor:
    if hasattr(estimator, "decision_function"):
        return decision(one)
    return one.probabilities().pick([1])


@converts("sklearn.OneVsOneClassifier", takes="table", predicts=True, single=True)
def one_vs_one(step: Any, table: Table) -> Prediction:
    """A classifier for each pair of classes; votes decide, and the sums of scores between equals."""
    if step.pairwise_indices_ is not None:
        raise NotCompiled("it works on a kernel matrix")
    inner = [predicted(estimator, table) for estimator in step.estimators_]
    count = len(step.classes_)
    scores = [_binary_score(e, one) for e, one in zip(step.estimators_, inner, strict=True)]
    if count == 2:
        limit = 0.0 if hasattr(step.estimators_[0], "decision_function") else 0.5
        return Prediction(scores[0], "none", "index", step.classes_, chosen=(scores[0] > limit).doubles())
    first, second = np.triu_indices(count, 1)
    wins, losses, signs = (np.zeros((len(first), count)) for _ in range(3))
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        losses[pair, i] = wins[pair, j] = signs[pair, j] = 1.0
        signs[pair, i] = -1.0
    labels = concat([label_numbers(one) for one in inner])
    votes = (labels @ wins) + ((1.0 - labels) @ losses)
    confidence = concat(scores) @ signs
    final = votes + confidence / ((confidence.absolute() + 1.0) * 3.0)
    return Prediction(final, "none", "argmax", step.classes_)


@converts("sklearn.OutputCodeClassifier", takes="table", predicts=True, single=True)
def output_code(step: Any, table: Table) -> Prediction:
    """The class whose code is nearest to what the classifiers say."""
    scores = [_binary_score(e, predicted(e, table)) for e in step.estimators_]
    near = squared_distances(concat(scores), np.asarray(step.code_book_, dtype=np.float64))
    return Prediction(-near, "none", "argmax", step.classes_)


@converts("sklearn._ConstantPredictor", predicts=True, single=True)
def constant_predictor(step: Any, x: Tensor) -> Prediction:
    """What stands for a classifier where only one class was seen."""
    said = np.asarray(step.y_, dtype=np.float64).ravel()
    rows = constant_rows(x, said)
    return Prediction(rows, "none", "positive", np.array([0, 1]), margin=rows)


@converts("sklearn.MultiOutputRegressor", takes="table", predicts=True, single=True)
def multi_output_regressor(step: Any, table: Table) -> Prediction:
    """A regressor for each output."""
    return Prediction(concat([predicted(e, table).values() for e in step.estimators_]), "identity", "value")


@converts("sklearn.MultiOutputClassifier", takes="table", predicts=True, single=True)
def multi_output_classifier(step: Any, table: Table) -> Prediction:
    """A classifier for each output."""
    inner = [predicted(estimator, table) for estimator in step.estimators_]
    return Prediction(concat([one.place() for one in inner]), "none", "each", labels=tuple(step.classes_))


@converts("sklearn.ClassifierChain", takes="table", predicts=True, single=True)
def classifier_chain(step: Any, table: Table) -> Prediction:
    """Each classifier is given what the ones before it said."""
    if step.chain_method_ != "predict":
        raise NotCompiled(f"its chain method {step.chain_method_!r} is not covered")
    said: list[Tensor] = []
    places: list[Tensor] = []
    for estimator in step.estimators_:
        seen = side_by_side([table, *(slots(table.source, one) for one in said)])
        one = predicted(estimator, seen)
        places.append(one.place())
        said.append(label_numbers(one))
    order = np.argsort(step.order_).tolist()
    labels = tuple(np.asarray(step.classes_[place], dtype=np.float64) for place in range(len(order)))
    return Prediction(concat(places).pick(order), "none", "each", labels=labels)


@converts("sklearn.RegressorChain", takes="table", predicts=True, single=True)
def regressor_chain(step: Any, table: Table) -> Prediction:
    """Each regressor is given what the ones before it said."""
    said: list[Tensor] = []
    for estimator in step.estimators_:
        said.append(predicted(estimator, side_by_side([table, *(slots(table.source, one) for one in said)])).values())
    return Prediction(concat(said).pick(np.argsort(step.order_).tolist()), "identity", "value")


@converts("sklearn.TransformedTargetRegressor", takes="table", predicts=True, single=True)
def transformed_target(step: Any, table: Table) -> Prediction:
    """The regressor's answer, turned back."""
    return Prediction(_turned_back(step.transformer_, predicted(step.regressor_, table)), "identity", "value")


def _turned_back(transformer: Any, inner: Prediction) -> Tensor:
    values = inner.values()
    match type(transformer).__name__:
        case "FunctionTransformer":
            back = transformer.inverse_func
            return values if back is None else known_function(back)(values)
        case "StandardScaler":
            values = values * transformer.scale_ if transformer.with_std else values
            return values + transformer.mean_ if transformer.with_mean else values
        case "MinMaxScaler":
            return (values - transformer.min_) / transformer.scale_
        case "MaxAbsScaler":
            return values * transformer.scale_
        case "RobustScaler":
            values = values * transformer.scale_ if transformer.with_scaling else values
            return values + transformer.center_ if transformer.with_centering else values
        case "QuantileTransformer" if transformer.output_distribution == "uniform":
            return interpolated(values, transformer.references_, transformer.quantiles_[:, 0])
    raise NotCompiled(f"the inverse of {type(transformer).__name__} is not covered")


@converts("sklearn.DummyClassifier", predicts=True, single=True)
def dummy_classifier(step: Any, x: Tensor) -> Prediction:
    """The same for every row."""
    if step.strategy in ("stratified", "uniform") or step.n_outputs_ != 1:
        raise NotCompiled("it answers at random, or several outputs at once")
    shares = np.asarray(step.predict_proba(np.zeros((1, 1))), dtype=np.float64)[0]
    return Prediction(constant_rows(x, shares), "given", "argmax", step.classes_)


@converts("sklearn.DummyRegressor", predicts=True, single=True)
def dummy_regressor(step: Any, x: Tensor) -> Prediction:
    """The same for every row."""
    return Prediction(constant_rows(x, np.asarray(step.constant_, dtype=np.float64)[0]), "identity", "value")
