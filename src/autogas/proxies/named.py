"""Proxies by name: the paper's, and the trivial scorers that every proxy is held against."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autogas.errors import InputError, unknown
from autogas.proxies.capture import unchanged
from autogas.proxies.expression import SEPARATOR, Proxy, parse_proxy
from autogas.spaces import Cost, Space

DEFAULT_PROXY = "autogas"
"""The proxy that search uses when none is given: equation 4 of the paper."""

EXPRESSIONS: dict[str, str] = {
    # Li et al., Auto-GAS (ECCV 2024), eq. 4: slogdet(F' F'^T)^2 with F' = above-mean(swish(F)), mean over layers.
    "autogas": "swish > above_mean > gram > slogdet > pow2",
}


@dataclass(frozen=True)
class Scorer:
    """A named scorer that is not an expression.

    Attributes:
        name: its name.
        of_network: score of a module and its inputs.
        of_architecture: score of an architecture in its space, without building it; None: build it and use the module.
        doc: what it is.
    """

    name: str
    of_network: Callable[[nn.Module, tuple[torch.Tensor, ...]], float]
    of_architecture: Callable[[Space[Any], Any], float] | None
    doc: str

    def __str__(self) -> str:
        return self.name


@functools.lru_cache(maxsize=1 << 16)
def _cost(space: Space[Any], arch: Any) -> Cost:
    return space.cost(arch)


def _params(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:  # noqa: ARG001 - scorers share a signature
    return float(sum(p.numel() for p in model.parameters()))


def _macs(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:
    with unchanged(model, inputs), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    return float(counter.get_total_flops()) / 2 / len(inputs[0])


def _trait(name: str, sign: float, doc: str) -> Scorer:
    def of_network(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:  # noqa: ARG001
        raise InputError(f"{name} is read off an architecture, not a module: use `autogas rank` on a benchmark")

    def of_architecture(space: Space[Any], arch: Any) -> float:
        traits = space.traits(arch)
        if name not in traits:
            raise InputError(f"space {space.name} has no {name}: it has {', '.join(traits) or 'no traits'}")
        return sign * traits[name]

    return Scorer(name, of_network, of_architecture, doc)


SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        Scorer("params", _params, lambda space, arch: float(_cost(space, arch).params), "number of parameters"),
        Scorer(
            "macs", _macs, lambda space, arch: float(_cost(space, arch).macs), "multiply-accumulates for one sample"
        ),
        _trait("num_downsamples", -1.0, "minus the number of stages that halve the resolution"),
        _trait("num_skips", 1.0, "number of skip edges"),
    )
}
TRIVIAL = tuple(SCORERS)


def list_proxies(pattern: str = "*") -> list[str]:
    """Names of all proxies that match a wildcard pattern."""
    return sorted(fnmatch.filter([*EXPRESSIONS, *SCORERS], pattern))


def get_proxy(name: str) -> Proxy | Scorer:
    """A proxy by name, or an expression by its text.

    Raises:
        InputError: no proxy of that name, or no valid expression.

    Example:
        >>> str(get_proxy("autogas"))
        'swish > above_mean > gram > slogdet > pow2'
    """
    if name in EXPRESSIONS:
        return parse_proxy(EXPRESSIONS[name])
    if name in SCORERS:
        return SCORERS[name]
    if SEPARATOR.strip() in name:
        return parse_proxy(name)
    raise unknown("proxy", name, [*EXPRESSIONS, *SCORERS])
