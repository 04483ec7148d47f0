"""Projections: a matrix product before or after a shift, and the kernels that some are built on."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.compiler.converters.kernels import kernel
from headrace.compiler.converting import converts
from headrace.compiler.tensor import Tensor, concat
from headrace.compiler.uncompiled import NotCompiled


def project(x: Tensor, weights: Any) -> Tensor:
    """x · weights, of shape [n, columns of weights]."""
    return x.require_finite() @ np.ascontiguousarray(np.asarray(weights, dtype=np.float64))


@converts("sklearn.PCA", "sklearn.IncrementalPCA")
def principal_components(step: Any, x: Tensor) -> Tensor:
    """x · componentsᵀ less that of the mean, over the standard deviations where whitened."""
    out = project(x, step.components_.T) - (np.reshape(step.mean_, (1, -1)) @ step.components_.T)[0]
    if step.whiten:
        out = out / np.maximum(np.sqrt(step.explained_variance_), np.finfo(np.float64).eps)
    return out


@converts(
    "sklearn.TruncatedSVD",
    "sklearn.NeighborhoodComponentsAnalysis",
    "sklearn.GaussianRandomProjection",
    "sklearn.SparseRandomProjection",
)
def projection(step: Any, x: Tensor) -> Tensor:
    """x · componentsᵀ."""
    components = step.components_
    components = components.toarray() if hasattr(components, "toarray") else components
    return project(x, components.T)


@converts("sklearn.FastICA")
def independent_components(step: Any, x: Tensor) -> Tensor:
    """(x - mean) · componentsᵀ."""
    return project(x - step.mean_ if step.whiten else x, step.components_.T)


@converts("sklearn.FactorAnalysis")
def factors(step: Any, x: Tensor) -> Tensor:
    """(x - mean) times the posterior of the factors."""
    scaled = step.components_ / step.noise_variance_
    covariance = np.linalg.inv(np.eye(len(step.components_)) + scaled @ step.components_.T)
    return project(x - step.mean_, scaled.T) @ covariance


@converts("sklearn.LinearDiscriminantAnalysis")
def discriminant_axes(step: Any, x: Tensor) -> Tensor:
    """The discriminant axes, as many as were asked for."""
    if step.solver == "lsqr":
        raise NotCompiled("its solver 'lsqr' has no transform")
    x = x - step.xbar_ if step.solver == "svd" else x
    return project(x, step.scalings_[:, : step._max_components])


@converts("sklearn.PLSRegression", "sklearn.PLSCanonical", "sklearn.CCA", "sklearn.PLSSVD")
def latent_scores(step: Any, x: Tensor) -> Tensor:
    """(x - mean) / deviation · rotations."""
    rotations = step.x_rotations_ if hasattr(step, "x_rotations_") else step.x_weights_
    return project((x - step._x_mean) / step._x_std, rotations)


@converts("sklearn.RBFSampler")
def random_fourier(step: Any, x: Tensor) -> Tensor:
    """cos(x · weights + offset) · sqrt(2 / components)."""
    angles = project(x, step.random_weights_) + step.random_offset_
    return angles.cosine() * float((2.0 / step.n_components) ** 0.5)


@converts("sklearn.Nystroem")
def nystroem(step: Any, x: Tensor) -> Tensor:
    """The kernel to the landmarks, times their normalisation."""
    gamma = 1.0 / step.components_.shape[1] if step.gamma is None else step.gamma
    near = kernel(x, step.components_, step.kernel, gamma, step.degree, step.coef0)
    return near @ np.ascontiguousarray(step.normalization_.T)


@converts("sklearn.KernelPCA")
def kernel_components(step: Any, x: Tensor) -> Tensor:
    """The centred kernel to the rows of the fit, times the scaled eigenvectors."""
    near = kernel(x, step.X_fit_, step.kernel, step.gamma_, step.degree, step.coef0)
    centerer = step._centerer
    mean = near.total() / float(near.width)
    near = near - centerer.K_fit_rows_ - mean + float(centerer.K_fit_all_)
    scaled = np.zeros_like(step.eigenvectors_)
    there = np.flatnonzero(step.eigenvalues_)
    scaled[:, there] = step.eigenvectors_[:, there] / np.sqrt(step.eigenvalues_[there])
    return near @ scaled


@converts("sklearn.FeatureAgglomeration")
def agglomeration(step: Any, x: Tensor) -> Tensor:
    """The mean of each cluster of columns."""
    if step.pooling_func is not np.mean:
        raise NotCompiled("its pooling function is not numpy.mean")
    labels = np.asarray(step.labels_)
    groups = np.unique(labels)
    weights = np.column_stack([(labels == group).astype(np.float64) for group in groups])
    return project(x, weights) / weights.sum(axis=0)


@converts("sklearn.BernoulliRBM")
def boltzmann(step: Any, x: Tensor) -> Tensor:
    """The probability of each hidden unit."""
    return (project(x, step.components_.T) + step.intercept_hidden_).logistic()


@converts("sklearn.SparsePCA", "sklearn.MiniBatchSparsePCA")
def sparse_components(step: Any, x: Tensor) -> Tensor:
    """The ridge regression of (x - mean) on the components, which is a product with one matrix."""
    components = np.asarray(step.components_, dtype=np.float64)
    gram = components @ components.T + step.ridge_alpha * np.eye(len(components))
    return project(x - step.mean_, np.linalg.solve(gram, components).T)


@converts("sklearn.SkewedChi2Sampler")
def skewed_chi_squared(step: Any, x: Tensor) -> Tensor:
    """cos(log(x + skewedness) · weights + offset) · sqrt(2 / components)."""
    x.require_finite()
    shifted = x + float(step.skewedness)
    x.graph.checks.append((x <= -float(step.skewedness)).where(np.nan, x * 0.0).total().name)
    angles = project(shifted.log(), step.random_weights_) + step.random_offset_
    return angles.cosine() * float(np.sqrt(2.0) / np.sqrt(step.n_components))


@converts("sklearn.AdditiveChi2Sampler")
def additive_chi_squared(step: Any, x: Tensor) -> Tensor:
    """Samples of the Fourier transform of the additive chi-squared kernel, 0 where x is 0."""
    x.require_finite()
    x.graph.checks.append((x < 0.0).where(np.nan, x * 0.0).total().name)
    interval = (
        getattr(step, "sample_interval_", None) or step.sample_interval or {1: 0.8, 2: 0.5, 3: 0.4}[step.sample_steps]
    )
    nothing = x.equals(0.0)
    positive = nothing.where(1.0, x)
    parts = [(x * float(interval)).sqrt()]
    logs = positive.log() * float(interval)
    scaled = positive * float(2 * interval)
    for place in range(1, step.sample_steps):
        factor = (scaled / float(np.cosh(np.pi * place * interval))).sqrt()
        parts.append(nothing.where(0.0, factor * (logs * float(place)).cosine()))
        parts.append(nothing.where(0.0, factor * (logs * float(place)).sine()))
    return concat(parts)
