"""Scorers of curvature, weights and features: the rivals of the Gram matrix in the paper's Table 6."""

from __future__ import annotations

import math

import torch

from autogas.proxies.passes.features import as_real
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import scorer
from autogas.proxies.telling import telling

DRAWS = 2
FLAT = "the output is piecewise linear in the weights or starts at zero, or the forward pass runs without gradients"


@scorer()
def hessian_trace(probe: Probe) -> float:
    """Trace of the Hessian of the objective by the weights, estimated.

    mean over 2 draws of v^T H v with v of random signs (Hutchinson, 1989; Dong et al., HAWQ-V2, NeurIPS 2020, use the
    same). Bigger is better as the paper's Table 6 uses it.
    """
    probe.must_not_rerun(probe.differentiable_gradient)
    generator = probe.generator()
    total = 0.0
    for _ in range(DRAWS):
        signs = [
            torch.empty(w.shape, device="cpu").bernoulli_(generator=generator).mul_(2).sub_(1).to(w.device, w.dtype)
            for w in probe.weights
        ]
        product = probe.hessian_vector(signs)
        total += sum(float((v * h).sum(dtype=torch.float64)) for v, h in zip(signs, product, strict=True))
    return telling(probe, total / DRAWS, FLAT)


@scorer()
def l2_norm(probe: Probe) -> float:
    """Norm of the weights, summed over layers.

    sum_l ||w_l||_2 (Abdelfattah et al., Zero-cost proxies for lightweight NAS, ICLR 2021). Bigger is better.
    """
    probe.must_have_values()
    return telling(probe, sum(float(w.norm()) for w in probe.weights), "they are all zero")


def _variances(probe: Probe) -> list[float]:
    return [float(as_real(x.detach()).var(unbiased=False)) for x in probe.observed.convolutions]


@scorer()
def variance(probe: Probe) -> float:
    """Variance of the features, averaged over layers.

    mean_l Var(F_l) over all entries of a convolution's output. Bigger is better. The paper's Table 6 names it without a
    formula.
    """
    found = _variances(probe)
    return telling(probe, sum(found) / len(found), "no convolution varies") if found else math.nan


@scorer()
def entropy(probe: Probe) -> float:
    """Entropy of the features were they Gaussian, averaged over layers.

    mean_l 1/2 log(2 pi e Var(F_l)) over convolution outputs, of layers that vary (as the released code of Auto-GAS: the
    mean logarithm of their standard deviation, up to a constant). Bigger is better.
    """
    found = [0.5 * math.log(2 * math.pi * math.e * v) for v in _variances(probe) if v != 0]
    return sum(found) / len(found) if found else math.nan
