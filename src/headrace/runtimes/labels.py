"""Labels from probabilities, for classifiers whose label is always the class of the largest one.

So that an unchanged Python object computes once for an answer, and not once for its label and once more for its
probabilities. Where the two largest are nearly equal, rounding could decide otherwise, and the object itself is asked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CLEAR = 1e-6
"""The least difference between the two largest probabilities, far above what rounding does to either."""
_LARGEST = {
    ("sklearn.ensemble", name)
    for name in (
        "HistGradientBoostingClassifier",
        "GradientBoostingClassifier",
        "RandomForestClassifier",
        "ExtraTreesClassifier",
    )
}
_LARGEST |= {("sklearn.tree", "DecisionTreeClassifier"), ("sklearn.linear_model", "LogisticRegression")}
"""By scikit-learn's source: `predict` takes the class of the largest probability, or of the largest score of which the
probabilities are rising functions."""


def has_derived_labels(fitted: Any) -> bool:
    """Whether the labels of a classifier, or of a pipeline that ends with one, follow from its probabilities."""
    while _name(fitted) == ("sklearn.pipeline", "Pipeline"):
        fitted = fitted.steps[-1][1]
    return _name(fitted) in _LARGEST and "predict" not in vars(fitted)


def derived_labels(classes: np.ndarray, shares: np.ndarray) -> np.ndarray | None:
    """The labels of n rows with probabilities of shape [n, classes]; None where a row is not clear."""
    if shares.ndim != 2 or shares.shape[1] != len(classes) or shares.shape[1] < 2:
        return None
    largest = np.partition(shares, -2, axis=1)[:, -2:]
    if not (largest[:, 1] - largest[:, 0] > CLEAR).all():
        return None
    return classes[shares.argmax(axis=1)]


def _name(fitted: Any) -> tuple[str, str]:
    kind = type(fitted)
    return ".".join(kind.__module__.split(".")[:2]), kind.__name__
