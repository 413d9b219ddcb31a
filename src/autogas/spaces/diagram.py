"""What a searched cell looks like: nodes, and an arrow for every operation that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Point = tuple[float, float]
SIZE = (520.0, 250.0)
"""Width and height that every diagram fills; y points down."""
Kind = Literal["convolution", "skip", "resize", "cross-scale"]


@dataclass(frozen=True)
class Arrow:
    """One operation between two nodes.

    Attributes:
        start: where it comes from.
        end: where it leads to.
        label: what it does.
        kind: which sort of operation it is.
        bend: how far its middle lies below the straight line.
    """

    start: Point
    end: Point
    label: str
    kind: Kind
    bend: float = 0.0


@dataclass(frozen=True)
class Diagram:
    """One cell.

    Attributes:
        title: what it is.
        nodes: places of its feature maps, by name.
        arrows: its operations.
        boxes: places of what comes from elsewhere, by name.
    """

    title: str
    nodes: Mapping[str, Point]
    arrows: Sequence[Arrow]
    boxes: Mapping[str, Point] = field(default_factory=dict)
