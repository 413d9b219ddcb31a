"""Fréchet distance of Gaussians fitted to features (Heusel et al., NeurIPS 2017, arXiv:1706.08500)."""

from __future__ import annotations

import operator
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autogas.errors import InputError
from autogas.files import check_zip_size, replacing
from autogas.metrics.kernel import FeatureSample

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Mean and covariance of the features of a set of images.

    Attributes:
        mu: mean, ``[d]``.
        sigma: unbiased covariance, ``[d, d]``.
        count: images; None when a file does not say.
        extractor: name and version of what made the features; None when a file does not say.
        source: what the images are; None when a file does not say.
        sample: features of randomly chosen images, ``[m, d]``, for the kernel distance; None when a file has none.
        size: height and width of the images; None when a file does not say.
    """

    mu: Array
    sigma: Array
    count: int | None = None
    extractor: str | None = None
    source: str | None = None
    sample: NDArray[np.float32] | None = None
    size: tuple[int, int] | None = None

    @property
    def rank(self) -> int:
        """Upper bound of the rank of ``sigma``: n samples give n - 1 at most."""
        return len(self.mu) if self.count is None else min(len(self.mu), self.count - 1)

    @cached_property
    def root(self) -> Array:
        """``R [d, rank]`` with ``R Rᵀ = sigma``; computed once, so that comparing many sets with this one is quick."""
        variances, directions = np.linalg.eigh(self.sigma)
        root: Array = directions[:, -self.rank :] * np.sqrt(np.maximum(variances[-self.rank :], 0))
        return root

    def save(self, path: str | Path) -> None:
        """Write the field's ``.npz``: ``mu`` and ``sigma``, and beside them what else is known."""
        known = {name: getattr(self, name) for name in ("count", "extractor", "source", "sample", "size")}
        extra: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(file, mu=self.mu, sigma=self.sigma, **extra)

    @classmethod
    def load(cls, path: str | Path) -> FeatureStatistics:
        """Read what ``save``, pytorch-fid or torch-fidelity's users wrote.

        Raises:
            InputError: the file cannot be read, or holds no mean and covariance.
        """
        try:
            check_zip_size(Path(path))
            with Path(path).open("rb") as opened, np.load(opened) as file:  # numpy leaves a damaged file open
                content = {name: file[name] for name in file.files}
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"statistics {str(path)!r}: not a readable .npz file ({error})") from None
        if not {"mu", "sigma"} <= content.keys():
            raise InputError(f"statistics {str(path)!r}: has {', '.join(content) or 'nothing'}, expected mu and sigma")
        try:
            mu, sigma = (np.asarray(content[name], dtype=np.float64) for name in ("mu", "sigma"))
            count = operator.index(content["count"].item()) if "count" in content else None
            size = _size(content["size"]) if "size" in content else None
            sample = np.asarray(content["sample"], dtype=np.float32) if "sample" in content else None
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"statistics {str(path)!r}: not numbers ({error})") from None
        fault = _fault(mu, sigma, count, sample)
        if fault:
            raise InputError(f"statistics {str(path)!r}: {fault}")
        extractor, source = (str(content[name]) if name in content else None for name in ("extractor", "source"))
        return cls(mu, sigma, count, extractor, source, sample, size)


def _size(content: NDArray[Any]) -> tuple[int, int]:
    """Height and width, which one number says of squares."""
    numbers = [operator.index(number) for number in content.ravel().tolist()]
    height, width = numbers * 2 if len(numbers) == 1 else numbers
    return height, width


def _fault(mu: Array, sigma: Array, count: int | None, sample: NDArray[np.float32] | None) -> str:
    """Why these are no statistics, or nothing."""
    if mu.ndim != 1 or not len(mu) or sigma.shape != (len(mu), len(mu)):
        return f"mu of shape {mu.shape} and sigma of shape {sigma.shape}, expected (d,) and (d, d)"
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        return "values that are not finite"
    if not np.allclose(sigma, sigma.T, rtol=1e-5, atol=1e-8 * np.abs(sigma).max()) or sigma.diagonal().min() < 0:
        return "sigma is no covariance: expected a symmetric matrix with variances of 0 or more"
    if count is not None and count < 2:
        return f"count {count}, expected 2 or more"
    if sample is not None and (sample.shape[1:] != mu.shape or len(sample) < 2 or not np.isfinite(sample).all()):
        return f"a sample of shape {sample.shape}, expected 2 or more finite rows of {len(mu)}"
    return ""


