"""The trivial scorers: what can be counted on a network or read off its genotype."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autogas.errors import InputError
from autogas.interception import Interceptor
from autogas.proxies.passes.features import TRANSPOSED, TRANSPOSED_FLAG, known
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import OfArchitecture, scorer
from autogas.spaces import Cost, Space
from autogas.spaces.counting import count_macs


@functools.lru_cache(maxsize=1 << 16)
def _cost(space: Space[Any], arch: Any) -> Cost:
    return space.cost(arch)


def _trait(name: str, sign: float) -> OfArchitecture:
    def of_architecture(space: Space[Any], arch: Any) -> float:
        traits = space.traits(arch)
        if name not in traits:
            raise InputError(f"space {space.name} has no {name}: it has {', '.join(traits) or 'no traits'}")
        return sign * traits[name]

    return of_architecture


@scorer(lambda space, arch: float(_cost(space, arch).params))
def params(probe: Probe) -> float:
    """Number of parameters.

    A trivial scorer: the claim that bigger is better is the one to beat.
    """
    return float(sum(p.numel() for p in probe.parameters.values()))


@scorer(lambda space, arch: float(_cost(space, arch).macs))
def macs(probe: Probe) -> float:
    """Multiply-accumulates for one sample.

    Of convolutions, matrix products, attention and recurrent layers, in whatever mode; of an architecture as
    ``Cost`` says. The claim that bigger is better is the one to beat.
    """

    def total(inputs: tuple[Tensor, ...]) -> float:
        return count_macs(functools.partial(probe.run, inputs))

    def of_one(inputs: tuple[Tensor, ...]) -> float:
        """What three samples need beyond two is one sample's, the rest is needed once for any number of them."""
        samples, found = len(inputs[0]), total(inputs)
        if samples != 2 or len(probe.inputs[0]) == 2:
            return found / samples
        three = total(probe.samples(slice(3)))
        if len(probe.inputs[0]) > 3 and total(probe.samples(slice(4))) - three != three - found:
            return total(probe.inputs) / len(probe.inputs[0])  # samples that look at each other
        return 2 * found - three

    return probe.on_few((1, 2), of_one)


@scorer(_trait("num_downsamples", -1.0))
def num_downsamples(_probe: Probe) -> float:
    """Minus the number of stages that halve the resolution.

    Minus, so that bigger is better: an autoencoder with a narrower bottleneck reconstructs worse.
    """
    raise InputError("num_downsamples is read off an architecture, not a module: use `autogas rank` on a benchmark")


@scorer(_trait("num_skips", 1.0))
def num_skips(_probe: Probe) -> float:
    """Number of skip edges.

    The claim that bigger is better is the one to beat.
    """
    raise InputError("num_skips is read off an architecture, not a module: use `autogas rank` on a benchmark")


@scorer()
def num_activations(probe: Probe) -> float:
    """Number of rectifier inputs for one sample.

    The bound of what ``nwot`` and ``swap`` can count. Bigger is better.
    """
    if not probe.observed.rectified:
        raise InputError("no rectifier (the ReLU family, SiLU, GELU, …) of the network was seen that has samples")
    return float(sum(x[0].numel() for x in probe.observed.activations))


@scorer(_trait("num_transposed", -1.0))
def num_transposed(probe: Probe) -> float:
    """Minus the number of transposed convolutions.

    Minus, so that bigger is better: they leave checkerboards (Odena, Dumoulin & Olah, Distill 2016), and generators
    with many of them train worse. They are counted on the network where the space has no such count.
    """

    def calls(inputs: tuple[Tensor, ...]) -> int:
        counter = _Transposed()
        probe.run(inputs, None, counter)
        return counter.calls

    return 0.0 - probe.on_few((1, 2), calls)


class _Transposed(Interceptor):
    """How many transposed convolutions are called."""

    calls = 0

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        kind = known(func)
        self.calls += kind in TRANSPOSED or (kind is torch.convolution and bool(args[TRANSPOSED_FLAG]))
        return func(*args, **kwargs)
