"""Answer calls of torch functions while a network runs, be they made by modules or as plain functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode


class Interceptor(TorchFunctionMode, ABC):
    """A context in which ``called`` stands for every torch function."""

    @abstractmethod
    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What a call gives; ``func(*args, **kwargs)`` is what it would have given."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return self.called(func, args, kwargs or {})


def input_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """What a layer's function is applied to, given in place or by name."""
    tensor: Tensor = args[0] if args else kwargs["input"]
    return tensor
