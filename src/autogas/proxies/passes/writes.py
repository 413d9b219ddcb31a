"""Which calls of torch may write memory, and whose."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional as F

HANDLES = frozenset(
    ("__setitem__", "numpy", "__array__", "__dlpack__", "to_dlpack", "data_ptr", "untyped_storage", "storage")
)
"""Functions that write a tensor or give away its memory, beside those in place, whose names end in ``_``."""


@functools.cache
def _by_name(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "").partition(".")[0]  # of an operator before its overload
    if name == "__get__":
        return getattr(func, "__self__", None) is torch.Tensor.data
    in_place = name.endswith("_") and not name.endswith("__")
    augmented = name.startswith("__i") and name not in ("__index__", "__int__", "__invert__")
    return in_place or augmented or name in HANDLES


@functools.cache
def _place_of_inplace(func: Callable[..., Any]) -> int | None:
    """Of the argument of this name, as ``F.relu`` has it, among those given by position."""
    try:
        return list(inspect.signature(func).parameters).index("inplace")
    except (TypeError, ValueError):  # no such argument, or a function of C
        return None


def _may_write(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    if _by_name(func) or kwargs.get("out") is not None or kwargs.get("inplace"):
        return True
    place = _place_of_inplace(func)
    if place is not None and len(args) > place and args[place]:
        return True
    if func in (F.embedding, F.embedding_bag):  # with a largest norm they rescale the table
        return kwargs.get("max_norm", args[3] if len(args) > 3 else None) is not None
    return False


RUNNING = {
    F.batch_norm: (1, 2),
    F.instance_norm: (1, 2),
    torch.batch_norm: (3, 4),
    torch.instance_norm: (3, 4),
    torch.native_batch_norm: (3, 4),
}
"""Places of running statistics, which normalisations write and nothing else of what they are given."""


def _running(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    for place, name in zip(RUNNING[func], ("running_mean", "running_var"), strict=True):
        given = args[place] if len(args) > place else kwargs.get(name)
        if isinstance(given, Tensor):
            yield given


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """All tensors among arguments, which may be nested."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)
        elif isinstance(value, Mapping):
            yield from tensors_in(value.values())


def written(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[int]:
    """The memories that a function may write, or give away to be written; see ``memory_of``."""
    if func in RUNNING:
        return [memory_of(tensor) for tensor in _running(func, args, kwargs)]
    if not _may_write(func, args, kwargs):
        return ()
    return [memory_of(tensor) for tensor in tensors_in((args, kwargs))]


def memory_of(tensor: Tensor) -> int:
    """What tensors that share memory have in common."""
    plain = tensor.layout is torch.strided and not is_functorch_wrapped_tensor(tensor)
    return tensor.untyped_storage()._cdata if plain else 0
