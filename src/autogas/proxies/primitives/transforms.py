"""Transforms: FEATURE to FEATURE. Features are ``[N, C, …]`` (or ``[N, D]``), as a layer sees them.

Ops that the released Auto-GAS code lists but that only reorder entries (``batch``, ``channel``, ``local``), draw
random numbers (``mask``, ``drop``) or are another stage in disguise (``bmm``, ``mm``) are left out on purpose.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from autogas.proxies.primitives.registry import Stage, primitive

transform = functools.partial(primitive, Stage.TRANSFORM)
NAN = "NaN and infinity pass through"
TEMPERATURE = 0.5
LOG2_E = 1 / math.log(2)


@transform(formula=r"\max(x,0)", edge=NAN)
def relu(x: Tensor) -> Tensor:
    """Rectified linear unit."""
    return x.relu()


@transform(formula=r"\max(x,0.01x)", edge=NAN, keeps_sign=True, increasing=True)
def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.01."""
    return F.leaky_relu(x, 0.01)


@transform(formula=r"x\,\sigma(x)", edge=NAN, keeps_sign=True)
def swish(x: Tensor) -> Tensor:
    """Swish, also SiLU."""
    return F.silu(x)


@transform(formula=r"x\tanh(\ln(1+e^x))", edge="minus infinity gives NaN", keeps_sign=True)
def mish(x: Tensor) -> Tensor:
    """Mish.

    Computed as x q / (2 - q) with q = s (2 - s) and s = sigmoid(x), five times faster than torch's kernel and equal to
    1e-6.
    """
    s = x.sigmoid()
    q = (2 - s).mul_(s)
    return q.div_(2 - q).mul_(x)


@transform(formula=r"\tanh x", edge="saturates at -1 and 1", keeps_sign=True, increasing=True)
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent.

    Computed as 2 sigmoid(2x) - 1, twice as fast as torch's kernel and equal to 1e-7.
    """
    return (x * 2).sigmoid_().mul_(2).sub_(1)


@transform(formula=r"\sigma(x)", edge="saturates at 0 and 1", increasing=True, positive=True)
def sigmoid(x: Tensor) -> Tensor:
    """Logistic function."""
    return x.sigmoid()


@transform(formula=r"e^x", edge="overflows in the Gram matrix above 44", increasing=True, positive=True)
def exp(x: Tensor) -> Tensor:
    """Exponential.

    Computed as a power of 2, three times faster than torch's kernel and equal to 2e-6 where the Gram matrix is finite.
    """
    return (x * LOG2_E).exp2_()


@transform(formula=r"|x|", edge=NAN)
def abs_(x: Tensor) -> Tensor:
    """Absolute value."""
    return x.abs()


@transform(formula=r"\mathrm{sgn}(x)\ln(|x|+10^{-9})", edge="zero gives zero")
def log(x: Tensor) -> Tensor:
    """Logarithm of the magnitude with the sign put back.

    On the CPU numpy's logarithm is five times as fast as torch's.
    """
    y = x.abs().add_(1e-9)
    if y.device.type == "cpu" and y.dtype == torch.float32 and not y.requires_grad:
        np.log(y.numpy(), out=y.numpy())
    else:
        y = y.log()
    return y.mul_(x.sign())


@transform(formula=r"\sqrt{\max(x,0)}", edge="negative gives zero")
def sqrt(x: Tensor) -> Tensor:
    """Square root of the positive part."""
    return x.relu().sqrt_()


@transform(formula=r"\tfrac{x+1}{2}", edge=NAN, increasing=True, affine=True)
def scale(x: Tensor) -> Tensor:
    """Map [-1, 1] to [0, 1]."""
    return (x + 1).mul_(0.5)


@transform(formula=r"\tfrac{x-\min x}{\max x-\min x}", edge="constant gives zero", elementwise=False, affine=True,
           increasing=True)  # fmt: skip
def min_max(x: Tensor) -> Tensor:
    """Map the whole batch to [0, 1]."""
    low, high = x.aminmax()
    return (x - low) / (high - low + 1e-9)


@transform(formula=r"\tfrac{x}{\lVert x_n\rVert_2}", edge="zero stays zero", elementwise=False, keeps_sign=True)
def norm(x: Tensor) -> Tensor:
    """Each sample to unit Euclidean length."""
    return F.normalize(x.flatten(1), dim=1).view_as(x)


@transform(formula=r"\tfrac{x}{\lVert x_{:,d}\rVert_2}", edge="zero stays zero", elementwise=False, keeps_sign=True)
def norm_batch(x: Tensor) -> Tensor:
    """Each entry to unit length over the batch."""
    return F.normalize(x, dim=0)


@transform(formula=r"\tfrac{x}{\lVert x_{n,:,hw}\rVert_2}", edge="zero stays zero", elementwise=False, keeps_sign=True)
def norm_channel(x: Tensor) -> Tensor:
    """Each position to unit length over the channels."""
    return F.normalize(x, dim=1)


@transform(formula=r"\tfrac{x}{\lVert x_{n,c,:}\rVert_2}", edge="zero stays zero", elementwise=False, keeps_sign=True)
def norm_spatial(x: Tensor) -> Tensor:
    """Each channel map to unit length."""
    return F.normalize(_maps(x), dim=2)


@transform(formula=r"\tfrac{x-\mu_c}{\sigma_c}", edge="constant channel gives zero", elementwise=False)
def batch_norm(x: Tensor) -> Tensor:
    """Batch normalisation by the batch's own statistics, no affine part."""
    return F.batch_norm(x, None, None, training=True) if x[:, 0].numel() > 1 else torch.zeros_like(x)


