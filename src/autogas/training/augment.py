"""Differentiable augmentation of what a discriminator sees (DiffAugment, Zhao et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

NUMBERS = 7
"""Uniform random numbers that one image takes."""
SHIFT = 0.125
"""Most that an image is moved, of its size."""
CUT = 0.5
"""Side of the square that is cut out, of the image's size."""
Augmentation: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Images ``[n, 3, H, W]`` in [-1, 1], and ``[n, NUMBERS]`` numbers in [0, 1), to images."""


def color(images: Tensor, numbers: Tensor) -> Tensor:
    """Brightness moved by up to 0.5, then saturation times 0 to 2, then contrast times 0.5 to 1.5."""
    brightness, saturation, contrast = (numbers[:, i].view(-1, 1, 1, 1) for i in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translation(images: Tensor, numbers: Tensor) -> Tensor:
    """Moved by whole pixels, up to an eighth of the size each way; 0 where nothing comes from."""
    for dim, place in ((2, 3), (3, 4)):
        size = images.shape[dim]
        most = int(size * SHIFT + 0.5)
        shift = (numbers[:, place] * (2 * most + 1)).long() - most
        source = torch.arange(size, device=images.device) - shift[:, None]
        shape = [-1, 1, 1, 1]
        shape[dim] = size
        inside = ((source >= 0) & (source < size)).view(shape)
        moved = images.gather(dim, source.clamp(0, size - 1).view(shape).expand_as(images))
        images = moved * inside
    return images


def cutout(images: Tensor, numbers: Tensor) -> Tensor:
    """A square of half the size is 0; its centre is anywhere in the image."""
    keep = torch.zeros((), dtype=torch.bool, device=images.device)
    for dim, place in ((2, 5), (3, 6)):
        size = images.shape[dim]
        side = int(size * CUT + 0.5)
        start = (numbers[:, place] * (size + 1 - side % 2)).long() - side // 2
        at = torch.arange(size, device=images.device) - start[:, None]
        shape = [-1, 1, 1, 1]
        shape[dim] = size
        keep = keep | ((at < 0) | (at >= side)).view(shape)
    return images * keep


AUGMENTATIONS: Mapping[str, Augmentation] = {"color": color, "translation": translation, "cutout": cutout}


def named(policy: str) -> list[str]:
    """Names of a policy such as ``color,translation,cutout``; raises ``ValueError`` for others."""
    names = [name.strip() for name in policy.split(",") if name.strip()]
    if any(name not in AUGMENTATIONS for name in names) or len(set(names)) < len(names):
        raise ValueError(f"expected some of {','.join(AUGMENTATIONS)}, each once")
    return names


def augmented(images: Tensor, policy: str, numbers: Tensor) -> Tensor:
    """Images as the policy changes them, one step after another; gradients pass.

    Args:
        images: ``[n, 3, H, W]`` in [-1, 1]; values may leave the range.
        policy: names of ``AUGMENTATIONS`` with commas between.
        numbers: ``[n, NUMBERS]``, uniform in [0, 1).
    """
    for name in named(policy):
        images = AUGMENTATIONS[name](images, numbers)
    return images
