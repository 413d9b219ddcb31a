"""What a network computes from tensors that it holds alone, which says nothing of a sample."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.multiprocessing.reductions import StorageWeakRef

from autogas.proxies.passes.writes import HANDLES, memory_of, tensors_in

PLAIN = (bool, int, float, str, slice, torch.dtype, torch.device, torch.layout, torch.memory_format)
MAKERS = frozenset(
    (torch.arange, torch.eye, torch.full, torch.linspace, torch.logspace, torch.ones, torch.tensor, torch.zeros)
)
"""Functions that make the same tensor of no tensor."""
GIVEN_AWAY = HANDLES - {"__setitem__"}
"""Names of functions after which anything may be written."""
READ = frozenset(("item", "tolist", "numpy", "__array__", "__int__", "__index__", "__float__"))
"""Names of functions that make Python's numbers of a tensor."""
BY_NUMBER = frozenset(("__getitem__", "select", "narrow"))
"""Names of functions that choose by whole numbers, which may be those of a sample."""


class Constants:
    """Which tensors are made of those alone that a network holds, so that none of their dimensions is the samples."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor] | Tensor, object]] = {}
        # Memories that something else was written to; no other gets the address of one that a weak reference is to.
        self._mixed: dict[int, StorageWeakRef] = {}
        self._numbers_of_samples = False  # whether some were read

    def start(self, tensors: Iterable[Tensor]) -> None:
        """What the network holds are such; they are held until the pass ends."""
        for tensor in tensors:
            self._known[id(tensor)] = tensor, stamp(tensor)

    def add(self, made: object) -> None:
        """A tensor that was made of them, or a tuple of such tensors, is one."""
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self._known[id(tensor)] = weakref.ref(tensor), stamp(tensor)

    def alone(
        self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], memories: Sequence[int]
    ) -> bool:
        """Whether a function is applied to these alone; if not, the memories that it writes hold others."""
        values = (*args, *kwargs.values())
        name = getattr(func, "__name__", "")
        whole = all(map(self.fits, values)) and (func in MAKERS or any(map(self._holds, values)))
        if name in READ:
            self._numbers_of_samples = self._numbers_of_samples or not whole
        if whole and self._numbers_of_samples and (memories or name in BY_NUMBER or func in MAKERS):
            kinds = (int, float) if memories else (float,) if func in MAKERS else (int,)
            whole = not any(type(part) in kinds for x in values for part in (x if isinstance(x, tuple) else (x,)))
        if whole and (not memories or name not in GIVEN_AWAY):
            return True
        for tensor in tensors_in(values) if memories else ():
            memory = memory_of(tensor)
            if memory in memories and memory and memory not in self._mixed:
                self._mixed[memory] = StorageWeakRef(tensor.untyped_storage())
        return False

    def fits(self, value: Any) -> bool:
        """Whether an argument can hold nothing of a sample: one of these tensors, or a number, size or name."""
        if isinstance(value, Tensor):
            held, known = self._known.get(id(value), (None, None))
            alive = held() if isinstance(held, weakref.ref) else held
            return alive is value and known == stamp(value) and memory_of(value) not in self._mixed
        if isinstance(value, list):  # of numbers, these may come from a sample
            return all(isinstance(part, Tensor) and self.fits(part) for part in value)
        if isinstance(value, tuple):
            return all(map(self.fits, value))
        return value is None or value is Ellipsis or isinstance(value, PLAIN)

    def _holds(self, value: Any) -> bool:
        """Whether there is a tensor among the parts of an argument."""
        return isinstance(value, Tensor) or (isinstance(value, tuple | list) and any(map(self._holds, value)))


def stamp(tensor: Tensor) -> object:
    """What changes when a tensor is written, or has other memory."""
    if tensor.is_inference() or tensor.layout is not torch.strided or tensor.is_meta:
        return None
    if is_functorch_wrapped_tensor(tensor):
        return None
    return memory_of(tensor), tensor.data_ptr(), tensor._version
