"""Networks that differentiate in their forward pass, as those of energies and scores do, and so need a graph for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")
NO_GRAPH = "does not require grad and does not have a grad_fn"
"""What torch says where a network asks for derivatives and gradients are off."""
_needed: ContextVar[bool] = ContextVar("_needed", default=False)


def graphs_as_needed() -> torch.set_grad_enabled:
    """A context for the network alone: with gradients where it needs them, or as it is around."""
    return torch.set_grad_enabled(_needed.get() or torch.is_grad_enabled())


def with_graphs_if_needed(run: Callable[P, T]) -> Callable[P, T]:
    """A function that runs networks; it runs again, with gradients for them, where one asks for derivatives."""

    @functools.wraps(run)
    def again_if_needed(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return run(*args, **kwargs)
        except RuntimeError as error:
            if NO_GRAPH not in str(error) or _needed.get():
                raise
        before = _needed.set(True)
        try:
            return run(*args, **kwargs)
        finally:
            _needed.reset(before)

    return again_if_needed
