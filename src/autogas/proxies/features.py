"""What features are: which functions of torch have them, and which of their dimensions are the samples."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._ops import OpOverload, OpOverloadPacket
from torch.nn import functional as F

Function: TypeAlias = Callable[..., Any]


def _named(names: str, *owners: object) -> frozenset[Function]:
    return frozenset(getattr(owner, name) for owner in owners for name in names.split() if hasattr(owner, name))


ACTIVATIONS = _named(
    "relu relu_ leaky_relu leaky_relu_ rrelu rrelu_ prelu relu6 elu elu_ celu celu_ selu selu_ silu mish gelu "
    "hardswish hardtanh",
    F,
    torch,
    Tensor,
)
"""Rectifiers."""
CONVOLUTIONS = _named(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear convolution", F, torch
)
"""Layers whose second argument is a weight."""
TRANSPOSED_FLAG = 6
"""Place of the argument of ``torch.convolution`` that says whether it is transposed."""
TRANSPOSED = _named("conv_transpose1d conv_transpose2d conv_transpose3d", F, torch)
RECURRENT = _named("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell", torch)
"""Where they give a tuple, its first is the feature."""
LAYERS = CONVOLUTIONS | RECURRENT | _named("addmm bilinear", F, torch)
"""Layers whose output is a feature."""
NATIVE_NORMALISATIONS = _named(
    "native_batch_norm native_group_norm native_layer_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training",
    torch,
)
"""What normalisations are in decomposed graphs: they give statistics beside the feature."""
NORMALISATIONS = _named("batch_norm instance_norm group_norm layer_norm rms_norm", F, torch) | NATIVE_NORMALISATIONS
NORMALISING = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""Modules that do so; their weights are scales, of however many dimensions."""
SATURATING = _named("tanh tanh_ sigmoid sigmoid_ expit", F, torch, Tensor, torch.special)
"""The usual ends of generators."""
SHARES = _named("softmax", F, torch, Tensor)
"""What gives shares of one."""


@functools.cache
def known(func: Function) -> Function:
    """The function of torch that an operator of an exported graph stands for, or the function itself."""
    if isinstance(func, OpOverload | OpOverloadPacket):
        name = func._schema.name.partition("::")[2] if isinstance(func, OpOverload) else func.__name__
        for owner in (torch, F, Tensor):
            if hasattr(owner, name):
                found: Function = getattr(owner, name)
                return found
    return func


class Fold(enum.Enum):
    """How rows that are more than samples belong to them."""

    OUTER = "the rows of a sample are neighbours"
    INNER = "the rows of a sample are as far apart as there are samples"
    NONE = "the rows are not those of samples"


def is_folded(tensor: Tensor, samples: int) -> bool:
    """Whether a tensor has a multiple of the samples as rows."""
    return tensor.dim() > 1 and len(tensor) > samples and len(tensor) % samples == 0


def is_square(tensor: Tensor, samples: int) -> bool:
    """Whether a tensor is a sequence as long as there are samples, so that either dimension may be theirs."""
    return tensor.dim() == 3 and tensor.shape[0] == tensor.shape[1] == samples


def as_feature(tensor: Tensor, samples: int, fold: Fold = Fold.OUTER) -> Tensor | None:
    """A tensor as ``[N, …]`` with N samples first, or None where none of its dimensions is the samples.

    Networks fold what belongs to a sample into the batch: frames, patches, points of a ray, tokens. A first dimension
    of k N is unfolded to ``[N, C, k, …]``, or ``[N, k, C]`` of vectors; a sequence ``[T, N, C]`` is turned; samples
    that are groups of one convolution, ``[1, N C, …]``, are taken apart.

    Args:
        tensor: of any shape.
        samples: N.
        fold: how k N rows belong to samples, see ``fold_of``.

    Examples:
        >>> shapes = ((12, 8, 5, 5), (12, 8), (7, 4, 8), (1, 32, 5, 5))
        >>> [tuple(as_feature(torch.zeros(shape), 4).shape) for shape in shapes]
        [(4, 8, 3, 5, 5), (4, 3, 8), (4, 7, 8), (4, 8, 5, 5)]
    """
    if tensor.dim() < 2:
        return None
    first, second = tensor.shape[:2]
    if is_square(tensor, samples):
        return {Fold.OUTER: tensor, Fold.INNER: tensor.transpose(0, 1), Fold.NONE: None}[fold]
    if first == samples:
        return tensor
    if tensor.dim() == 3 and second == samples:
        return tensor.transpose(0, 1)
    if first == 1 and tensor.dim() > 2 and second > samples and second % samples == 0:
        return tensor[0].reshape(samples, second // samples, *tensor.shape[2:])
    if not is_folded(tensor, samples) or fold is Fold.NONE:
        return None
    inside = first // samples
    if fold is Fold.OUTER:
        unfolded = tensor.reshape(samples, inside, *tensor.shape[1:])
    else:
        unfolded = tensor.reshape(inside, samples, *tensor.shape[1:]).transpose(0, 1)
    return unfolded if tensor.dim() == 2 else unfolded.movedim(2, 1)


def row_means(tensor: Tensor, samples: int) -> Tensor:
    """What ``fold_of`` compares, ``[rows]``; every entry of a square of samples is a row."""
    rows = tensor.detach().flatten(0, 1) if is_square(tensor, samples) else tensor.detach()
    return (torch.view_as_real(rows) if rows.is_complex() else rows).flatten(1).double().mean(1).cpu()


def fold_of(rows: Tensor, reversed_rows: Tensor, samples: int) -> Fold:
    """How rows belong to samples, from the means of rows of a pass and of one whose samples came in reverse.

    That may be inexact, as where dropout draws by place. What fits best must fit clearly better than rows that do not
    move.
    """
    if rows.shape != reversed_rows.shape:
        return Fold.NONE
    inside = len(rows) // samples
    expected = {
        Fold.OUTER: rows.view(samples, inside).flip(0).flatten(),
        Fold.INNER: rows.view(inside, samples).flip(1).flatten(),
        Fold.NONE: rows,
    }
    misfit = {fold: float((reversed_rows - moved).square().sum()) for fold, moved in expected.items()}
    if inside == samples:  # a square moves one way or the other, unless it does not move at all: dropout draws by place
        still = misfit[Fold.NONE] <= 1e-9 * float((rows - rows.mean()).square().sum())
        return Fold.NONE if still else min((Fold.OUTER, Fold.INNER), key=lambda fold: misfit[fold])
    best = min(misfit, key=lambda fold: misfit[fold])
    return best if misfit[best] < 0.5 * misfit[Fold.NONE] else Fold.NONE


def why_not(tensor: Tensor, samples: int) -> str:
    """Why a tensor is no feature of so many samples."""
    return f"shape {tuple(tensor.shape)} has no dimension of {samples} samples"


def is_bias(name: str) -> bool:
    """Whether a parameter of this name is a bias, also of a recurrent layer."""
    last = name.rpartition(".")[2]
    return last.endswith("bias") or last.startswith("bias_")


def without_bias(named: Iterable[tuple[str, Tensor]]) -> list[Tensor]:
    """Parameters but biases."""
    return [p for name, p in named if not is_bias(name)]
