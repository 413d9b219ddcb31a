"""Parameters and MACs from shapes alone.

Torch's own meta kernels are written in Python and take 100 ms for a network of these spaces. Here convolutions are
answered with an empty tensor of the right shape and same-shape layers with their input, which is ten times faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.interception import Interceptor, input_of

SAME_SHAPE: frozenset[Callable[..., Any]] = frozenset((F.batch_norm, F.instance_norm, F.relu, F.leaky_relu, torch.tanh))
ADDITIONS: frozenset[Callable[..., Any]] = frozenset((Tensor.add, Tensor.__add__, Tensor.__radd__, torch.add))


@dataclass(frozen=True)
class Cost:
    """Size of one network for one input sample.

    Attributes:
        params: trainable parameters.
        macs: multiply-accumulate operations of convolutions and linear layers (transposed convolutions at their true
            cost; bias, normalisation and activations count nothing). The translation spaces follow the rule of their
            published budgets instead.
    """

    params: int
    macs: int


def count_cost(model: nn.Module, inputs: Sequence[Tensor]) -> Cost:
    """Cost of a network of convolutions and linear layers on the meta device, for meta ``inputs`` of batch size 1."""
    with torch.no_grad(), _Counter() as counter:
        model(*inputs)
    return Cost(params=sum(p.numel() for p in model.parameters()), macs=counter.macs)


class _Counter(Interceptor):
    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if func in SAME_SHAPE:
            return input_of(args, kwargs)
        if func in ADDITIONS and _same_shape(*args):  # torch's own imports its compiler: a second and 80 MB
            return args[0]
        if func is torch.cat:
            return _joined(*args, **kwargs)
        if func in (F.conv1d, F.conv2d, F.conv3d):
            return self._convolution(*args, **kwargs)
        if func in (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d):
            return self._transposed(*args, **kwargs)
        if func is F.linear:
            return self._linear(*args, **kwargs)
        return func(*args, **kwargs)

    def _convolution(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,  # noqa: ARG002
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,  # noqa: ARG002 - the weight already has C_in / groups channels
    ) -> Tensor:
        sizes = zip(x.shape[2:], weight.shape[2:], *_each(x.dim() - 2, stride, padding, dilation), strict=True)
        spatial = [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in sizes]
        out = x.new_empty((x.shape[0], weight.shape[0], *spatial))
        self.macs += out.numel() * weight[0].numel()
        return out

    def _transposed(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,  # noqa: ARG002
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor:
        options = _each(x.dim() - 2, stride, padding, output_padding, dilation)
        sizes = zip(x.shape[2:], weight.shape[2:], *options, strict=True)
        spatial = [(size - 1) * s - 2 * p + d * (k - 1) + extra + 1 for size, k, s, p, extra, d in sizes]
        self.macs += x.numel() * weight[0].numel()
        return x.new_empty((x.shape[0], weight.shape[1] * groups, *spatial))

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: ARG002
        out = x.new_empty((*x.shape[:-1], weight.shape[0]))
        self.macs += math.prod(out.shape) * weight.shape[1]
        return out


def _same_shape(first: object, second: object = None, *_: object) -> bool:
    return isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape


def _joined(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    size = list(tensors[0].shape)
    size[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return tensors[0].new_empty(size)


def _each(dimensions: int, *options: Any) -> list[Sequence[int]]:
    return [(option,) * dimensions if isinstance(option, int) else option for option in options]
