"""Watch the features of a network during a forward pass, without touching the network.

A torch function mode sees every call of an activation or convolution, whether it is a module (``nn.ReLU``) or a plain
function (``torch.relu``), so no hooks are registered and nothing has to be removed afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.interception import Interceptor, input_of
from autogas.proxies.primitives.registry import Stage, primitive

ACTIVATIONS: frozenset[Callable[..., Any]] = frozenset(
    getattr(owner, name)
    for owner in (F, torch, torch.Tensor)
    for name in [
        "relu",
        "relu_",
        "leaky_relu",
        "leaky_relu_",
        "rrelu",
        "rrelu_",
        "prelu",
        "relu6",
        "elu",
        "elu_",
        "celu",
        "celu_",
        "selu",
        "selu_",
        "silu",
        "mish",
        "gelu",
        "hardswish",
        "hardtanh",
    ]
    if hasattr(owner, name)
)
CONVOLUTIONS: frozenset[Callable[..., Any]] = frozenset(
    getattr(owner, name)
    for owner in (F, torch)
    for name in ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"]
    if hasattr(owner, name)
)


@primitive(Stage.LAYERS, formula=r"F_l", edge="a layer that does not vary over the batch is left out")
def activations(called: Callable[..., Any], before: Tensor, _after: Tensor) -> Tensor | None:
    """Input of every rectifier (ReLU family, SiLU, GELU, …), in order of execution: the paper's layers."""
    return before if called in ACTIVATIONS else None


@primitive(Stage.LAYERS, formula=r"C_l", edge="a layer that does not vary over the batch is left out")
def convolutions(called: Callable[..., Any], _before: Tensor, after: Tensor) -> Tensor | None:
    """Output of every convolution, transposed convolution and linear layer, in order of execution."""
    return after if called in CONVOLUTIONS else None


WATCHED = ACTIVATIONS | CONVOLUTIONS
Consumer = Callable[[Tensor], None]
Selector = Callable[[Callable[..., Any], Tensor, Tensor], "Tensor | None"]


class _Watch(Interceptor):
    """Hand the selected tensors to their consumers while the network runs."""

    def __init__(self, consumers: Sequence[tuple[Selector, Consumer]], batch_size: int) -> None:
        super().__init__()
        self.consumers = consumers
        self.batch_size = batch_size

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if func not in WATCHED:
            return func(*args, **kwargs)
        before = input_of(args, kwargs)
        # An in-place activation overwrites its input, so what comes before must be read before the call.
        if func in ACTIVATIONS:
            self._offer(func, before, before)
            return func(*args, **kwargs)
        after = func(*args, **kwargs)
        self._offer(func, before, after)
        return after

    def _offer(self, func: Callable[..., Any], before: Tensor, after: Tensor) -> None:
        for selector, consume in self.consumers:
            feature = selector(func, before, after)
            if feature is not None and feature.dim() > 1 and len(feature) == self.batch_size:
                consume(feature)


def run(model: nn.Module, inputs: tuple[Tensor, ...], consumers: Sequence[tuple[Selector, Consumer]]) -> Any:
    """One forward pass of ``model(*inputs)`` with consumers watching; returns the network's output.

    Buffers (batch statistics, spectral-norm vectors) and random states are the same afterwards, and so are weights
    unless the network itself writes them in its forward pass.
    """
    copies = [x.clone() for x in inputs]  # a network whose first layer works in place writes its input
    with unchanged(model, inputs), torch.no_grad(), _Watch(consumers, len(inputs[0])):
        return model(*copies)


@contextlib.contextmanager
def unchanged(model: nn.Module, inputs: tuple[Tensor, ...]) -> Iterator[None]:
    """Put back the buffers of ``model`` and torch's random states when the block ends, however it ends.

    So are tensors that are plain attributes, such as the weight that ``torch.nn.utils.spectral_norm`` computes.
    """
    modules = list(model.modules())
    saved = [
        (module, name, buffer, None if buffer is None else buffer.clone())
        for module in modules
        for name, buffer in module._buffers.items()
    ]
    plain = [
        (module, {name: value for name, value in vars(module).items() if isinstance(value, Tensor)})
        for module in modules
    ]
    devices = sorted({x.get_device() for x in inputs if x.is_cuda})
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        with torch.no_grad():
            for module, name, buffer, old in saved:
                if buffer is not None and old is not None:
                    buffer.copy_(old)
                module._buffers[name] = buffer  # the network may have put another tensor in its place
        for module, attributes in plain:
            vars(module).update(attributes)
