"""What features are: which functions of torch have them, and which of their dimensions are the samples."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._ops import OpOverload, OpOverloadPacket
from torch.nn import functional as F
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.weight_norm import WeightNorm

from autogas.proxies.passes.by_hand import by_hand

Function: TypeAlias = Callable[..., Any]


def as_real(x: Tensor) -> Tensor:
    """The same numbers in float32 or wider; real and imaginary parts are entries of their own, in a last dimension."""
    if x.is_complex():
        x = torch.view_as_real(x.resolve_conj())
    return x.float() if x.dtype.itemsize < 4 else x


def _named(names: str, *owners: object) -> frozenset[Function]:
    return frozenset(getattr(owner, name) for owner in owners for name in names.split() if hasattr(owner, name))


ACTIVATIONS = frozenset((by_hand,)) | _named(
    "relu relu_ leaky_relu leaky_relu_ rrelu rrelu_ prelu relu6 elu elu_ celu celu_ selu selu_ silu mish gelu "
    "hardswish hardtanh hardtanh_ threshold threshold_",
    F,
    torch,
    Tensor,
)
"""Rectifiers."""
CLAMPS = _named("clamp clamp_ clip clip_ clamp_min clamp_min_", torch, Tensor)
"""Rectifiers where they cut at zero from below, and not to shares of one."""
CONVOLUTIONS = _named(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear convolution", F, torch
)
"""Layers whose second argument is a weight."""
TRANSPOSED_FLAG = 6
"""Place of the argument of ``torch.convolution`` that says whether it is transposed."""
TRANSPOSED = _named("conv_transpose1d conv_transpose2d conv_transpose3d", F, torch)
RECURRENT = _named("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell", torch)
"""Where they give a tuple, its first is the feature."""
LAYERS = CONVOLUTIONS | RECURRENT | _named("addmm bilinear", F, torch, Tensor)
"""Layers whose output is a feature."""
MATRIX_PRODUCTS = _named(
    "matmul __matmul__ __rmatmul__ mm bmm einsum tensordot baddbmm inner multi_dot chain_matmul", torch, Tensor
) | _named("matmul multi_dot", torch.linalg)
"""Linear layers where one factor is made of weights alone."""
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
DEFORMED = "torchvision::deform_conv2d"
"""A convolution, whose first two arguments are those of others."""
SHARES = _named("softmax", F, torch, Tensor)
"""What gives shares of one."""


@functools.cache
def known(func: Function) -> Function:
    """The function of torch that an operator of an exported graph stands for, or the function itself."""
    name = getattr(func, "__name__", "")
    if isinstance(func, OpOverload | OpOverloadPacket):
        whole = func._schema.name if isinstance(func, OpOverload) else func._qualified_op_name
        if whole == DEFORMED:
            return F.conv2d
        name = whole.partition("::")[2]
    elif getattr(func, "__module__", "") != "torch._C._nn" or getattr(F, name, None) is func:
        return func
    for called in (name, name.removesuffix("_")):  # in place it is the same function
        for owner in (torch, F, Tensor):
            if hasattr(owner, called):
                found: Function = getattr(owner, called)
                return found
    return func


def role(func: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Function:
    """``known`` for a call: to cut at zero from below is a rectifier, to cut to [0, 1] the usual end of a generator."""
    kind = known(func)
    if kind not in CLAMPS:
        return kind
    given = (args[place] if len(args) > place else kwargs.get(name) for place, name in ((1, "min"), (2, "max")))
    least, most = map(_number, given)
    return F.relu if least == 0 and (most is None or (isinstance(most, int | float) and most > 1)) else kind


def _number(value: object) -> object:
    """A tensor of one entry as that number; anything else as it is."""
    if not isinstance(value, Tensor) or value.numel() != 1 or value.is_meta or is_functorch_wrapped_tensor(value):
        return value
    return value.item()


class Fold(enum.Enum):
    """How rows that are more than samples belong to them."""

    OUTER = "the rows of a sample are neighbours"
    INNER = "the rows of a sample are as far apart as there are samples"
    SECOND = "the samples come second"
    NONE = "the rows are not those of samples"


def is_folded(tensor: Tensor, samples: int) -> bool:
    """Whether a tensor has a multiple of the samples as rows."""
    return tensor.dim() > 1 and len(tensor) > samples and len(tensor) % samples == 0


def is_ambiguous(tensor: Tensor, samples: int) -> bool:
    """Whether a tensor may have its samples first, perhaps folded, or second: ``[k N, N, C]``."""
    return tensor.dim() == 3 and tensor.shape[1] == samples and len(tensor) > 0 and len(tensor) % samples == 0


def is_grouped(tensor: Tensor, samples: int) -> bool:
    """Whether a tensor may have its samples as groups of channels: ``[1, k N, …]``."""
    return tensor.dim() > 2 and len(tensor) == 1 and tensor.shape[1] > samples and tensor.shape[1] % samples == 0


def needs_a_fold(tensor: Tensor, samples: int) -> bool:
    """Whether its shape alone does not say which of its entries are a sample's."""
    return samples > 1 and any(may_be(tensor, samples) for may_be in (is_folded, is_ambiguous, is_grouped))


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
    if needs_a_fold(tensor, samples) and fold is Fold.NONE:
        return None
    if tensor.dim() == 3 and second == samples and (first % samples or fold is Fold.SECOND):
        return tensor.transpose(0, 1)
    if first == samples:
        return tensor
    if is_grouped(tensor, samples):
        return tensor[0].reshape(samples, second // samples, *tensor.shape[2:])
    if not is_folded(tensor, samples):
        return None
    inside = first // samples
    if fold is Fold.OUTER:
        unfolded = tensor.reshape(samples, inside, *tensor.shape[1:])
    else:
        unfolded = tensor.reshape(inside, samples, *tensor.shape[1:]).transpose(0, 1)
    return unfolded if tensor.dim() == 2 else unfolded.movedim(2, 1)


@dataclass(frozen=True)
class Rows:
    """What says whose the rows of a feature are, once they are seen in a pass with the samples in reverse.

    Attributes:
        means: of what may belong to one sample or another.
        second: whether the samples may come second, see ``is_ambiguous``; there are N means for each row then.
        likely: how they are taken where the network does not run on reversed samples.
    """

    means: Tensor
    second: bool
    likely: Fold


def rows_of(tensor: Tensor, samples: int) -> Rows:
    """The rows of a feature that ``needs_a_fold``."""
    second, grouped = is_ambiguous(tensor, samples), is_grouped(tensor, samples)
    rows = tensor.detach().flatten(0, 1) if second or grouped else tensor.detach()
    means = (torch.view_as_real(rows) if rows.is_complex() else rows).flatten(1).double().mean(1).cpu()
    surely = grouped or (second and len(tensor) == samples)
    return Rows(means, second, Fold.OUTER if surely else Fold.NONE)


def fold_of(rows: Rows, reversed_rows: Rows, samples: int) -> Fold:
    """How rows belong to samples, from those of a pass and of one whose samples came in reverse.

    That may be inexact, as where dropout draws by place. What fits best must fit clearly better than rows that do not
    move.
    """
    means, others = rows.means, reversed_rows.means
    if means.shape != others.shape:
        return Fold.NONE
    first = len(means) // samples if rows.second else len(means)
    inside, each = first // samples, len(means) // first
    expected = {
        Fold.OUTER: means.view(samples, inside, each).flip(0).flatten(),
        Fold.INNER: means.view(inside, samples, each).flip(1).flatten(),
        Fold.NONE: means,
    }
    if rows.second:
        expected[Fold.SECOND] = means.view(first, samples).flip(1).flatten()
    misfit = {fold: float((others - moved).square().sum()) for fold, moved in expected.items()}
    if (
        rows.second or inside == samples
    ):  # it moves one way or the other, unless it does not move at all: dropout draws by place
        still = misfit.pop(Fold.NONE) <= 1e-9 * float((means - means.mean()).square().sum())
        return Fold.NONE if still else min(misfit, key=lambda fold: misfit[fold])
    best = min(misfit, key=lambda fold: misfit[fold])
    return best if misfit[best] < 0.5 * misfit[Fold.NONE] else Fold.NONE


def why_not(tensor: Tensor, samples: int) -> str:
    """Why a tensor is no feature of so many samples."""
    return f"shape {tuple(tensor.shape)} has no dimension of {samples} samples"


def is_bias(name: str) -> bool:
    """Whether a parameter of this name is a bias, also of a recurrent layer."""
    last = name.rpartition(".")[2]
    return last.endswith("bias") or last.startswith("bias_")


def scales_of(model: nn.Module) -> Iterator[object]:
    """Parameters that only scale: those of normalisations, and the lengths that weight normalisation keeps."""
    for module in model.modules():
        if isinstance(module, NORMALISING):
            yield from module._parameters.values()
        elif isinstance(module, ParametrizationList) and isinstance(module[0], _WeightNorm):
            yield module.original0
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm):
                yield getattr(module, f"{hook.name}_g")


def without_bias(named: Iterable[tuple[str, Tensor]]) -> list[Tensor]:
    """Parameters but biases."""
    return [p for name, p in named if not is_bias(name)]
