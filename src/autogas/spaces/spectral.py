"""Spectral normalisation (Miyato et al., ICLR 2018): a weight over its largest singular value.

Torch's own works through a parametrisation that draws its vectors when it is registered, which neither the meta device
nor a given generator can do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.spaces.layers import Conv2d, Linear

WARM_UP = 15
"""Power iterations at initialisation, as many as torch does."""
EPSILON = 1e-12


class _Spectral(nn.Module):
    """A layer whose ``weight`` acts divided by an estimate ``u' W v`` of its largest singular value.

    In training mode each forward pass improves the singular vectors ``u`` and ``v`` by one power iteration.
    """

    weight: Tensor
    u: Tensor
    v: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        height, width = self.weight.flatten(1).shape
        self.register_buffer("u", self.weight.new_empty(height))
        self.register_buffer("v", self.weight.new_empty(width))

    def reset_vectors(self, generator: torch.Generator) -> None:
        """Draw the vectors and warm them up on the weight."""
        nn.init.normal_(self.v, generator=generator)
        for _ in range(WARM_UP):
            self._iterate(self.weight.flatten(1))

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.u.copy_(F.normalize(matrix @ self.v, dim=0, eps=EPSILON))
        self.v.copy_(F.normalize(matrix.T @ self.u, dim=0, eps=EPSILON))

    def normalised(self) -> Tensor:
        """The weight that acts; in full precision, since an autocast would lose the singular vectors."""
        device = self.weight.device.type
        with torch.autocast("cpu" if device == "meta" else device, enabled=False):
            matrix = self.weight.flatten(1)  # in channels last a copy
            if self.training:
                self._iterate(matrix)
            # The buffers change in place at the next pass, which may come before this one's gradients.
            u, v = self.u.clone(), self.v.clone()
            return self.weight / (u @ matrix @ v)


class SpectralConv2d(_Spectral, Conv2d):
    """Convolution with a spectrally normalised weight, without values."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C_in, H, W]`` to ``[N, C_out, H', W']``."""
        return F.conv2d(x, self.normalised(), self.bias, self.stride, self.padding, self.dilation, self.groups)


class SpectralLinear(_Spectral, Linear):
    """Linear layer with a spectrally normalised weight, without values."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C_in]`` to ``[N, C_out]``."""
        return F.linear(x, self.normalised(), self.bias)
