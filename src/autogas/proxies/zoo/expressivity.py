"""Expressivity scorers: how strongly the output answers a change of the input."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.proxies.isolation.replacing import stand_in
from autogas.proxies.passes.capture import Watch
from autogas.proxies.passes.features import (
    ACTIVATIONS,
    CONVOLUTIONS,
    NATIVE_NORMALISATIONS,
    Function,
    is_bias,
    known,
)
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import scorer

PERTURBATION = 1e-2
OF_F = inspect.signature(F.batch_norm)
OF_TORCH = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps", "cudnn_enabled")


def _signature(names: Sequence[str]) -> inspect.Signature:
    return OF_F.replace(parameters=[inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names])


NATIVE_BATCH_NORMS = {
    kind: _signature([n for n in OF_TORCH[:-1] if n != "training" or "no_training" not in kind.__name__])
    for kind in NATIVE_NORMALISATIONS
    if "batch_norm" in kind.__name__
}
BATCH_NORMS: dict[Function, inspect.Signature] = {
    F.batch_norm: OF_F,
    torch.batch_norm: _signature(OF_TORCH),
    **NATIVE_BATCH_NORMS,
}
"""How those that are called directly, or in exported graphs, name their arguments."""


@scorer(undefined="under Gaussian weights its features overflow, or do not change with the input")
def zen(probe: Probe) -> float:
    """Zen-score: expressivity of the network under Gaussian weights, with the scales of batch norms put back.

    log E |f(x) - f(x + 0.01 e)| + sum_BN log sqrt(mean_c sigma_c^2), x and e standard normal, weights drawn from
    N(0, 1), f the last convolution's output, sigma^2 the variances that a batch norm divides by (Lin et al., Zen-NAS,
    ICCV 2021, algorithm 1; one draw, and as in the authors' code an absolute difference, here its mean over the
    entries). Bigger is better. The original reads f before the global pooling of a classifier; an image
    generator has none, and its tanh would saturate, so f is what enters the tanh.
    """
    _ = probe.weights  # which must be real
    probe.must_have_values()
    generator = probe.generator()
    slopes = {f"{name}.weight" for name, module in probe.model.named_modules() if isinstance(module, nn.PReLU)}
    parameters = {
        name: p if name in slopes else stand_in(p, _redrawn(probe, name, generator), requires_grad=p.requires_grad)
        for name, p in probe.parameters.items()
    }
    first = tuple(_noise(x, generator) if probe.is_batch(x) else x for x in probe.inputs)
    second = tuple(
        x + PERTURBATION * _noise(x, generator) if x.is_floating_point() and probe.is_batch(x) else x for x in first
    )
    watch, other = (_Watch(len(probe.inputs[0]), scales=scales) for scales in (True, False))
    with torch.no_grad():
        probe.run(first, parameters, watch)
        probe.run(second, parameters, other)
    if watch.last is None or other.last is None:
        raise InputError("the network has no convolution and no linear layer, whose output zen reads")
    if watch.last.shape != other.last.shape:
        raise InputError("the network routes the samples of two inputs differently, so that their outputs do not pair")
    difference = float((watch.last - other.last).abs().mean(dtype=torch.float64))
    return (math.log(difference) if difference != 0 else -math.inf) + watch.log_scale


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    if not x.is_floating_point():
        return x
    return torch.empty(x.shape, dtype=torch.float32, device="cpu").normal_(generator=generator).to(x)


def _redrawn(probe: Probe, name: str, generator: torch.Generator) -> Tensor:
    """Standard normal for weights of layers, 1 for scales, 0 for biases."""
    p = probe.parameters[name].detach()
    if not p.is_floating_point():  # a mask, or an order
        return p
    if name in probe.weight_names:
        return _noise(p, generator)
    return torch.zeros_like(p) if is_bias(name) else torch.ones_like(p)


class _Watch(Watch):
    """The last convolution's output, and (with ``scales``) the logarithm of all scales that batch norms divide by."""

    def __init__(self, batch_size: int, *, scales: bool) -> None:
        super().__init__(batch_size, CONVOLUTIONS | {torch.addmm})
        self.scales = scales
        self.last: Tensor | None = None
        self.log_scale = 0.0
        self._known: set[int] = set()  # running variances

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        kind = known(func)
        names = BATCH_NORMS.get(kind)
        if names is None or not self.scales:
            return super().called(func, args, kwargs)
        native = kind in NATIVE_BATCH_NORMS
        if native and len(args) + len(kwargs) < len(names.parameters):  # an instance norm, which has no statistics
            return super().called(func, args, kwargs)
        given = names.bind(*args, **kwargs).arguments
        out, variances = _batch_norm(**given)
        running = given.get("running_var")
        if running is None or id(running) not in self._known:  # one that is called twice is one
            self._known.add(id(running))
            variance = float(variances.mean(dtype=torch.float64))
            self.log_scale += 0.5 * math.log(variance) if variance != 0 else -math.inf
        return (out, *func(*args, **kwargs)[1:]) if native else out

    def see(self, func: Callable[..., Any], feature: Tensor) -> Tensor:
        """Note a layer's output."""
        if func not in ACTIVATIONS and not is_functorch_wrapped_tensor(feature):
            self.last = feature.detach().clone()  # an activation in place may follow
        return feature


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool = False,
    cudnn_enabled: bool = True,  # noqa: ARG001 - torch's own has it
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """A batch norm's output, and what it divides each channel by, squared."""
    if running_var is not None and not training:
        return F.batch_norm(input, running_mean, running_var, training=False, **options), running_var
    # With momentum 1 it leaves what it found in this batch, so that nothing is computed twice: unbiased variances.
    like = input if running_var is None else running_var
    mean, variances = (torch.zeros(input.shape[1], dtype=like.dtype, device=like.device) for _ in range(2))
    out = F.batch_norm(input, mean, variances, training=True, **{**options, "momentum": 1.0})
    entries = input.numel() // input.shape[1]
    return out, variances * ((entries - 1) / entries)
