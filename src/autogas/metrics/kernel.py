"""Kernel distance of features (KID; Bińkowski et al., ICLR 2018, arXiv:1801.01401): unbiased even for few images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autogas.errors import InputError
from autogas.seeding import numpy_generator

SAMPLE = 5000
"""Images whose features are kept, of sets that hold more."""
PARTS = 10
ROWS = 1000
"""Rows of a kernel matrix at a time."""


@dataclass(frozen=True)
class KernelDistance:
    """An estimate of a squared maximum mean discrepancy, which can fall below 0, and its standard error."""

    value: float
    error: float


class FeatureSample:
    """At most ``SAMPLE`` of the features that come in batches: each image has the same chance, whatever the batches."""

    def __init__(self) -> None:
        self._rng = numpy_generator("feature sample")
        self._keys = np.empty(0)
        self._parts: list[Tensor] = []

    def update(self, features: Tensor) -> None:
        """Add ``[n, d]`` features."""
        batch = features.detach().float().cpu()
        self._keys = np.concatenate([self._keys, self._rng.random(len(batch))])
        self._parts.append(batch)
        if len(self._keys) > 2 * SAMPLE:
            self._shrink()

    def features(self) -> np.ndarray:
        """``[n, d]``, in the order in which they came, in float32."""
        self._shrink()
        return torch.cat(self._parts).numpy() if self._parts else np.empty((0, 0), np.float32)

    def _shrink(self) -> None:
        if len(self._keys) > SAMPLE:
            kept = np.sort(np.argpartition(self._keys, SAMPLE)[:SAMPLE])
            self._keys, self._parts = self._keys[kept], [torch.cat(self._parts)[torch.from_numpy(kept)]]


def kernel_distance(features: np.ndarray, reference: np.ndarray) -> KernelDistance:
    r"""Squared maximum mean discrepancy of two sets of features, lower is better.

    .. math:: \frac{\sum_{i \ne j} k(x_i, x_j)}{m (m - 1)} + \frac{\sum_{i \ne j} k(y_i, y_j)}{n (n - 1)}
              - \frac{2}{m n} \sum_{i, j} k(x_i, y_j), \quad k(a, b) = (a^\top b / d + 1)^3

    All pairs are used, where other tools average subsets of 1,000: the expectation is the same, the noise smaller. Its
    standard error comes from ten parts of both sets; for equal distributions it is three times too large, since the
    noise of this estimator then falls faster than with the root of the number of images.

    Args:
        features: ``[m, d]`` of the images in question, 2 or more.
        reference: ``[n, d]`` of the real images, 2 or more.

    Raises:
        InputError: sets of fewer than two images or of different dimension, or features that are not finite.

    Examples:
        >>> kernel_distance(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])).value  # (1 + 8 - 2 * (1 + 27) / 2)
        -19.0
    """
    features, reference = np.asarray(features), np.asarray(reference)
    if not (np.isfinite(features).all() and np.isfinite(reference).all()):
        raise InputError("features: some are not finite")
    if features.ndim != 2 or features.shape[1:] != reference.shape[1:] or min(len(features), len(reference)) < 2:
        raise InputError(f"features {features.shape} and {reference.shape}: expected 2 or more of equal length")
    x, y = (torch.from_numpy(np.asarray(part, dtype=np.float64)) for part in (features, reference))
    parts = min(PARTS, len(x) // 2, len(y) // 2)
    values = [_distance(x[i::parts], y[i::parts]) for i in range(parts)] if parts > 1 else []
    error = float(np.std(values, ddof=1) / parts**0.5) if values else float("nan")
    return KernelDistance(_distance(x, y), error)


def _distance(x: Tensor, y: Tensor) -> float:
    m, n = len(x), len(y)
    within = _sum(x, x) - float(_kernel(x.square().sum(1), x.shape[1]).sum())
    among = _sum(y, y) - float(_kernel(y.square().sum(1), y.shape[1]).sum())
    return within / (m * (m - 1)) + among / (n * (n - 1)) - 2 * _sum(x, y) / (m * n)


def _sum(x: Tensor, y: Tensor) -> float:
    return sum(float(_kernel(rows @ y.T, x.shape[1]).sum()) for rows in x.split(ROWS))


def _kernel(products: Tensor, dimension: int) -> Tensor:
    return (products / dimension + 1) ** 3
