"""Images as every extractor takes them."""

from __future__ import annotations

import torch
from torch import Tensor

from autogas.errors import InputError


def as_unit(images: Tensor) -> Tensor:
    """Images as floats in [0, 1] of single precision or more, whatever their shape: uint8 is divided by 255.

    Raises:
        InputError: another type, or values outside [0, 1] or not finite.
    """
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point() or images.dtype.itemsize < 2:
        raise InputError(f"images of type {images.dtype}: expected uint8 or floats in [0, 1]")
    low, high = (float(value) for value in images.aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails both
        raise InputError(f"images with values from {low:.4g} to {high:.4g}: expected floats in [0, 1] or uint8")
    return images if images.dtype.itemsize >= 4 else images.float()


def as_uint8(images: Tensor) -> Tensor:
    """Images as ``uint8 [N, 3, H, W]``: floats in [0, 1] are rounded to 256 levels, as a saved PNG is.

    So a generator and the folder that its images were saved to get the same metrics.

    Raises:
        InputError: another shape or type, or values outside [0, 1] or not finite.

    Examples:
        >>> as_uint8(torch.full((1, 3, 1, 1), 0.5)).flatten().tolist()
        [128, 128, 128]
    """
    if images.dim() != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise InputError(f"images of shape {tuple(images.shape)}: expected [N, 3, H, W]")
    if images.dtype == torch.uint8:
        return images
    return (as_unit(images).float() * 255).round_().to(torch.uint8)
