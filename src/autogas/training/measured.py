"""A network while it is measured between steps of its training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def measured(model: nn.Module, device: str | torch.device | None = None) -> Iterator[nn.Module]:
    """The network on a device (None: where it is), in evaluation mode and without gradients, while the block lasts.

    Afterwards each of its modules is in the mode that it had.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            yield model.eval().to(device)
    finally:
        for module, mode in modes:
            module.training = mode
