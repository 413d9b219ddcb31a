"""A function on a GPU as one CUDA graph: its thousands of kernels start with one call, not one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

WARM_UP = 3
"""Calls before the capture, in which libraries choose their kernels and optimisers make their state."""

Losses = Mapping[str, Tensor]
Update = Callable[..., Losses]
"""From tensors of fixed shapes to scalars by name; what else it changes is in memory that stays where it is."""


class Graph:
    """An update that is called as always at first, then captured, and from then on replayed.

    A replay repeats the kernels of the captured call on other inputs. So Python numbers in the function are those of
    that call, and its branches too. Random numbers go on as without a graph.

    Args:
        update: makes no copy to the CPU.
    """

    def __init__(self, update: Update) -> None:
        self._update = update
        self._calls = 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._losses: Losses = {}

    def __call__(self, *inputs: Tensor) -> Losses:
        """Update once."""
        if self._graph is None and self._calls < WARM_UP:
            self._calls += 1
            return self._on_the_side(*inputs)
        if self._graph is None:
            self._inputs = [given.clone() for given in inputs]
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._losses = self._update(*self._inputs)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given, non_blocking=True)
        self._graph.replay()
        return {name: loss.clone() for name, loss in self._losses.items()}

    def _on_the_side(self, *inputs: Tensor) -> Losses:
        """On the stream that captures: gradients and workspaces belong to the stream that made them."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            losses = self._update(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return losses
