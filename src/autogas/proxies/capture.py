"""Watch the features of a network during a forward pass, without touching the network.

A torch function mode sees every call of an activation or convolution, whether it is a module (``nn.ReLU``) or a plain
function (``torch.relu``), so no hooks are registered and nothing has to be removed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.interception import Interceptor, input_of
from autogas.proxies.features import (
    ACTIVATIONS,
    LAYERS,
    NORMALISATIONS,
    RECURRENT,
    Function,
    as_feature,
    known,
    without_bias,
)
from autogas.proxies.isolation import unchanged, written
from autogas.proxies.liveness import IGNORES, Finiteness, failure
from autogas.proxies.primitives.registry import Stage, primitive
from autogas.seeding import seed_everything, torch_generator


@primitive(Stage.LAYERS, formula=r"F_l", edge="a layer that does not vary over the batch is left out")
def activations(called: Callable[..., Any]) -> bool:
    """Input of every rectifier (ReLU family, SiLU, GELU, …), the paper's layers; without any, of every convolution."""
    return called in ACTIVATIONS


@primitive(Stage.LAYERS, formula=r"C_l", edge="a layer that does not vary over the batch is left out")
def convolutions(called: Callable[..., Any]) -> bool:
    """Output of every convolution, transposed convolution, linear and recurrent layer, in order of execution."""
    return called in LAYERS


@primitive(Stage.LAYERS, formula=r"Z_l", edge="a layer that does not vary over the batch is left out")
def normalisations(called: Callable[..., Any]) -> bool:
    """Output of every batch, instance, group, layer and RMS normalisation; without any, of every convolution."""
    return called in NORMALISATIONS


@primitive(Stage.LAYERS, formula=r"X_l", edge="a layer that does not vary over the batch is left out")
def all_(_called: Callable[..., Any]) -> bool:
    """Activations, convolutions and normalisations together, in order of execution."""
    return True


Consumer = Callable[[Tensor], None]
Selector = Callable[[Callable[..., Any]], bool]


class Watch(Interceptor):
    """See the features of a network while it runs: inputs of rectifiers, outputs of layers.

    Args:
        batch_size: a feature ``[N, …]`` has one entry a sample; what has another length is none.
        outputs: functions whose output is a feature.
    """

    def __init__(self, batch_size: int, outputs: frozenset[Function] = LAYERS) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.outputs = outputs
        self.finiteness = Finiteness()
        self.tell: Sequence[Callable[[Sequence[int]], None]] = ()

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the network gets from a function."""
        kind = known(func)
        if kind in ACTIVATIONS:
            # In place it overwrites its input, so what comes before must be read before the call.
            before = input_of(args, kwargs)
            self.finiteness.add(kind, before)
            self.see(kind, before)
        if self.tell and (memories := written(func, args, kwargs)):
            for listener in self.tell:
                listener(memories)
        after = func(*args, **kwargs)
        if kind not in self.outputs:
            return after
        feature = after[0] if kind in RECURRENT else after
        self.finiteness.add(kind, feature)
        seen = self.see(kind, feature)
        return (seen, *after[1:]) if kind in RECURRENT else seen

    def see(self, _func: Callable[..., Any], feature: Tensor) -> Tensor:
        """Look at a rectifier's input or a layer's output; returns what the network goes on with as that output."""
        return feature

    def must_be_finite(self) -> None:
        """Raises ``InputError`` when a feature is not finite."""
        if self.finiteness.failure:
            raise InputError(self.finiteness.failure)


class _Offer(Watch):
    """Hand the selected features to their consumers."""

    def __init__(self, consumers: Sequence[tuple[Selector, Consumer]], batch_size: int) -> None:
        normalised = any(selects(F.batch_norm) for selects, _ in consumers)
        super().__init__(batch_size, LAYERS | NORMALISATIONS if normalised else LAYERS)
        self.consumers = consumers
        self.on_miss: Callable[[Function], None] | None = None

    def see(self, func: Callable[..., Any], feature: Tensor) -> Tensor:
        """Offer a feature to every consumer."""
        samples = as_feature(feature, self.batch_size)
        if samples is not None:
            for selects, consume in self.consumers:
                if selects(func):
                    consume(samples)
        elif self.on_miss is not None:
            self.on_miss(func)
        return feature


def run(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    consumers: Sequence[tuple[Selector, Consumer]],
    seed: int = 0,
    on_write: Iterable[Callable[[Sequence[int]], None]] = (),
    on_miss: Callable[[Function], None] | None = None,
) -> tuple[Any, str]:
    """One forward pass of ``model(*inputs)`` with consumers watching.

    The network and all random states are the same afterwards, see :func:`unchanged`. Layers that draw random numbers,
    such as dropout, draw those of ``seed``. ``on_write`` is told of memories before the network may write them, see
    :func:`~autogas.proxies.isolation.written`; ``on_miss`` of functions whose tensor has no dimension of samples.

    Returns:
        The network's output, and why the network cannot be scored, or empty.
    """
    copies = [x.clone() for x in inputs]  # a network whose first layer works in place writes its input
    watch = _Offer(consumers, len(inputs[0]))
    with unchanged(model, inputs, told=True) as network, torch.no_grad(), watch:
        watch.tell = [network.expect, *on_write]
        watch.on_miss = on_miss
        seed_everything(seed, inputs)
        output = model(*copies)
    reason = failure(output)
    if reason == IGNORES and _starts_at_zero(model, inputs, seed):
        reason = ""
    return output, reason or watch.finiteness.failure


def _starts_at_zero(model: nn.Module, inputs: tuple[Tensor, ...], seed: int) -> bool:
    """Whether the output varies once weights that are all zero, as the last ones of many networks, are random."""
    zero = [p for p in without_bias(model.named_parameters()) if p.is_floating_point() and p.numel() and not p.any()]
    if not zero:
        return False
    generator = torch_generator("zero weights", seed)
    others = {id(p): torch.randn(p.shape, generator=generator).mul_(0.1).to(p) for p in zero}
    with unchanged(model, inputs) as network, torch.no_grad():
        network.replace(others)
        seed_everything(seed, inputs)
        return not failure(model(*(x.clone() for x in inputs)))
