"""Metrics of pairs: an image against the image it should be."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from autogas.errors import InputError


def ssim(images: Tensor, targets: Tensor) -> float:
    """Structural similarity of Wang et al. (2004), -1 to 1, higher is better, averaged over all pixels and images.

    The window is an 11x11 Gaussian, mirrored at the border as torchmetrics does.

    Args:
        images: ``[N, C, H, W]`` in [0, 1], 6 pixels high and wide or more.
        targets: of the same shape and range.

    Raises:
        InputError: different shapes, or images smaller than the mirrored border.
    """
    _check(images, targets)
    if min(images.shape[2:]) < 6:
        raise InputError(f"images of shape {tuple(images.shape)}: accepted is 6 pixels or more for SSIM")
    value = structural_similarity_index_measure(images, targets, data_range=1.0)
    assert isinstance(value, Tensor)
    return float(value)


def psnr(images: Tensor, targets: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, higher is better: ``-10 log10`` of each image's squared error, then the mean.

    Args:
        images: ``[N, C, H, W]`` in [0, 1].
        targets: of the same shape and range.

    Raises:
        InputError: different shapes.

    Examples:
        >>> import torch
        >>> round(psnr(torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 0.6)), 3)
        20.0
    """
    _check(images, targets)
    return float(peak_signal_noise_ratio(images, targets, data_range=1.0, dim=(1, 2, 3)))


def _check(images: Tensor, targets: Tensor) -> None:
    if images.shape != targets.shape or images.dim() != 4 or 0 in images.shape:
        raise InputError(
            f"images of shape {tuple(images.shape)} against {tuple(targets.shape)}: accepted are two equal [N, C, H, W]"
        )
