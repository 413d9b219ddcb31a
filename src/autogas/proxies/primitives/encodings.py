"""Encodings: at most one binariser (FEATURE to BINARY), then one kernel (to MATRIX).

Binarisers are thresholds that the engine applies; kernels are functions of the sufficient statistics
``G = B Bᵀ [L, N, N]``, ``s = B 1 [L, N]`` and ``D [L]`` of each layer's flattened feature ``B [N, D]``, all float64.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from autogas.proxies.primitives.registry import REGISTRY, Stage, primitive

binariser = functools.partial(primitive, Stage.BINARISER)
kernel = functools.partial(primitive, Stage.KERNEL)


@binariser(formula=r"\mathrm{sgn}(x)", edge="zero stays zero")
def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return x.sign()


@binariser(formula=r"[x>0]", edge="NaN counts as below", zero_one=True)
def above_zero(x: Tensor) -> Tensor:
    """1 where positive."""
    return above(x, 0.0)


@binariser(formula=r"[x>\bar x]", edge="a non-finite mean gives zeros", elementwise=False, zero_one=True)
def above_mean(x: Tensor) -> Tensor:
    """1 where above the mean of the whole batch."""
    return above(x, float(x.mean(dtype=torch.float64)))


@binariser(
    formula=r"[x>\mathrm{med}\,x]",
    edge="the lower of two middle values is the median",
    elementwise=False,
    zero_one=True,
)
def above_median(x: Tensor) -> Tensor:
    """1 where above the (lower) median of the whole batch."""
    return above(x, float(x.median()))


def above(x: Tensor, threshold: Tensor | float) -> Tensor:
    """``x > threshold`` as numbers of ``x``'s own type, in one pass over memory."""
    return torch.gt(x, threshold, out=torch.empty_like(x))


def zero_one(binariser: str | None) -> bool:
    """Whether features after a binariser, or none, are zeros and ones, as the Hamming kernel needs."""
    return binariser is not None and REGISTRY[Stage.BINARISER][binariser].zero_one


@kernel(formula=r"x x^\top", edge="constant feature gives a matrix of rank one")
def gram(G: Tensor, _s: Tensor, _d: Tensor) -> Tensor:
    """Gram matrix."""
    return G


@kernel(formula=r"\mathrm{corr}(x)", edge="a sample without variance has correlation 0 with others, 1 with itself")
def pearson(G: Tensor, s: Tensor, D: Tensor) -> Tensor:
    """Pearson correlation between samples."""
    return _unit_diagonal(_centred(G, s, D), 1e-6 * G.diagonal(dim1=1, dim2=2))


@kernel(formula=r"\mathrm{cov}(x)", edge="constant feature gives zeros")
def covariance(G: Tensor, s: Tensor, D: Tensor) -> Tensor:
    """Covariance between samples over the D entries (biased)."""
    return _centred(G, s, D) / D[:, None, None]


@kernel(
    formula=r"\tfrac1D(x-\bar x_n)(x-\bar x_n)^\top", edge="samples that are all alike give zeros", beyond_paper=True
)
def deviation(G: Tensor, _s: Tensor, D: Tensor) -> Tensor:
    """Gram matrix of what sets the samples apart: each entry less its mean over the batch, divided by D.

    Centred kernel alignment (Kornblith et al., 2019) compares these. The direction of the mean is always null.
    """
    mean = G.mean(dim=2, keepdim=True)
    return (G - mean - mean.mT + mean.mean(dim=1, keepdim=True)) / D[:, None, None]


@kernel(formula=r"\cos(x)", edge="a zero sample has cosine 0 with others, 1 with itself")
def cosine(G: Tensor, s: Tensor, _d: Tensor) -> Tensor:
    """Cosine similarity between samples."""
    return _unit_diagonal(G, torch.zeros_like(s))


@kernel(formula=r"x x^\top+(1-x)(1-x)^\top", edge="constant feature gives a matrix of rank one", needs="binary")
def hamming(G: Tensor, s: Tensor, D: Tensor) -> Tensor:
    """Number of equal entries, D minus the Hamming distance (NASWOT's kernel); needs 0/1 features."""
    return 2 * G - s[:, :, None] - s[:, None, :] + D[:, None, None]


@kernel(formula=r"\lVert x_i-x_j\rVert^2", edge="equal samples give zero")
def distance(G: Tensor, _s: Tensor, _d: Tensor) -> Tensor:
    """Squared Euclidean distance between samples."""
    squares = G.diagonal(dim1=1, dim2=2)
    return squares[:, :, None] + squares[:, None, :] - 2 * G


def _centred(G: Tensor, s: Tensor, D: Tensor) -> Tensor:
    return G - s[:, :, None] * s[:, None, :] / D[:, None, None]


def _unit_diagonal(K: Tensor, rounding: Tensor) -> Tensor:
    """``K_ij / sqrt(K_ii K_jj)``; a diagonal entry within ``rounding [L, N]`` of zero is none."""
    variance = K.diagonal(dim1=1, dim2=2)
    dead = variance <= rounding  # false for NaN, which must show
    root = torch.where(dead, 1.0, variance).sqrt()
    scaled = torch.where(dead[:, :, None] | dead[:, None, :], 0.0, K / (root[:, :, None] * root[:, None, :]))
    ones = scaled.diagonal(dim1=1, dim2=2)
    ones.copy_(torch.where(torch.isfinite(variance), 1.0, float("nan")))
    return scaled
