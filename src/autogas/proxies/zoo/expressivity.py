"""Expressivity scorers: how strongly the output answers a change of the input."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.interception import Interceptor
from autogas.proxies.capture import CONVOLUTIONS
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import scorer

PERTURBATION = 1e-2
BATCH_NORM = inspect.signature(F.batch_norm)


@scorer()
def zen(probe: Probe) -> float:
    """Zen-score: expressivity of the network under Gaussian weights, with the scales of batch norms put back.

    log E |f(x) - f(x + 0.01 e)| + sum_BN log sqrt(mean_c sigma_c^2), x and e standard normal, weights drawn from
    N(0, 1), f the last convolution's output, sigma^2 the variances that a batch norm divides by (Lin et al., Zen-NAS,
    ICCV 2021, algorithm 1; one draw, and as in the authors' code an absolute difference, here its mean over the
    entries). Bigger is better. The original reads f before the global pooling of a classifier; an image
    generator has none, and its tanh would saturate, so f is what enters the tanh.
    """
    generator = probe.generator()
    slopes = {f"{name}.weight" for name, module in probe.model.named_modules() if isinstance(module, nn.PReLU)}
    parameters = {name: p if name in slopes else _redrawn(name, p, generator) for name, p in probe.parameters.items()}
    first = tuple(_noise(x, generator) for x in probe.inputs)
    second = tuple(x + PERTURBATION * _noise(x, generator) if x.is_floating_point() else x for x in first)
    watch, other = _Watch(scales=True), _Watch(scales=False)
    with torch.no_grad():
        probe.run(first, parameters, watch)
        probe.run(second, parameters, other)
    if watch.last is None or other.last is None:
        raise InputError("the network has no convolution and no linear layer, whose output zen reads")
    difference = float((watch.last - other.last).abs().mean(dtype=torch.float64))
    return (math.log(difference) if difference != 0 else -math.inf) + watch.log_scale


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    if not x.is_floating_point():
        return x
    return torch.empty(x.shape, dtype=x.dtype).normal_(generator=generator).to(x.device)


def _redrawn(name: str, p: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal for weights of layers, 1 for scales, 0 for biases."""
    if p.dim() > 1:
        return _noise(p, generator)
    return torch.zeros_like(p) if name.endswith("bias") else torch.ones_like(p)


class _Watch(Interceptor):
    """The last convolution's output, and (with ``scales``) the logarithm of all scales that batch norms divide by."""

    def __init__(self, *, scales: bool) -> None:
        super().__init__()
        self.scales = scales
        self.last: Tensor | None = None
        self.log_scale = 0.0

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if func is F.batch_norm and self.scales:
            bound = BATCH_NORM.bind(*args, **kwargs).arguments
            variances = _variances(bound["input"], bound["running_var"], bound.get("training", False))
            variance = float(variances.mean(dtype=torch.float64))
            self.log_scale += 0.5 * math.log(variance) if variance != 0 else -math.inf
        out = func(*args, **kwargs)
        if func in CONVOLUTIONS:
            self.last = out.clone()  # an activation in place may follow
        return out


def _variances(x: Tensor, running_var: Tensor | None, training: bool) -> Tensor:
    """What a batch norm divides by, squared, for each channel."""
    if running_var is not None and not training:
        return running_var
    maps = x.flatten(2) if x.dim() > 2 else x.unsqueeze(2)
    means = maps.mean(2)  # of equally many entries each, so that variances add up
    return maps.var(2, unbiased=False).mean(0) + means.var(0, unbiased=False)
