"""Gram matrices of blocks ``[N, columns]``, as fast as the processor gives them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Words: TypeAlias = NDArray[np.uint64]
MANY, LONG = 8, 1 << 14
"""Samples, and entries of each, from which a convolution is the faster product; of two samples it can be far slower."""
ROOM = 1 << 16
"""Words that are compared at a time, which stay in the cache."""
FEW = 1 << 9
"""Words of a row whose ones are counted at a time, so that 16 bits hold the count."""


def gram(blocks: Tensor) -> Tensor:
    """``B Bᵀ`` of each block of ``[..., N, columns]``.

    On the CPU long rows are each other's kernels of a convolution, up to 1.7 times as fast as a matrix product.
    """
    n, columns = blocks.shape[-2:]
    flat = blocks.reshape(-1, n, columns)
    if n < MANY or columns < LONG or blocks.device.type != "cpu" or blocks.dtype != torch.float32:
        grams = torch.bmm(flat, flat.mT)
    else:
        grams = torch.stack([F.conv1d(rows, rows) for rows in flat[:, :, None]])
    return grams.view(*blocks.shape[:-1], n)


def pack(blocks: Iterable[Tensor], above: Sequence[tuple[int, Tensor]]) -> Words:
    """Which entries of features are above thresholds, as the bits of words.

    Args:
        blocks: on the CPU, ``[T, K, N, columns]`` each, side by side.
        above: numbers of P of the T, and thresholds ``[K]`` or ``[1]`` for each.

    Returns:
        ``[P, K, N, words]``; columns that fill no word are followed by zeros.
    """
    parts = []
    for block in blocks:
        values = block.detach().numpy()
        higher = np.empty((len(above), *values.shape[1:]), dtype=np.bool_)
        for (number, thresholds), out in zip(above, higher, strict=True):
            np.greater(values[number], thresholds.to(block.dtype).numpy()[:, None, None], out=out)
        parts.append(np.packbits(higher, axis=3))
    size = sum(part.shape[3] for part in parts)
    if size % 8:
        parts.append(np.zeros((*parts[0].shape[:3], -size % 8), dtype=np.uint8))
    return (np.concatenate(parts, axis=3) if len(parts) > 1 else parts[0]).view(np.uint64)


def ones_in_common(words: Words) -> NDArray[np.float64]:
    """Gram matrices ``[..., N, N]`` of binary features ``[..., N, words]``: how many ones two samples have in common.

    64 entries are compared at once, which takes half the time of a product of floats.
    """
    n, length = words.shape[-2:]
    rows = words.reshape(-1, n, length)
    p = len(rows)
    partners, places = _pairs(n)
    counts = np.zeros((p, partners.size), dtype=np.float64)
    columns = max(min(length, ROOM // partners.size, FEW), 1)
    features = max(ROOM // (columns * partners.size), 1)
    for first, column in itertools.product(range(0, p, features), range(0, length, columns)):
        part = rows[first : first + features, :, column : column + columns]
        both = part.take(partners, axis=1)
        np.bitwise_and(both, part[:, None], out=both)
        ones = np.add.reduce(np.bitwise_count(both), axis=3, dtype=np.uint16)
        counts[first : first + features] += ones.reshape(len(part), -1)
    return counts.take(places, axis=1).reshape(*words.shape[:-1], n)


@functools.lru_cache
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of n rows the partners ``[n/2 + 1, n]`` of each, so that every pair is there, and where each pair stands."""
    rows = np.arange(n)
    partners = (rows + np.arange(n // 2 + 1)[:, None]) % n
    rows = np.broadcast_to(rows, partners.shape)
    places = np.empty((n, n), dtype=np.intp)
    places[rows, partners] = places[partners, rows] = np.arange(partners.size).reshape(partners.shape)
    return partners, places
