"""Kernel scorers: how differently a network treats samples or channels, from one forward pass."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from autogas.errors import InputError
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import scorer

PACKED = 20


def _real(features: list[Tensor]) -> list[Tensor]:
    """The features; raises ``InputError`` where there is none, and for complex ones, without sign and order."""
    if not features:
        raise InputError("no rectifier and no layer of the network was seen, whose features could be told apart")
    if any(feature.is_complex() for feature in features):
        raise InputError("the network has complex features: expected real ones")
    return features


@scorer(undefined="its kernel is singular, since some samples switch the same rectifiers")
def nwot(probe: Probe) -> float:
    """NASWOT: how differently rectifiers switch for different samples.

    log |det K|, K_ij the number of rectifier inputs that have the same sign for samples i and j, over all layers
    (Mellor et al., Neural architecture search without training, ICML 2021). Bigger is better. It is read at the
    inputs of rectifiers, as in the paper (NAS-Bench-Suite-Zero does so too; Auto-GAS read convolution outputs).
    """
    n = len(probe.inputs[0])
    if n < 2:
        raise InputError("1 sample has none to differ from: expected batches of at least 2 samples")
    kernel = torch.zeros(n, n, dtype=torch.float64, device=probe.inputs[0].device)
    for feature in _real(probe.observed.activations):
        sides = (feature.detach().flatten(1) > 0).float().mul_(2).sub_(1)
        kernel += (sides @ sides.T + sides.shape[1]) / 2  # agreements minus disagreements, and their number
    return float(torch.linalg.slogdet(kernel).logabsdet)


@scorer()
def meco(probe: Probe) -> float:
    """MeCo: smallest eigenvalue of the channel correlations of one sample, summed over layers.

    sum_l lambda_min(P_l), P_l the Pearson correlations between the channels of the first sample's convolution output
    (Jiang et al., MeCo, NeurIPS 2023). Bigger is better. A layer with no more positions than channels adds 0
    without arithmetic, since its P_l is singular; a constant channel is uncorrelated with every other. The authors'
    code reads the output of every module, also of normalisations and activations; here layers are convolutions.
    """
    total = 0.0
    maps = [feature for feature in _real(probe.observed.convolutions) if feature.dim() > 2]
    if not maps:
        raise InputError("the network has no layer with positions, over which channels could be correlated")
    for feature in maps:
        channels = feature[0].detach().flatten(1)
        if channels.shape[1] > channels.shape[0]:
            total += _smallest_eigenvalue(channels)
    return total


def _smallest_eigenvalue(channels: Tensor) -> float:
    """Of the Pearson correlations between the rows of a matrix."""
    centred = channels.double() - channels.mean(1, keepdim=True, dtype=torch.float64)
    centred[(channels == channels[:, :1]).all(1)] = 0  # which rounding of the mean may have missed
    norm = centred.norm(dim=1, keepdim=True)
    unit = centred / torch.where(norm == 0, 1.0, norm)
    correlation = (unit @ unit.T).fill_diagonal_(1.0)
    return float(torch.linalg.eigvalsh(correlation)[0]) if bool(correlation.isfinite().all()) else math.nan


@scorer()
def swap(probe: Probe) -> float:
    """SWAP: number of distinct activation patterns over the samples.

    |{(1[x_1 > 0], ..., 1[x_N > 0])}| over all rectifier inputs x (Peng et al., SWAP-NAS, ICLR 2024,
    without the regularisation by size). Bigger is better; at most 2^N.
    """
    n = len(probe.inputs[0])
    bits = [(feature.detach().flatten(1) > 0) for feature in _real(probe.observed.activations)]
    if n > PACKED:
        packed = np.concatenate([np.packbits(b.cpu().numpy(), axis=0) for b in bits], axis=1)
        return float(np.unique(packed, axis=1).shape[1])
    seen = torch.zeros(1 << n, dtype=torch.bool, device=probe.inputs[0].device)
    place = 2 ** torch.arange(n, device=seen.device, dtype=torch.float32)
    for b in bits:
        seen[(place @ b.float()).long()] = True
    return float(seen.sum())
