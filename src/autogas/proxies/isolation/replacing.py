"""Weights that a network holds in place of its own for a pass, and the refusal of one that keeps its own elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autogas.errors import InputError
from autogas.interception import Interceptor


def stand_in(p: Tensor, values: Tensor, *, requires_grad: bool) -> Tensor:
    """A leaf with other values that is what a parameter is to others: of its class, with its attributes and hooks."""
    kind = type(p) if isinstance(p, nn.Parameter) and issubclass(type(p), nn.Parameter) else nn.Parameter
    other: Tensor = torch.Tensor._make_subclass(kind, values, requires_grad)
    other.__dict__.update(vars(p))
    if p._backward_hooks is not None and requires_grad:
        other._backward_hooks = p._backward_hooks.copy()
    return other


class OnlyReplaced(Interceptor):
    """Refuses a network that uses weights of its own after ``Snapshot.replace`` gave it others."""

    def __init__(self, own: Iterable[Tensor]) -> None:
        super().__init__()
        self._own = {id(p) for p in own}

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a function that takes none of them, or only asks what they are like."""
        if getattr(func, "__name__", "") == "__get__":
            return func(*args, **kwargs)
        for given in (*args, *kwargs.values()):
            parts = given if isinstance(given, list | tuple) else (given,)
            for part in parts:
                if isinstance(part, Tensor) and (id(part) in self._own or id(part._base) in self._own):
                    raise InputError(
                        f"the network keeps a weight {tuple(part.shape)} where it cannot be replaced by another, such "
                        "as in a tuple or a closure: expected it in an attribute, a list or a dictionary"
                    )
        return func(*args, **kwargs)
