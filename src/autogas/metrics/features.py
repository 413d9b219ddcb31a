"""What a feature extractor is, and those that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor

from autogas.errors import InputError, unknown

EXTRACTORS = ("cifarnet", "inception")


class FeatureExtractor(Protocol):
    """A trained classifier whose features are compared and whose logits are scored.

    Attributes:
        name: part of the names of its metrics.
        dim: length of a feature vector.
        version: what else determines the features: weights, library.
        resizing: what happens to images of another size.
    """

    name: str
    dim: int
    version: str
    resizing: str

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``[N, 3, H, W]``, uint8 or in [0, 1], to features ``[N, dim]`` and logits ``[N, classes]``."""


def get_extractor(name: str, *, inception_weights: str | Path | None = None, device: str = "cpu") -> FeatureExtractor:
    """The extractor ``cifarnet`` (ships with the package) or ``inception`` (that of FID and IS).

    Args:
        name: which.
        inception_weights: file of Inception's weights, so that nothing is downloaded.
        device: where it runs.

    Raises:
        InputError: an unknown name, or weights that cannot be had.
    """
    if name == "inception":
        from autogas.metrics.inception import InceptionExtractor

        return InceptionExtractor(None if inception_weights is None else Path(inception_weights), device)
    if inception_weights is not None:
        raise InputError(
            f"--inception-weights {str(inception_weights)!r} with extractor {name!r}: accepted with inception"
        )
    if name == "cifarnet":
        from autogas.metrics.cifarnet import CifarNetExtractor

        return CifarNetExtractor(device)
    raise unknown("extractor", name, EXTRACTORS)


def metric_name(metric: str, extractor: FeatureExtractor) -> str:
    """Name under which ``fid`` or ``is`` by an extractor is reported: bare for the published Inception alone.

    Examples:
        >>> metric_name("fid", get_extractor("cifarnet"))
        'fid-cifarnet'
    """
    return metric if extractor.name == "inception" else f"{metric}-{extractor.name}"
