"""Multilayer perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.compiler.converting import Prediction, converts
from headrace.compiler.tensor import Tensor
from headrace.compiler.uncompiled import NotCompiled

_ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": lambda x: x.derive("Relu"),
    "tanh": Tensor.tanh,
    "logistic": Tensor.logistic,
}


def _layers(step: Any, x: Tensor) -> Tensor:
    x.require_finite()
    last = len(step.coefs_) - 1
    for place, (weights, bias) in enumerate(zip(step.coefs_, step.intercepts_, strict=True)):
        x = (x @ np.ascontiguousarray(weights, dtype=np.float64)) + np.asarray(bias, dtype=np.float64)
        x = x if place == last else _ACTIVATIONS[step.activation](x)
    return x


@converts("sklearn.MLPRegressor", predicts=True)
def perceptron_regressor(step: Any, x: Tensor) -> Prediction:
    """The last layer."""
    if step.out_activation_ not in ("identity", "exp"):
        raise NotCompiled(f"its output activation {step.out_activation_!r} is not covered")
    return Prediction(_layers(step, x), "exp" if step.out_activation_ == "exp" else "identity", "value")


@converts("sklearn.MLPClassifier", predicts=True)
def perceptron_classifier(step: Any, x: Tensor) -> Prediction:
    """The last layer through the logistic function or softmax."""
    if step._label_binarizer.y_type_ not in ("binary", "multiclass"):
        raise NotCompiled("it predicts several labels at once")
    scores = _layers(step, x)
    if step.out_activation_ == "logistic":
        return Prediction(scores, "logistic", "positive", step.classes_)
    return Prediction(scores, "softmax", "argmax", step.classes_)
