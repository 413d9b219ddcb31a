"""Gradient scorers: what the first backward pass of the objective says.

All of them score the weights of convolutions and linear layers (not biases and normalisation), as Abdelfattah et al.,
Zero-cost proxies for lightweight NAS (ICLR 2021) do. Here w is a weight, L the objective (``Probe``), g = dL/dw.
The objective of the originals is the cross-entropy of labels, which generators do not have.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.interception import Interceptor, input_of
from autogas.proxies.isolation.replacing import stand_in
from autogas.proxies.passes.features import (
    CONVOLUTIONS,
    NATIVE_NORMALISATIONS,
    NORMALISATIONS,
    SATURATING,
    SHARES,
    as_real,
    is_bias,
    known,
)
from autogas.proxies.passes.gates import Gates
from autogas.proxies.passes.liveness import differentiable
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import scorer
from autogas.proxies.telling import telling

BLOCK = 1 << 16
"""Weights that are worked on at a time: what comes between two steps stays in the cache."""


def _blocks(first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(first.detach().reshape(-1).split(BLOCK), second.detach().reshape(-1).split(BLOCK), strict=True)


def _products(first: list[Tensor], second: list[Tensor]) -> Iterator[Tensor]:
    for pair in zip(first, second, strict=True):
        yield from (a * b for a, b in _blocks(*pair))


def _dot(first: list[Tensor], second: list[Tensor]) -> float:
    return sum(float(product.sum(dtype=torch.float64)) for product in _products(first, second))


def _absolute_dot(first: list[Tensor], second: list[Tensor]) -> float:
    return sum(float(product.abs_().sum()) for product in _products(first, second))


@scorer()
def grad_norm(probe: Probe) -> float:
    """Gradient norm, summed over layers.

    sum_l ||g_l||_2 (Abdelfattah et al., 2021). Bigger is better.
    """
    return telling(probe, sum(float(g.norm()) for g in probe.gradient.weights))


@scorer()
def snip(probe: Probe) -> float:
    """SNIP: sensitivity of the loss to the removal of each weight.

    sum |w g| (Lee et al., SNIP, ICLR 2019, summed instead of normalised, as Abdelfattah et al. do). Bigger is
    better.
    """
    return telling(probe, _absolute_dot(probe.weights_then, probe.gradient.weights))


@scorer()
def plain(probe: Probe) -> float:
    """First-order change of the loss when all weights vanish.

    sum w g (Mozer & Smolensky, Skeletonization, NeurIPS 1988; Abdelfattah et al., 2021). Bigger is better.
    """
    return telling(probe, _dot(probe.weights_then, probe.gradient.weights))


@scorer()
def fisher(probe: Probe) -> float:
    """Fisher information of the channels.

    sum over channels c of 1/(2N) sum_n (sum_ij a_ncij dL/da_ncij)^2 on convolution outputs a (Turner et al., BlockSwap,
    ICLR 2020; Theis et al., 2018). Bigger is better. Zero-cost-nas multiplies each channel by its number of
    weights; here a channel counts once, as in the paper.
    """
    probe.must_not_rerun(probe.gradient.weights)
    total = 0.0
    for feature, by_feature in zip(probe.observed.convolutions, probe.gradient.convolutions, strict=True):
        products = as_real(feature.detach()) * as_real(by_feature)
        per_channel = products.flatten(2).sum(-1) if products.dim() > 2 else products
        total += float(per_channel.detach().square().sum(dtype=torch.float64)) / (2 * len(feature))
    return telling(probe, total)


@scorer()
def grasp(probe: Probe) -> float:
    """GraSP: change of the gradient norm when all weights vanish.

    -sum w (H g), H the Hessian of the objective: half the first-order change of ||g||^2 (Wang et al., GraSP, ICLR 2020,
    with temperature 1; exact, by a second backward pass). Bigger is better as zero-cost-nas uses it.
    """
    probe.must_not_rerun(probe.differentiable_gradient)
    product = probe.hessian_vector([g.detach() for g in probe.differentiable_gradient])
    return telling(probe, -_dot(probe.weights_then, product))


@scorer(
    undefined="the sum of the output does not depend on every sample (behind a last normalisation on none), or samples "
    "are single, or single numbers"
)
def jacov(probe: Probe) -> float:
    """Correlation of the input Jacobians of the samples.

    -sum_i log(v_i + k) + 1/(v_i + k), v the eigenvalues of the correlation matrix of the rows of
    J = d(sum of the output)/dx, k = 1e-5 (Mellor et al., first version of NASWOT, 2020). Bigger is better.
    Not defined for one sample, for samples of one number, or when the output does not depend on one of them, or its sum
    on none, as that of normalised entries.
    """
    if min(probe.jacobian.shape) < 2 or probe.jacobian_is_rounding():
        return math.nan
    correlation = torch.corrcoef(probe.jacobian.double())
    if not bool(correlation.isfinite().all()):
        return math.nan
    eigenvalues = torch.linalg.eigvalsh(correlation) + 1e-5
    return -float((eigenvalues.log() + 1 / eigenvalues).sum())


@scorer()
def zico(probe: Probe) -> float:
    """ZiCo: inverse coefficient of variation of the gradient over batches.

    sum_l log sum_{w in l} E|g| / sqrt(Var |g|) over the two halves of the batch (Li et al., ZiCo, ICLR 2023).
    Bigger is better. Weights whose gradient does not vary are left out, and layers without others, as the authors' code
    does; their code takes the variance of g, the paper of |g|: here the paper's.

    Where both halves nearly agree the ratio is large and made of rounding: the last bit of the inputs, or another
    processor, moves this score by 1 %, more than any other here. Smaller differences mean nothing.
    """
    total = 0.0
    for first, second in zip(*probe.batch_gradients, strict=True):
        ratio = sum(_ratio(a.abs(), b.abs()) for a, b in _blocks(first, second))
        total += math.log(ratio) if ratio != 0 else 0.0
    alive = any(bool(g.any()) for half in probe.batch_gradients for g in half)
    return total if alive else telling(probe, 0.0)


def _ratio(a: Tensor, b: Tensor) -> float:
    """Sum of mean over standard deviation of two values, (a + b) / |a - b|, where they differ."""
    deviation = (a - b).abs_()
    return float(torch.where(deviation == 0, 0.0, a.add_(b).div_(deviation)).sum(dtype=torch.float64))


@scorer(undefined="no weight carries flow from the input to the output, or the flow overflows")
def synflow(probe: Probe) -> float:
    """SynFlow: flow of the absolute weights from input to output, as a logarithm.

    log sum |w| dR/d|w|, R the summed output for an input of ones through the absolute weights (Tanaka et al., SynFlow,
    NeurIPS 2020). Outputs are all of them, also what a network keeps for later, such as keys and values. Bigger is
    better. As in the original, normalisation layers are left out; so are biases, which carry
    no flow from the input, and the saturating ends of generators (tanh, sigmoid), without which R would be constant;
    those that multiply something are gates, which stay. The logarithm keeps the order.

    Where R is linear for small inputs, input and output are scaled by 1e-20, and float32 serves flows from 1e16 to
    1e58; those of other networks are computed in float64, scaled by 1e-100, which serves 1e-76 to 1e408. What is of
    higher order in the input, such as a gate beside an identity, vanishes then. Where R is not linear (learned
    constants and positions, tokens, products of inputs alone), nothing is scaled, and float64 serves up to 1e308.
    Shares that a softmax makes, such as those of attention, pass what they weigh on and carry no flow of their own.
    """
    _ = probe.weights  # which must be real
    probe.must_have_values()
    flow, failed = math.nan, None
    gates = probe.on_few((1,), functools.partial(_gates, probe))
    for dtype, scale in SCALES:
        if failed is None and scale == INSTEAD:
            continue
        try:
            flow, linear = probe.on_few((1,), functools.partial(_flow, probe, dtype, scale, gates))
        except RuntimeError as error:  # some numbers of its own are of another type, perhaps of the next
            failed = error
            continue
        # The flow of one weight is a small part of it, which must not be subnormal.
        enough = math.isfinite(flow) and flow > torch.finfo(dtype).tiny / torch.finfo(dtype).eps ** 2
        if enough and (linear or scale == 1):
            return math.log(flow) - 2 * math.log(scale)
    if failed is not None and math.isnan(flow):
        _ = probe.recorded  # whose error it is, where the network does not run at all
        raise InputError(f"the network has no flow in float32 and does not run in float64: {failed}") from None
    return -math.inf if flow == 0 else math.nan


INSTEAD = 1e-10
SCALES = (
    *((torch.float32, 1e-20), (torch.float64, 1e-100), (torch.float32, INSTEAD)),
    *((torch.float32, 1.0), (torch.float64, 1.0)),
)
"""What a flow is computed with, and what input and output are multiplied by, in the order in which they are tried.

