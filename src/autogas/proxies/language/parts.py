"""Parts of a network: which of the captured layers a proxy looks at.

A part takes the number of positions (height times width; 1 for a vector) of each live layer ``[L]``, in order of
execution, and gives ``bool [L]``. Layers that do not vary over the batch are left out before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autogas.errors import unknown

Mask: TypeAlias = NDArray[np.bool_]
Positions: TypeAlias = NDArray[np.int64]
Part: TypeAlias = Callable[[Positions], Mask]
WHOLE = ""
PARTS: dict[str, Part] = {}


def part(function: Part) -> Part:
    """Register a part under its function's name."""
    if function.__name__ in PARTS:
        raise ValueError(f"part {function.__name__!r} is registered twice")
    PARTS[function.__name__] = function
    return function


def get_part(name: str) -> Part:
    """A part by name; the empty name is the whole network.

    Raises:
        InputError: an unknown name.
    """
    if name == WHOLE:
        return lambda positions: np.ones(len(positions), dtype=bool)
    if name not in PARTS:
        raise unknown("part", name, PARTS)
    return PARTS[name]


@part
def early(positions: Positions) -> Mask:
    """First half of execution, the middle layer included."""
    return np.arange(len(positions)) < (len(positions) + 1) // 2


@part
def late(positions: Positions) -> Mask:
    """Second half of execution, the middle layer included."""
    return np.arange(len(positions)) >= len(positions) // 2


@part
def small(positions: Positions) -> Mask:
    """Layers whose maps are no larger than the median."""
    mask: Mask = positions <= np.median(positions)
    return mask


@part
def large(positions: Positions) -> Mask:
    """Layers whose maps are no smaller than the median."""
    mask: Mask = positions >= np.median(positions)
    return mask


@part
def encoder(positions: Positions) -> Mask:
    """Up to the last layer with the smallest map, that layer included; a network that only grows has one."""
    return np.arange(len(positions)) <= _bottleneck(positions)


@part
def decoder(positions: Positions) -> Mask:
    """From the last layer with the smallest map on, that layer included."""
    return np.arange(len(positions)) >= _bottleneck(positions)


def _bottleneck(positions: Positions) -> int:
    maps = positions[positions > 1]
    smallest = maps.min() if len(maps) else positions.min()
    return int(np.flatnonzero(positions == smallest)[-1])
