"""Layers that are made without values, so that a network's initialisation writes every weight once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Uninitialised(nn.Module):
    """A layer without values."""

    def reset_parameters(self) -> None:
        """Do nothing."""


class Conv2d(_Uninitialised, nn.Conv2d):
    """Convolution without values."""


class ConvTranspose2d(_Uninitialised, nn.ConvTranspose2d):
    """Transposed convolution without values."""


class Linear(_Uninitialised, nn.Linear):
    """Linear layer without values."""


class BatchNorm2d(_Uninitialised, nn.BatchNorm2d):
    """Batch normalisation without values."""


def twice(x: Tensor) -> Tensor:
    """``[N, C, H, W]`` to ``[N, C, 2H, 2W]`` as ``F.interpolate(x, scale_factor=2, mode="bilinear")`` does.

    By sums of neighbours, whose gradients a compiler makes without atomic additions; uncompiled it is slower.
    """
    for dim in (2, 3):
        before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, x.shape[dim] - 1)], dim)
        after = torch.cat([x.narrow(dim, 1, x.shape[dim] - 1), x.narrow(dim, -1, 1)], dim)
        x = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim + 1).flatten(dim, dim + 1)
    return x


def resized(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """``F.interpolate(x, size, mode=mode)``, by ``twice`` where a compiler makes kernels of it for a GPU."""
    doubled = size == (2 * x.shape[2], 2 * x.shape[3])
    if mode == "bilinear" and doubled and x.is_cuda and torch.compiler.is_compiling():
        return twice(x)
    return F.interpolate(x, size, mode=mode)


class UpsampleTwice(nn.Upsample):
    """Up-sampling by 2."""

    def __init__(self, mode: str) -> None:
        super().__init__(scale_factor=2, mode=mode)

    def forward(self, input: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, C, 2H, 2W]``."""
        return resized(input, (2 * input.shape[2], 2 * input.shape[3]), self.mode)


def default_weight(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, generator: torch.Generator) -> None:
    """Fill the weight as torch does by default: uniform within 1 / sqrt(fan-in)."""
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)


def default_bias(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, generator: torch.Generator) -> None:
    """Fill the bias, if there is one, as torch does by default: uniform within 1 / sqrt(fan-in)."""
    if layer.bias is not None:
        bound = 1 / math.sqrt(layer.weight[0].numel())
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