``INSTEAD`` is for networks with numbers of their own in float32, which do not run in float64.
"""
STATISTICS = 4
"""The most that normalisations of decomposed graphs give beside the feature."""
LINEAR = 1e-3
"""Relative difference of an output from what its derivative by the input says, below which it is rounding."""


def _gates(probe: Probe, one: tuple[Tensor, ...]) -> frozenset[int]:
    """Numbers of the calls of saturating functions that are no ends of the network."""
    gates = Gates(len(one[0]))
    with torch.no_grad():
        probe.run(one, None, gates)
    return frozenset(gates.found)


def _flow(
    probe: Probe, dtype: torch.dtype, scale: float, gates: frozenset[int], one: tuple[Tensor, ...]
) -> tuple[float, bool]:
    """The flow times the square of the scale, and whether the output is linear in the input: x dR/dx = R (Euler)."""

    def absolute(name: str, p: Tensor) -> Tensor:
        bias = is_bias(name)
        values = torch.zeros_like(p, dtype=dtype) if bias else p.detach().abs().to(dtype)
        return stand_in(p, values, requires_grad=p.requires_grad and not bias and p.dim() > 1)

    parameters = {name: absolute(name, p) for name, p in probe.parameters.items()}
    weights = [p for p in parameters.values() if p.requires_grad]
    buffers = {name: b.to(dtype, copy=True) for name, b in probe.model.named_buffers() if b.is_floating_point()}
    held = {**buffers, **parameters}
    source = tuple(
        x
        if not x.is_floating_point()
        else torch.full_like(x, scale, dtype=dtype).requires_grad_()
        if probe.is_batch(whole)
        else x.to(dtype)
        for x, whole in zip(one, probe.inputs, strict=True)
    )
    flow = _Linear(weights, gates)
    with torch.enable_grad():
        output, written = probe.run(source, held, flow), probe.written
        total = torch.stack([x.sum() for x in differentiable(output)]).sum()
    if total.is_complex():
        raise InputError("the output of the network is complex: expected real numbers")
    inputs = [x for x in source if x.requires_grad]
    carriers = [*flow.outputs, *(w for w in weights if id(w) not in flow.used or id(w) in flow.elsewhere)]
    found = probe.derivatives(
        total,
        [*inputs, *carriers],
        parameters=held,
        written=written,
        grad_outputs=torch.full_like(total, scale),
        retain_graph=False,
    )
    by_inputs, by_carriers = found[: len(inputs)], found[len(inputs) :]
    whole = scale * float(total)
    linear = abs(_dot(inputs, by_inputs) - whole) <= LINEAR * abs(whole)
    return _absolute_dot(carriers, by_carriers) / len(one[0]), linear


@scorer(undefined="the network has no square kernels of convolutions with a gradient")
def eznas(probe: Probe) -> float:
    """EZNAS-A: the best program of EZNAS, on the gradients of convolution weights.

    mean over layers of || sigmoid(slogdet(sign(g))) ||_F, slogdet over each k x k kernel (Akhauri et al., EZNAS,
    NeurIPS 2022, program A, as later works restate it: its own code was not published with the paper). Bigger is
    better. sigmoid(log|d|) is computed as |d| / (1 + |d|), which is 0 for a singular kernel.
    """
    kernels = [g.flatten(0, 1) for g in probe.gradient.weights if g.dim() == 4 and g.shape[-1] == g.shape[-2]]
    scores = []
    for g in kernels:
        if not math.isfinite(float(g.sum())):  # which a sign does not show
            return math.nan
        determinants = (_determinants(block.sign()).abs() for block in g.split(max(BLOCK // g[0].numel(), 1)))
        scores.append(math.sqrt(sum(float((d / (1 + d)).square().sum(dtype=torch.float64)) for d in determinants)))
    if not any(bool(g.any()) for g in kernels):
        return telling(probe, 0.0) if scores else math.nan
    return sum(scores) / len(scores)


def _determinants(x: Tensor) -> Tensor:
    """Determinants of kernels ``[K, k, k]`` of -1, 0 and 1, exact; 1x1 and 3x3 in closed form."""
    determinants: Tensor
    if x.shape[-1] == 1:
        determinants = x[..., 0, 0]
    elif x.shape[-1] == 3:
        a, b, c, d, e, f, g, h, i = x.flatten(1).unbind(1)
        determinants = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    else:
        determinants = torch.linalg.det(x.double()).round()
    return determinants


def _with_fixed_shares(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Attention whose weights carry no flow."""
    return F.scaled_dot_product_attention(query.detach(), key.detach(), value, *args, **kwargs)


