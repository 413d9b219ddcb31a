"""Tensors and arrays as they were at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Saved:
    """A tensor, and what it was."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.grad = tensor.grad if tensor.is_leaf else None
        self.slopes = None if self.grad is None else self.grad.clone()
        self.slopes_version = 0 if self.grad is None else self.grad._version
        self.requires_grad = tensor.requires_grad
        hooks = tensor._backward_hooks if tensor.is_leaf else None
        self.hooks = None if hooks is None else hooks.copy()
        self.plain = tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_nested
        # The same memory with a count of writes of its own: a graph that reads the tensor stays valid.
        self.memory = tensor.data
        self.values: Tensor | None = None

    def copy(self) -> None:
        """Keep the values."""
        keeps = self.plain or self.tensor.layout in SPARSE
        self.values = self.memory.clone() if keeps else None

    def restore(self) -> Change | None:
        """Put everything back; memory may be read-only, so nothing is written without need.

        Returns what was changed, if it is values that a graph may have read, or None.
        """
        memory, tensor = self.memory, self.tensor
        moved = self.plain and (
            tensor.dtype != memory.dtype or tensor.shape != memory.shape or tensor.data_ptr() != memory.data_ptr()
        )
        change = Change(tensor, tensor.data, None) if moved else None
        if moved:
            tensor.data = memory
        if tensor.is_leaf:
            self._restore_leaf()
        if self.values is None:
            return change
        if not self.plain:
            with torch.no_grad():
                tensor.copy_(self.values)
        elif not torch.equal(memory, self.values):
            change = change or Change(tensor, memory, memory.clone())
            once = _each_once(memory)
            with torch.inference_mode():
                memory[once].copy_(self.values[once])
        return change

    def _restore_leaf(self) -> None:
        tensor = self.tensor
        if tensor.requires_grad != self.requires_grad:
            tensor.requires_grad_(self.requires_grad)
        if tensor.grad is not self.grad:
            tensor.grad = self.grad
        if self.grad is not None and self.slopes is not None and self.grad._version != self.slopes_version:
            self.grad.data.copy_(self.slopes)
        if tensor._backward_hooks is not None and (self.hooks is None or tensor._backward_hooks != self.hooks):
            tensor._backward_hooks = self.hooks


@dataclass(frozen=True)
class Change:
    """What a tensor was when it was put back.

    Attributes:
        tensor: the tensor.
        memory: its data then.
        values: of that memory, which were overwritten since; None: they still are there.
    """

    tensor: Tensor
    memory: Tensor
    values: Tensor | None

    def again(self) -> None:
        """Bring it back, without a count of writes."""
        if self.values is None:
            self.tensor.data = self.memory
        else:
            once = _each_once(self.memory)
            with torch.inference_mode():
                self.memory[once].copy_(self.values[once])


class SavedArray:
    """A numpy array, and what it was."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self.kept = array.copy()

    def restore(self) -> None:
        """Put shape, type and values back."""
        array, kept = self.array, self.kept
        if array.size * array.itemsize != kept.size * kept.itemsize:
            array.resize(kept.shape, refcheck=False)
        if array.dtype != kept.dtype:
            setattr(array, "dtype", kept.dtype)  # noqa: B010 - what types call read-only is not
        if array.shape != kept.shape:
            array.shape = kept.shape
        if array.flags.writeable and array.tobytes() != kept.tobytes():
            array[...] = kept


SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)
"""Layouts whose values are kept too."""


def _each_once(tensor: Tensor) -> tuple[slice, ...]:
    """Where the entries of an expanded tensor are without their repetitions."""
    return tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.stride())