class FeatureAccumulator:
    """Mean and covariance of features that come in batches, in float64 on the device of the features, and a sample.

    Batches are merged by the update of Chan, Golub & LeVeque (1983), which is stable where sums of squares cancel.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sample = FeatureSample()
        self._mean: torch.Tensor | None = None
        self._scatter: torch.Tensor | None = None

    def update(self, features: torch.Tensor) -> None:
        """Add ``[n, d]`` features; raises ``InputError`` for some that are not finite."""
        batch = features.detach().double()
        if not bool(batch.isfinite().all()):
            raise InputError(f"features of images {self.count} to {self.count + len(batch) - 1}: some are not finite")
        self._sample.update(features)
        mean = batch.mean(0)
        centred = batch - mean
        if self._mean is None or self._scatter is None:
            self._mean, self._scatter = torch.zeros_like(mean), centred.new_zeros(len(mean), len(mean))
        total = self.count + len(batch)
        moved = mean - self._mean
        self._scatter.addmm_(centred.T, centred)
        self._scatter.addr_(moved, moved, alpha=self.count * len(batch) / total)
        self._mean += moved * (len(batch) / total)
        self.count = total

    def statistics(
        self, *, extractor: str | None = None, source: str | None = None, size: tuple[int, int] | None = None
    ) -> FeatureStatistics:
        """Statistics of everything so far; raises ``InputError`` for fewer than two images: they have no covariance."""
        if self._mean is None or self._scatter is None or self.count < 2:
            where = "" if source is None else f"{source!r}: "
            raise InputError(f"{where}{self.count} images: a covariance needs 2 or more")
        mu, sigma = (value.cpu().numpy() for value in (self._mean, self._scatter / (self.count - 1)))
        return FeatureStatistics(mu, sigma, self.count, extractor, source, self._sample.features(), size)


def frechet_distance(statistics: FeatureStatistics, reference: FeatureStatistics) -> float:
    r"""Squared 2-Wasserstein distance of two Gaussians, 0 or more, lower is better.

    .. math:: |\mu_1 - \mu_2|^2 + \mathrm{tr}\,\Sigma_1 + \mathrm{tr}\,\Sigma_2
              - 2\,\mathrm{tr}\,(R^\top \Sigma_1 R)^{1/2}, \quad R R^\top = \Sigma_2

    The last trace is that of :math:`(\Sigma_1 \Sigma_2)^{1/2}`, from the eigenvalues of a symmetric matrix: no complex
    numbers, no matrix square root that fails for fewer samples than dimensions. Eigenvalues beyond the rank that the
    numbers of samples allow are rounding errors, whose roots are not small, and are left out.

    Args:
        statistics: of the images in question.
        reference: of the real images; its root is computed once.

    Raises:
        InputError: features of different dimension or by different extractors.

    Examples:
        >>> one = FeatureStatistics(np.zeros(2), np.eye(2))
        >>> round(frechet_distance(FeatureStatistics(np.array([3.0, 4.0]), 4 * np.eye(2)), one), 9)
        27.0
    """
    if len(statistics.mu) != len(reference.mu):
        raise InputError(
            f"statistics of {len(statistics.mu)} features against a reference of {len(reference.mu)}: "
            "expected those of one extractor"
        )
    if None not in (statistics.extractor, reference.extractor) and statistics.extractor != reference.extractor:
        raise InputError(
            f"statistics by {statistics.extractor} against a reference by {reference.extractor}: "
            "expected those of one extractor"
        )
    inner = reference.root.T @ statistics.sigma @ reference.root
    eigenvalues = np.linalg.eigvalsh(inner)[-statistics.rank :]
    cross = float(np.sqrt(np.maximum(eigenvalues, 0)).sum())
    moved = statistics.mu - reference.mu
    distance = moved @ moved + np.trace(statistics.sigma) + np.trace(reference.sigma) - 2 * cross
    return max(float(distance), 0.0)