def _is_vector(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() == 1


class _Linear(Interceptor):
    """Normalisation and saturating activations pass their input on; layers are kept with their outputs.

    An output y = W x has sum w dR/dw = sum y dR/dy, which spares the derivatives by the weights, far more numbers.
    """

    SKIPPED = NORMALISATIONS | SATURATING

    def __init__(self, weights: Sequence[Tensor], gates: frozenset[int]) -> None:
        super().__init__()
        self._gates = gates
        self._saturating = itertools.count()
        self.outputs: list[Tensor] = []
        self.used: set[int] = set()
        self.elsewhere: set[int] = set()
        self._known = {id(w) for w in weights}

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        kind = known(func)
        gate = kind in SATURATING and next(self._saturating) in self._gates
        if kind in self.SKIPPED and not gate:
            passed = input_of(args, kwargs)
            return (passed, *[passed.new_zeros(())] * STATISTICS) if kind in NATIVE_NORMALISATIONS else passed
        if kind in SHARES:
            shares: Tensor = func(*args, **kwargs)
            return shares.detach()
        if kind is F.scaled_dot_product_attention:
            return _with_fixed_shares(*args, **kwargs)
        weight = (args[1] if len(args) > 1 else kwargs["weight"]) if kind in CONVOLUTIONS else None
        if id(weight) not in self._known or not torch.is_grad_enabled():
            # Also what a network makes of a weight before it uses it, and layers whose derivative is the network's own.
            given = (part for x in (*args, *kwargs.values()) for part in (x if isinstance(x, list | tuple) else (x,)))
            self.elsewhere |= self._known & set(map(id, given))
            return func(*args, **kwargs)
        assert isinstance(weight, Tensor)
        self.used.add(id(weight))
        apart = weight.detach().requires_grad_()  # so that only other uses are in the derivative by the weight
        if len(args) > 1:
            args = (args[0], apart, *args[2:])
        else:
            kwargs = {**kwargs, "weight": apart}
        # A bias, whatever it is called, carries no flow; a deformable convolution has its offsets in this place.
        args = (*args[:2], None, *args[3:]) if len(args) > 2 and _is_vector(args[2]) else args
        kwargs = {**kwargs, "bias": None} if "bias" in kwargs else kwargs
        after: Tensor = func(*args, **kwargs)
        self.outputs.append(after)
        return after.clone()  # an activation in place may follow
