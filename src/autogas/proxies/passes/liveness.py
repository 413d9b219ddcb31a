"""Whether what a network computes says anything of it: it must be finite, and vary over the batch."""

from __future__ import annotations

import dataclasses
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from autogas.code import slot_value, slots_of
from autogas.errors import InputError

IGNORES = "the output of the network ignores its input"
ALIKE = "the samples are all the same: expected samples that differ"
WITHOUT = "the output of the network is a {} without tensors"
ROUNDING = 16
"""Steps between numbers near the largest entry that is not the same for all."""


def varies(feature: Tensor) -> bool:
    """Whether any sample of the batch differs from the first; one sample has no other."""
    if len(feature) < 2:
        return False
    if not torch.equal(feature[0], feature[1]):
        return True
    return bool((feature[2:] != feature[0]).any())


def varies_beyond_rounding(feature: Tensor) -> bool:
    """Whether any sample differs from the first by more than arithmetic leaves to chance.

    What is rounding is another number on another processor, and none of the network.
    """
    if not (feature.is_floating_point() or feature.is_complex()):
        return varies(feature)
    wide = feature if feature.dtype.itemsize >= 4 else feature.float()
    wide = wide[:, (wide != wide[0]).any(0)] if wide.dim() > 1 else wide  # the same large mask may be in all
    if not wide.numel():
        return False
    least = ROUNDING * torch.finfo(wide.dtype).eps * wide.abs().max()
    return bool(((wide - wide[0]).abs() > least).any())


def must_have_values(model: torch.nn.Module, inputs: Iterable[Tensor]) -> None:
    """Raise ``InputError`` for a network or inputs on the meta device."""
    if any(x.is_meta for x in inputs) or any(p.is_meta for _, p in model.named_parameters()):
        raise InputError("the network or its inputs are on the meta device, which has no values to score")


def all_alike(inputs: Sequence[Tensor]) -> bool:
    """Whether no input differs between the samples of the batch."""
    batches = [x for x in inputs if x.dim() and len(x) == len(inputs[0])]
    return not any(bool((x != x[:1]).any()) for x in batches)


class Finiteness:
    """Whether all features of a pass are finite, from their sums: one reading, and no wait for the device."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: list[Tensor] = []
        self._last: tuple[weakref.ref[Tensor] | None, int] = None, 0

    def add(self, func: Callable[..., Any], feature: Tensor) -> None:
        """Note what a function took or gave; what one gives and the next takes is noted once."""
        if is_functorch_wrapped_tensor(feature):
            return
        known, version = self._last
        if known is not None and known() is feature and feature._version == version:
            return
        self._last = (None, 0) if feature.is_inference() else (weakref.ref(feature), feature._version)
        if feature.is_floating_point() or feature.is_complex():
            wide = feature.dtype if feature.dtype.itemsize >= 4 else torch.float32
            self._names.append(getattr(func, "__name__", "layer"))
            self._sums.append(feature.detach().sum(dtype=wide).abs().double())

    @property
    def failure(self) -> str:
        """Which feature is the first that is not finite, or empty."""
        if not self._sums:
            return ""
        bad = (~torch.stack(self._sums).isfinite()).nonzero().flatten().tolist()
        if not bad:
            return ""
        return f"feature {bad[0] + 1} of {len(self._sums)} in the network, at {self._names[bad[0]]}, is not finite"


def failure(output: object, samples: int | None = None) -> str:
    """Why a network that gave this for so many samples cannot be scored, or empty.

    No tensor in the output may hold NaN or infinity, and a batch ``[N, D, …]`` must vary: of several any of
    floating-point numbers with a row for each sample, or if there is none the first.
    """
    found = list(all_tensors(output))
    if not found:
        return WITHOUT.format(type(output).__name__)
    if not all(bool(x.isfinite().all()) for x in found):
        return "the output of the network is not finite"
    batches = [x for x in found if x.dim() > 1] or [x for x in found if x.dim() == 1]
    likely = [x for x in batches if len(x) == samples and (x.is_floating_point() or x.is_complex())]
    asked = [x for x in likely or batches[:1] if len(x) > 1]
    return IGNORES if asked and not any(map(varies_beyond_rounding, asked)) else ""


def tensors(output: object) -> Iterator[Tensor]:
    """All tensors of an output, which may be nested in tuples, lists, mappings, data classes and attributes.

    Raises:
        InputError: there is none.
    """
    found = list(all_tensors(output))
    if not found:
        raise InputError(WITHOUT.format(type(output).__name__))
    return iter(found)


def differentiable(output: object) -> list[Tensor]:
    """The tensors of an output that may have a derivative, which gradient scorers read.

    Raises:
        InputError: there is none.
    """
    found = list(tensors(output))
    floating = [x for x in found if x.is_floating_point() or x.is_complex()]
    if not floating:
        kinds = ", ".join(dict.fromkeys(str(x.dtype).removeprefix("torch.") for x in found))
        raise InputError(f"the output of the network is {kinds}: expected floating-point numbers")
    return floating


def principal(output: object, samples: int) -> Tensor:
    """The tensor of an output that an objective reads: the first of floating-point numbers, ``[N, …]``.

    A list of an output for each sample, equally large, is one tensor.

    Raises:
        InputError: there is none.
    """
    found = differentiable(output)
    # What is computed of weights before masks and inputs, where there is a graph, and nothing that is empty.
    found.sort(key=lambda x: (_is_given(x), not x.numel()))
    alike = {(x.shape, x.dtype, x.device) for x in found}
    apart = isinstance(output, list | tuple) and len(output) == len(found) == samples > 1 and len(alike) == 1
    return torch.stack(found) if apart and found[0].shape[:1] != (samples,) else found[0]


def _is_given(x: Tensor) -> bool:
    """Whether there is no graph behind it, or it is the copy of an input."""
    if x.grad_fn is None:
        return True
    behind = [before.name() for before, _ in x.grad_fn.next_functions if before is not None]
    return x.grad_fn.name() == "CloneBackward0" and behind == ["torch::autograd::AccumulateGrad"]


def all_tensors(output: object, above: frozenset[int] = frozenset()) -> Iterator[Tensor]:
    """As ``tensors``, or none; what is ``above``, by identity, is not looked into."""
    parts: Iterable[object] = ()
    if isinstance(output, Tensor):
        yield _plain(output)
    elif isinstance(output, Mapping):
        parts = output.values()
    elif isinstance(output, list | tuple | deque | set | frozenset):
        parts = output
    elif dataclasses.is_dataclass(output):
        parts = [getattr(output, field.name) for field in dataclasses.fields(output)]
    elif hasattr(output, "__dict__") and not isinstance(output, type | torch.nn.Module | ModuleType):
        parts = vars(output).values()
    elif slots := slots_of(type(output)):
        parts = [slot_value(slot, output) for slot in slots]
    inside = above | {id(output)}
    for part in parts:
        if id(part) not in inside:
            yield from all_tensors(part, inside)


def _plain(output: Tensor) -> Tensor:
    """Numbers that one can compute with, whatever they are stored as."""
    if output.is_nested:
        padded: Tensor = torch.nested.to_padded_tensor(output, 0.0)
        return padded
    if output.is_quantized:
        return output.dequantize()
    if output.layout is not torch.strided:
        return output.to_dense()
    return output.float() if output.is_floating_point() and output.dtype.itemsize < 2 else output
