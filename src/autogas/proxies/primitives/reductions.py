"""Reductions: a symmetric MATRIX ``[L, N, N]`` of each layer to one value a layer ``[L]``, in float64.

Spectral ones take the eigenvalues ``[L, N]``, ascending, which the engine computes once for each kernel. Those that
compare layers take a second matrix for each, of the first, the next or the last layer of the part that is read, and
both have a Frobenius norm of 1.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from autogas.proxies.primitives.registry import Stage, primitive

spectral = functools.partial(primitive, Stage.REDUCTION, needs="eigenvalues")
entrywise = functools.partial(primitive, Stage.REDUCTION, needs="matrix")
ALL_ZERO = "an all-zero matrix is not finite"
comparing = functools.partial(primitive, Stage.REDUCTION, edge=ALL_ZERO, beyond_paper=True)
EPSILON = torch.finfo(torch.float64).eps
NULL = 1e-5
"""Share of the largest eigenvalue below which one is rounding of float32 sums."""


def _floored(eigenvalues: Tensor) -> Tensor:
    """Magnitudes, those below the numerical rank tolerance ``N eps max`` raised to it."""
    magnitude = eigenvalues.abs()
    floor = magnitude.amax(dim=1, keepdim=True) * eigenvalues.shape[1] * EPSILON
    return magnitude.maximum(floor)


def _shares(eigenvalues: Tensor) -> Tensor:
    magnitude = eigenvalues.abs()
    return magnitude / magnitude.sum(dim=1, keepdim=True)


@spectral(formula=r"\ln|\det x|", edge="a null direction counts ln(N eps max); " + ALL_ZERO)
def slogdet(eigenvalues: Tensor) -> Tensor:
    """Logarithm of the absolute determinant."""
    return _floored(eigenvalues).log().sum(dim=1)


@spectral(formula=r"\ln\kappa(x)", edge="a singular matrix gives -ln(N eps); " + ALL_ZERO)
def log_condition(eigenvalues: Tensor) -> Tensor:
    """Logarithm of the condition number."""
    magnitude = _floored(eigenvalues)
    return magnitude.amax(dim=1).log() - magnitude.amin(dim=1).log()


@spectral(formula=r"\lambda_{\max}(x)", edge="finite on finite input")
def eigenvalue_max(eigenvalues: Tensor) -> Tensor:
    """Largest eigenvalue."""
    return eigenvalues[:, -1]


@spectral(formula=r"\lambda_{\min}(x)", edge="finite on finite input")
def eigenvalue_min(eigenvalues: Tensor) -> Tensor:
    """Smallest eigenvalue."""
    return eigenvalues[:, 0]


@spectral(
    formula=r"\min\{\lambda(x)>10^{-5}\lambda_{\max}(x)\}",
    edge="no positive eigenvalue: not finite; " + ALL_ZERO,
    beyond_paper=True,
)
def eigenvalue_floor(eigenvalues: Tensor) -> Tensor:
    """Smallest eigenvalue that is not zero: above the largest times 1e-5, well over what float32 sums can tell."""
    positive = eigenvalues > NULL * eigenvalues[:, -1:].clamp_min(0)
    smallest: Tensor = torch.where(positive, eigenvalues, torch.inf).amin(dim=1)
    return torch.where(positive.any(dim=1), smallest, torch.nan)


@spectral(
    formula=r"\ln(\lambda_{\max}(x)/\lambda_{>0}(x))",
    edge="no positive eigenvalue: not finite; " + ALL_ZERO,
    beyond_paper=True,
)
def log_range(eigenvalues: Tensor) -> Tensor:
    """Logarithm of the largest eigenvalue over the smallest that is not zero: a condition number without null space."""
    return eigenvalues[:, -1].log() - eigenvalue_floor(eigenvalues).log()


@spectral(formula=r"\ln\det(1+x)", edge="negative eigenvalues count zero", beyond_paper=True)
def coding_rate(eigenvalues: Tensor) -> Tensor:
    """Coding rate (nats) of the samples at unit distortion (Yu et al., 2020); of features per entry with covariance."""
    return eigenvalues.clamp_min(0).log1p().sum(dim=1)


@spectral(formula=r"\mathrm{std}\,\lambda(x)", edge="finite on finite input")
def eigenvalue_std(eigenvalues: Tensor) -> Tensor:
    """Standard deviation of the eigenvalues."""
    return eigenvalues.std(dim=1, correction=0)


@spectral(formula=r"H(\lambda/\sum\lambda)", edge=ALL_ZERO)
def eigenvalue_entropy(eigenvalues: Tensor) -> Tensor:
    """Entropy (nats) of the normalised spectrum, 0 to ln N."""
    entropy: Tensor = torch.special.entr(_shares(eigenvalues)).sum(dim=1)
    return entropy


@spectral(formula=r"(\sum|\lambda|)^2/\sum\lambda^2", edge=ALL_ZERO)
def effective_rank(eigenvalues: Tensor) -> Tensor:
    """Participation ratio of the spectrum, 1 to N."""
    return 1 / _shares(eigenvalues).square().sum(dim=1)


@spectral(formula=r"\lVert x\rVert_2", edge="finite on finite input")
def spectral_norm(eigenvalues: Tensor) -> Tensor:
    """Largest magnitude of an eigenvalue (numpy's matrix 2-norm)."""
    return eigenvalues.abs().amax(dim=1)


@spectral(formula=r"\lVert x\rVert_*", edge="finite on finite input")
def nuclear_norm(eigenvalues: Tensor) -> Tensor:
    """Sum of the magnitudes of the eigenvalues."""
    return eigenvalues.abs().sum(dim=1)


@entrywise(formula=r"\mathrm{tr}\,x", edge="finite on finite input")
def trace(K: Tensor) -> Tensor:
    """Sum of the diagonal."""
    return K.diagonal(dim1=1, dim2=2).sum(dim=1)


@entrywise(formula=r"\lVert x\rVert_F", edge="finite on finite input")
def frobenius(K: Tensor) -> Tensor:
    """Square root of the sum of squares."""
    return K.square().sum(dim=(1, 2)).sqrt()


@entrywise(formula=r"\overline{\ln|x|}", edge="zero entries count ln 1 = 0")
def abslog(K: Tensor) -> Tensor:
    """Mean logarithm of the magnitude of the entries."""
    return torch.where(K == 0, 1.0, K.abs()).log().mean(dim=(1, 2))


@entrywise(formula=r"\overline{|x|}", edge="finite on finite input")
def l1_norm(K: Tensor) -> Tensor:
    """Mean magnitude of the entries."""
    return K.abs().mean(dim=(1, 2))


@entrywise(formula=r"\overline{x}", edge="finite on finite input")
def normalized_sum(K: Tensor) -> Tensor:
    """Mean of the entries."""
    return K.mean(dim=(1, 2))


@entrywise(formula=r"\overline{x_{i\neq j}}", edge="finite on finite input")
def off_diagonal(K: Tensor) -> Tensor:
    """Mean of the entries off the diagonal."""
    n = K.shape[1]
    return (K.sum(dim=(1, 2)) - trace(K)) / (n * (n - 1))


@entrywise(formula=r"\mathrm{std}\,x", edge="finite on finite input")
def entry_std(K: Tensor) -> Tensor:
    """Standard deviation of the entries."""
    return K.flatten(1).std(dim=1, correction=0)


def _alignment(K: Tensor, other: Tensor) -> Tensor:
    """Cosine between matrices of unit norm, by way of their distance: exactly 1 for equal ones."""
    return 1 - (K - other).square().sum(dim=(1, 2)) / 2


@comparing(formula=r"\cos(x,x_1)", needs="first")
def cka_first(K: Tensor, first: Tensor) -> Tensor:
    """Alignment of the kernel with that of the first layer, 1 for itself: with ``deviation`` linear CKA.

    Centred kernel alignment (Kornblith et al., 2019, eq. 3) says how much of the order among samples two layers share.
    """
    return _alignment(K, first)


@comparing(formula=r"\cos(x,x_{l+1})", needs="next")
def cka_next(K: Tensor, following: Tensor) -> Tensor:
    """Alignment of the kernel with that of the next layer, 1 for the last: with ``deviation`` linear CKA."""
    return _alignment(K, following)


@comparing(formula=r"\cos(x,x_L)", needs="last")
def cka_last(K: Tensor, last: Tensor) -> Tensor:
    """Alignment of the kernel with that of the last layer, 1 for itself: with ``deviation`` linear CKA."""
    return _alignment(K, last)
