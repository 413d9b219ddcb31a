"""Derivatives that count every use of a tensor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from autogas.errors import InputError


@contextlib.contextmanager
def _landing(tensors: Sequence[Tensor]) -> Iterator[list[Tensor | None]]:
    """What is added to ``grad`` of each meanwhile, which has it as it was afterwards; None for what is no leaf."""
    leaves = {id(x): x for x in tensors if x.is_leaf}
    before = {place: x.grad for place, x in leaves.items()}
    landed: list[Tensor | None] = []
    for x in leaves.values():
        x.grad = None
    try:
        yield landed
        landed += [leaves.pop(id(x)).grad if id(x) in leaves else None for x in tensors]
    finally:
        for x in tensors:
            if id(x) in before:
                x.grad = before[id(x)]


def gradients(
    of: Tensor | Sequence[Tensor],
    by: Sequence[Tensor],
    *,
    also: Sequence[Tensor | None] = (),
    retain_graph: bool = True,
    **options: Any,
) -> list[Tensor]:
    """``torch.autograd.grad`` with zeros where there is no dependence.

    What a backward pass of the network's own, such as that of a checkpoint, adds to ``grad`` of a leaf counts too.

    Args:
        of: what is differentiated.
        by: by what.
        also: for each of these another tensor, or None, whose derivative is added.
        retain_graph: as torch has it.
        options: likewise.
    """
    depends = any(x.requires_grad for x in ([of] if isinstance(of, Tensor) else of))
    each = [(place, x) for place, x in [*enumerate(by), *enumerate(also)] if x is not None and x.requires_grad]
    sums: list[Tensor | None] = [None] * len(by)
    if each and depends:
        tensors = [x for _, x in each]
        with _landing(tensors) as landed:
            found = torch.autograd.grad(of, tensors, allow_unused=True, retain_graph=retain_graph, **options)
        for (place, _), g in zip([*each, *each], [*found, *landed], strict=True):
            if g is not None:
                if g.layout is not torch.strided and options.get("create_graph"):
                    raise InputError("gradients are sparse, which have no derivatives: expected sparse=False")
                g = g if g.layout is torch.strided else g.to_dense()
                known = sums[place]
                sums[place] = g if known is None else known + g
    return [torch.zeros_like(x) if g is None else g for x, g in zip(by, sums, strict=True)]
