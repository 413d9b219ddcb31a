"""Exponential moving average of a network's weights (EMA)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def averaged_copy(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode, to be moved by ``update_average``."""
    return copy.deepcopy(module).eval().requires_grad_(False)


def ramped(decay: float, step: int) -> float:
    """The decay after ``step`` updates, at most ``(1 + step) / (10 + step)``: initial weights are soon forgotten.

    As in TensorFlow's ``ExponentialMovingAverage``.

    Examples:
        >>> ramped(0.999, 0), ramped(0.999, 8), ramped(0.999, 100_000)
        (0.1, 0.5, 0.999)
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """``average = decay * average + (1 - decay) * module`` for parameters; buffers are copied, as EAGAN does.

    Args:
        average: an ``averaged_copy``.
        module: the network in training.
        decay: in [0, 1); 0.999 averages over about the last 1,000 updates.
    """
    weights: list[Tensor] = [weight.detach() for weight in module.parameters()]
    get_ema_multi_avg_fn(decay)(list(average.parameters()), weights, None)
    for kept, buffer in zip(average.buffers(), module.buffers(), strict=True):
        kept.copy_(buffer)
