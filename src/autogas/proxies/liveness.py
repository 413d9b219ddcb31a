"""Whether a network reacts to its input: what does not vary over the batch says nothing of it."""

from __future__ import annotations

import torch
from torch import Tensor


def varies(feature: Tensor) -> bool:
    """Whether any sample of the batch differs from the first."""
    if not torch.equal(feature[0], feature[1]):
        return True
    return bool((feature[2:] != feature[0]).any())


def failure(output: object) -> str:
    """Why a network that gave this cannot be scored, or empty; of several outputs the first counts."""
    while isinstance(output, list | tuple) and output:
        output = output[0]
    if isinstance(output, dict) and output:
        return failure(next(iter(output.values())))
    if not isinstance(output, Tensor) or output.dim() == 0:
        return ""
    if not bool(torch.isfinite(output).all()):
        return "the output of the network is not finite"
    if len(output) > 1 and not varies(output):
        return "the output of the network ignores its input"
    return ""
