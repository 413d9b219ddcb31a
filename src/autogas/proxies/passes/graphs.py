"""Networks that differentiate in their forward pass, as those of energies and scores do, and so need a graph for it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import torch

T = TypeVar("T")
NO_GRAPH = "does not require grad and does not have a grad_fn"
"""What torch says where a network asks for derivatives and gradients are off."""
_needed: ContextVar[bool] = ContextVar("_needed", default=False)


def graphs_as_needed() -> torch.set_grad_enabled:
    """A context for the network alone: with gradients where it needs them, or as it is around."""
    return torch.set_grad_enabled(_needed.get() or torch.is_grad_enabled())


def with_graphs_if_needed(run: Callable[[], T]) -> T:
    """``run()``; again with gradients for the networks in it where one asks for derivatives and there are none."""
    try:
        return run()
    except RuntimeError as error:
        if NO_GRAPH not in str(error) or _needed.get():
            raise
    before = _needed.set(True)
    try:
        return run()
    finally:
        _needed.reset(before)
