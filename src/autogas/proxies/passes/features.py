"""What features are: which functions of torch have them, and which of their dimensions are the samples."""

from __future__ import annotations

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
from autogas.seeding import torch_generator

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
    "hardswish threshold threshold_",
    F,
    torch,
    Tensor,
)
"""Rectifiers."""
HARD_TANH = _named("hardtanh hardtanh_", F)
"""``CLAMPS`` by another name, from -1 to 1 where nothing is said."""
CLAMPS = HARD_TANH | _named("clamp clamp_ clip clip_ clamp_min clamp_min_", torch, Tensor)
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
) | _named("_native_batch_norm_legit_functional", torch.ops.aten)
"""What normalisations are in decomposed graphs: they give statistics beside the feature."""
NORMALISATIONS = _named("batch_norm instance_norm group_norm layer_norm rms_norm", F, torch) | NATIVE_NORMALISATIONS
NORMALISING = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""Modules that do so; their weights are scales, of however many dimensions."""
CHANNELS_LAST = RECURRENT | _named("linear bilinear addmm layer_norm rms_norm native_layer_norm", F, torch, Tensor)
"""Functions whose channels are the last dimension of what they give; those of others are the second."""
SATURATING = _named("tanh tanh_ sigmoid sigmoid_ expit", F, torch, Tensor, torch.special)
"""The usual ends of generators."""
DEFORMED = "torchvision::deform_conv2d"
"""A convolution, whose first two arguments are those of others."""
DROPOUTS = _named(
    "dropout dropout_ dropout1d dropout2d dropout3d feature_dropout feature_dropout_ alpha_dropout alpha_dropout_ "
    "feature_alpha_dropout feature_alpha_dropout_",
    F,
    torch,
)
"""What leaves entries out at random; their third argument says whether it does."""
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
    return func.overloadpacket if isinstance(func, OpOverload) else func


def role(func: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Function:
    """``known`` for a call: to cut at zero from below is a rectifier, to cut to [0, 1] the usual end of a generator."""
    kind = known(func)
    if kind not in CLAMPS:
        return kind
    bounds = (("min_val", -1), ("max_val", 1)) if kind in HARD_TANH else (("min", None), ("max", None))
    given = (args[place] if len(args) > place else kwargs.get(*bound) for place, bound in enumerate(bounds, 1))
    least, most = map(_number, given)
    return F.relu if least == 0 and (most is None or (isinstance(most, int | float) and most > 1)) else kind


def is_cut_above(func: Function, kind: Function) -> bool:
    """Whether a rectifier (the ``role`` of a function) may be one that is cut from above, too."""
    return kind is F.relu6 or (kind is F.relu and known(func) in CLAMPS)


def _number(value: object) -> object:
    """A tensor of one entry as that number; anything else as it is."""
    if not isinstance(value, Tensor) or value.numel() != 1 or value.is_meta or is_functorch_wrapped_tensor(value):
        return value
    return value.item()


@dataclass(frozen=True)
class Fold:
    """Where the samples are among rows that are more, ``before * N * after`` of them in one dimension, and channels.

    Attributes:
        dimension: 0 or 1; None: nowhere.
        before: rows of a sample that are N * after apart; the others are neighbours.
        channels_last: whether channels are the last dimension and not the second.
    """

    dimension: int | None = 0
    before: int = 1
    channels_last: bool = False


OUTER = Fold()
"""The rows of a sample are neighbours."""
NOWHERE = Fold(None)
OF_NO_SAMPLE = "the rows are not those of samples"
"""What ``NOWHERE`` means."""


def is_folded(tensor: Tensor, samples: int) -> bool:
    """Whether a tensor has a multiple of the samples as rows."""
    return tensor.dim() > 1 and len(tensor) > samples and len(tensor) % samples == 0


def is_ambiguous(tensor: Tensor, samples: int) -> bool:
    """Whether a tensor may have its samples first, perhaps folded, or second: ``[k N, N, C]``."""
    return tensor.dim() == 3 and tensor.shape[1] == samples and len(tensor) > 0 and len(tensor) % samples == 0


def is_grouped(tensor: Tensor, samples: int) -> bool:
    """Whether a tensor may have its samples as groups of channels: ``[1, k N, …]``."""
    return tensor.dim() > 2 and len(tensor) == 1 and tensor.shape[1] > samples and tensor.shape[1] % samples == 0


def is_folded_second(tensor: Tensor, samples: int) -> bool:
    """Whether a sequence may have a multiple of the samples in its second dimension: ``[T, k N, C]``."""
    second = tensor.shape[1] if tensor.dim() == 3 else 0
    return second > samples and second % samples == 0 and len(tensor) != samples


def needs_a_fold(tensor: Tensor, samples: int) -> bool:
    """Whether its shape alone does not say which of its entries are a sample's."""
    asked = (is_folded, is_ambiguous, is_grouped, is_folded_second)
    return samples > 1 and any(may_be(tensor, samples) for may_be in asked)


