"""A tensor as it was at one moment."""

from __future__ import annotations

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
        self.plain = tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_nested
        # The same memory with a count of writes of its own: a graph that reads the tensor stays valid.
        self.memory = tensor.data
        self.values: Tensor | None = None

    def copy(self) -> None:
        """Keep the values."""
        keeps = self.plain or self.tensor.layout in SPARSE
        self.values = self.memory.clone() if keeps else None

    def restore(self) -> None:
        """Put everything back; memory may be read-only, so nothing is written without need."""
        memory, tensor = self.memory, self.tensor
        if self.plain and (
            tensor.dtype != memory.dtype or tensor.shape != memory.shape or tensor.data_ptr() != memory.data_ptr()
        ):
            tensor.data = memory
        if tensor.is_leaf:
            if tensor.requires_grad != self.requires_grad:
                tensor.requires_grad_(self.requires_grad)
            if tensor.grad is not self.grad:
                tensor.grad = self.grad
            if self.grad is not None and self.slopes is not None and self.grad._version != self.slopes_version:
                self.grad.data.copy_(self.slopes)
        if self.values is None:
            return
        if not self.plain:
            with torch.no_grad():
                tensor.copy_(self.values)
        elif not torch.equal(memory, self.values):
            once = _each_once(memory)
            with torch.inference_mode():
                memory[once].copy_(self.values[once])


SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)
"""Layouts whose values are kept too."""


def _each_once(tensor: Tensor) -> tuple[slice, ...]:
    """Where the entries of an expanded tensor are without their repetitions."""
    return tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.stride())
