"""Answer calls of torch functions while a network runs, be they made by modules or as plain functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class Interceptor(TorchFunctionMode, ABC):
    """A context in which ``called`` stands for every torch function; attention is the functions that it is made of."""

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
        if func is F.multi_head_attention_forward:
            with self, mock.patch.object(F, "has_torch_function", return_value=False):
                return func(*args, **(kwargs or {}))
        return self.called(func, args, kwargs or {})


def input_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """What a layer's function is applied to, given in place or by name."""
    tensor: Tensor = args[0] if args else kwargs["input"]
    return tensor