def as_feature(tensor: Tensor, samples: int, fold: Fold = OUTER) -> Tensor | None:
    """A tensor as ``[N, C, …]`` with N samples first, or None where none of its dimensions is the samples.

    Networks fold what belongs to a sample into the batch: frames, patches, points of a ray, tokens. A first dimension
    of k N is unfolded to ``[N, C, k, …]``; a sequence ``[T, N, C]`` is turned, one of ``[T, k N, C]`` is unfolded, too;
    samples that are groups of one convolution, ``[1, N C, …]``, are taken apart.

    Args:
        tensor: of any shape.
        samples: N.
        fold: how k N rows belong to samples, see ``fold_of``, and where channels are.

    Examples:
        >>> shapes = ((12, 8, 5, 5), (12, 8), (7, 4, 8), (1, 32, 5, 5))
        >>> [tuple(as_feature(torch.zeros(shape), 4).shape) for shape in shapes]
        [(4, 8, 3, 5, 5), (4, 8, 3), (4, 7, 8), (4, 8, 5, 5)]
        >>> tuple(as_feature(torch.zeros(4, 7, 8), 4, Fold(channels_last=True)).shape)
        (4, 8, 7)
    """
    found = _samples_first(tensor, samples, fold) if tensor.dim() > 1 else None
    last = fold.channels_last and tensor.dim() > 2
    return found.movedim(-1, 1) if last and found is not None else found


def _samples_first(tensor: Tensor, samples: int, fold: Fold) -> Tensor | None:
    """``as_feature``, with channels that are last still there."""
    first, second = tensor.shape[:2]
    if needs_a_fold(tensor, samples) and fold.dimension is None:
        return None
    if tensor.dim() == 3 and second == samples and (first % samples or fold.dimension == 1):
        return tensor.transpose(0, 1)
    if first == samples:
        return tensor
    if is_grouped(tensor, samples):
        return _taken_apart(tensor[0], 0, samples, fold.before).flatten(1, 2)
    if is_folded_second(tensor, samples) and fold.dimension == 1:
        return _taken_apart(tensor, 1, samples, fold.before).flatten(2, 3)
    if not is_folded(tensor, samples):
        return None
    unfolded = _taken_apart(tensor, 0, samples, fold.before).flatten(1, 2)
    return unfolded if fold.channels_last and tensor.dim() > 2 else unfolded.movedim(2, 1)


def _taken_apart(tensor: Tensor, dimension: int, samples: int, before: int) -> Tensor:
    """A tensor with its samples first and, in place of a dimension, what was before and after them in it."""
    apart: Tensor = tensor.unflatten(dimension, (before, samples, -1))
    return apart.movedim(dimension + 1, 0)


@dataclass(frozen=True)
class Rows:
    """What says whose the rows of a feature are, once they are seen in a pass with the samples in reverse.

    Attributes:
        values: one number for each row ``[R, 1]``, or for each entry of the first two dimensions ``[R, S]``.
        likely: how they are taken where the network does not run on reversed samples.
        moves: whether it is known that they belong to samples one way or the other, unless none of them moves.
    """

    values: Tensor
    likely: Fold
    moves: bool


def rows_of(tensor: Tensor, samples: int) -> Rows:
    """The rows of a feature that ``needs_a_fold``, each with what a fixed vector of signs makes of it.

    A mean would not do: normalised rows have none.
    """
    both = tensor.dim() == 3 and tensor.shape[1] % samples == 0
    grouped = is_grouped(tensor, samples)
    rows = tensor.detach().flatten(0, 1) if both or grouped else tensor.detach()
    flat = (torch.view_as_real(rows) if rows.is_complex() else rows).flatten(1).double()
    signs = torch.randint(0, 2, flat.shape[1:], generator=torch_generator("rows"), device="cpu") * 2 - 1
    values = (flat @ signs.to(flat) / len(signs)).cpu().view((-1, tensor.shape[1]) if both or grouped else (-1, 1))
    surely = grouped or (is_ambiguous(tensor, samples) and len(tensor) == samples)
    moves = is_ambiguous(tensor, samples) or len(tensor) == samples**2
    return Rows(values, OUTER if surely else NOWHERE, moves)


def fold_of(rows: Rows, reversed_rows: Rows, samples: int) -> Fold:
    """How rows belong to samples, from those of a pass and of one whose samples came in reverse.

    That may be inexact, as where dropout draws by place. What fits best must fit clearly better than rows that do not
    move.
    """
    values, others = rows.values, reversed_rows.values
    if values.shape != others.shape:
        return NOWHERE
    misfit = {fold: float((others - moved).square().sum()) for fold, moved in _reversals(values, samples)}
    still = float((others - values).square().sum())
    if not misfit:
        return NOWHERE
    best = min(misfit, key=lambda fold: misfit[fold])
    if rows.moves:
        return NOWHERE if still <= 1e-9 * float((values - values.mean()).square().sum()) else best
    return best if misfit[best] < 0.5 * still else NOWHERE


def _reversals(values: Tensor, samples: int) -> Iterator[tuple[Fold, Tensor]]:
    """Every way in which the samples may be among rows, and what the rows would be with the samples in reverse."""
    for dimension, count in enumerate(values.shape):
        inside = count // samples if count % samples == 0 else 0
        for before in range(1, inside + 1):
            if inside % before == 0:
                apart = values.unflatten(dimension, (before, samples, -1))
                yield Fold(dimension, before), apart.flip(dimension + 1).flatten(dimension, dimension + 2)


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