@transform(formula=r"\mathrm{softmax}_c(x)", edge=NAN, elementwise=False, positive=True)
def softmax(x: Tensor) -> Tensor:
    """Softmax over the channels; a single one, whose share is always all, stands beside a zero: its sigmoid."""
    return x.sigmoid() if x.shape[1] == 1 else x.softmax(1)


@transform(formula=r"\mathrm{softmax}_n(x)", edge=NAN, elementwise=False, positive=True)
def softmax_batch(x: Tensor) -> Tensor:
    """Softmax over the batch."""
    return x.softmax(0)


@transform(formula=r"\mathrm{softmax}_{hw}(x)", edge=NAN, elementwise=False, positive=True)
def softmax_spatial(x: Tensor) -> Tensor:
    """Softmax over the positions of each map."""
    return _maps(x).softmax(2)


@transform(formula=r"\ln\mathrm{softmax}_c(x)", edge=NAN, elementwise=False)
def log_softmax(x: Tensor) -> Tensor:
    """Logarithm of ``softmax``."""
    return F.logsigmoid(x) if x.shape[1] == 1 else x.log_softmax(1)


@transform(formula=r"\ln\mathrm{softmax}_{hw}(x)", edge=NAN, elementwise=False)
def log_softmax_spatial(x: Tensor) -> Tensor:
    """Logarithm of the softmax over the positions of each map."""
    return _maps(x).log_softmax(2)


@transform(formula=r"N\,\mathrm{softmax}_n(x/\tfrac12)", edge=NAN, elementwise=False, positive=True)
def sample_attention(x: Tensor) -> Tensor:
    """Attention of the batch over its samples, temperature 0.5."""
    return (x / TEMPERATURE).softmax(0) * len(x)


@transform(formula=r"C\,\mathrm{softmax}_c(\overline{|x|}_{hw}/\tfrac12)", edge=NAN, elementwise=False, positive=True)
def channel_attention(x: Tensor) -> Tensor:
    """Attention map over channels, ``[N, C]``, temperature 0.5."""
    return (_maps(x).abs().mean(2) / TEMPERATURE).softmax(1) * x.shape[1]


@transform(formula=r"HW\,\mathrm{softmax}_{hw}(\overline{|x|}_c/\tfrac12)", edge=NAN, elementwise=False, positive=True)
def spatial_attention(x: Tensor) -> Tensor:
    """Attention map over positions, ``[N, HW]``, temperature 0.5."""
    maps = _maps(x)
    return (maps.abs().mean(1) / TEMPERATURE).softmax(1) * maps.shape[2]


@transform(formula=r"\mathrm{maxpool}_2(x)", edge="maps smaller than 2x2 pass unpooled", elementwise=False)
def max_pool2(x: Tensor) -> Tensor:
    """Maximum over 2x2 windows."""
    return _pool(x, 2)


@transform(formula=r"\mathrm{maxpool}_4(x)", edge="maps smaller than 4x4 pass unpooled", elementwise=False)
def max_pool4(x: Tensor) -> Tensor:
    """Maximum over 4x4 windows."""
    return _pool(x, 4)


def _maps(x: Tensor) -> Tensor:
    """``[N, C, …]`` as ``[N, C, positions]``; a ``[N, D]`` feature has D channels of one position."""
    return x.flatten(2) if x.dim() > 2 else x.unsqueeze(2)


def _pool(x: Tensor, window: int) -> Tensor:
    if x.dim() != 4 or min(x.shape[-2:]) < window:
        return x
    return F.max_pool2d(x, window)
