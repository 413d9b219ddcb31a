"""Metrics of pairs: an image against the image it should be."""

from __future__ import annotations

from torch import Tensor

from autogas.errors import InputError
from autogas.metrics.pixels import as_unit

TOGETHER = 64
"""Images that are compared at a time."""


def ssim(images: Tensor, targets: Tensor) -> float:
    """Structural similarity of Wang et al. (2004), -1 to 1, higher is better, averaged over all pixels and images.

    The window is an 11x11 Gaussian, mirrored at the border as torchmetrics does.

    Args:
        images: ``[N, C, H, W]``, uint8 or floats in [0, 1], 6 pixels high and wide or more.
        targets: of the same shape and type.

    Raises:
        InputError: different shapes or types, values outside the range, or images smaller than the mirrored border.
    """
    images, targets = _checked(images, targets)
    if min(images.shape[2:]) < 6:
        raise InputError(f"images of shape {tuple(images.shape)}: expected 6 pixels or more for SSIM")
    from torchmetrics.functional.image import structural_similarity_index_measure

    total = 0.0
    for some, wanted in zip(images.split(TOGETHER), targets.split(TOGETHER), strict=True):
        # In double precision: variances are differences of squares, which of bright flat images are nearly equal.
        value = structural_similarity_index_measure(some.double(), wanted.double(), data_range=1.0)
        assert isinstance(value, Tensor)
        total += float(value) * len(some)
    return total / len(images)


def psnr(images: Tensor, targets: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, higher is better: ``-10 log10`` of each image's squared error, then the mean.

    It is infinite when one of the images is exact.

    Args:
        images: ``[N, C, H, W]``, uint8 or floats in [0, 1].
        targets: of the same shape and type.

    Raises:
        InputError: different shapes or types, or values outside the range.

    Examples:
        >>> import torch
        >>> round(psnr(torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 0.6)), 3)
        20.0
    """
    images, targets = _checked(images, targets)
    from torchmetrics.functional.image import peak_signal_noise_ratio

    return float(peak_signal_noise_ratio(images, targets, data_range=1.0, dim=(1, 2, 3)))


def _checked(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    for x in (images, targets):
        if not isinstance(x, Tensor):
            raise InputError(f"images of type {type(x).__name__}: expected tensors [N, C, H, W]")
    if images.shape != targets.shape or images.dim() != 4 or 0 in images.shape:
        raise InputError(
            f"images of shape {tuple(images.shape)} against {tuple(targets.shape)}: expected two equal [N, C, H, W]"
        )
    if images.dtype != targets.dtype:
        raise InputError(f"images of type {images.dtype} against {targets.dtype}: expected two of one type")
    return as_unit(images), as_unit(targets)
