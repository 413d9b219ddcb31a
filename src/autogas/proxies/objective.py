"""What gradient scorers differentiate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from autogas.proxies.passes.liveness import principal

Loss = Callable[[Any, Any], Tensor]


def reconstruction(output: Any, inputs: tuple[Tensor, ...]) -> Tensor:
    """The default objective: mean absolute error of the output against the input.

    Where their shapes differ (a generator of images from latents, a discriminator) it is against zero, which is the
    grey image when images are scaled to [-1, 1]. Of several outputs the first of floating-point numbers counts.
    """
    image = principal(output, len(inputs[0]))
    like = inputs[0].to(image.dtype) if inputs[0].dtype is torch.bool else inputs[0]
    target = like.detach() if inputs[0].shape == image.shape else torch.zeros_like(image)
    return F.l1_loss(image, target)
