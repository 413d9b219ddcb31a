"""Searched cells as small drawings: nodes, and an arrow for every operation that is there.

The places of the nodes are chosen by hand for each space. A drawing needs no style sheet: arrows carry their colours,
everything else has the text colour of the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from autogas.report.svg import number
from autogas.spaces import Space
from autogas.spaces.eagan import EAGANDiscriminator, EAGANGenerator
from autogas.spaces.eagan.genotype import DOWN_OPS, KEEP, NORMAL_OPS, UP_OPS, Genes
from autogas.spaces.eagan.network import DISCRIMINATOR_EDGES, GENERATOR_EDGES

Point = tuple[float, float]
SIZE = (520.0, 250.0)
RADIUS = 15.0
HEAD = 8.0
COLOURS = {"convolution": "#2f6fd0", "skip": "#7a8490", "resize": "#c2570c", "cross-scale": "#0f8a7e"}
DASHED = ("skip", "cross-scale")

GENERATOR_NODES = {"in": (30, 125), "0": (175, 65), "1": (175, 185), "2": (330, 125), "out": (490, 125)}
EARLIER_CELLS: tuple[Point, ...] = ((330, 62), (330, 188))
DISCRIMINATOR_NODES = {"in": (30, 125), "1": (165, 125), "2": (320, 65), "3": (320, 185), "out": (490, 125)}


@dataclass(frozen=True)
class Arrow:
    """One operation between two nodes.

    Attributes:
        start: where it comes from.
        end: where it leads to.
        label: what it does.
        kind: a key of :data:`COLOURS`.
        bend: how far its middle lies below the straight line.
    """

    start: Point
    end: Point
    label: str
    kind: str
    bend: float = 0.0


def cell_drawings(space: Space[Any], arch: Any) -> list[Markup]:
    """An SVG of every searched cell of an architecture, in order of execution; none for a space without a layout.

    Examples:
        >>> from autogas.spaces import get_space
        >>> space = get_space("eagan-generator")
        >>> len(cell_drawings(space, space.parse("eagan-best")))
        3
    """
    if isinstance(space, EAGANGenerator):
        return [generator_cell(genes, place) for place, genes in enumerate(arch.cells)]
    if isinstance(space, EAGANDiscriminator):
        return [discriminator_cell(genes, place) for place, genes in enumerate(arch.cells)]
    return []


def generator_cell(genes: Genes, place: int) -> Markup:
    """The cell ``place`` (from 0) of an EAGAN generator, with what it takes from earlier cells."""
    nodes = GENERATOR_NODES
    arrows = [Arrow(nodes["in"], nodes[str(i)], UP_OPS[op], "resize") for i, op in enumerate(genes[:2])]
    ends = {0: nodes["0"], 1: nodes["1"], 2: nodes["2"], 3: nodes["out"]}
    arrows += _edges(GENERATOR_EDGES, genes[2:], ends, {(0, 3): -64.0, (1, 3): 64.0})
    boxes = {f"cell {i + 1}, conv 1x1": point for i, point in enumerate(EARLIER_CELLS[:place])}
    arrows += [Arrow(point, nodes["2"], "", "cross-scale") for point in boxes.values()]
    return _draw(nodes, boxes, arrows, f"Generator cell {place + 1}")


def discriminator_cell(genes: Genes, place: int) -> Markup:
    """The cell ``place`` (from 0) of an EAGAN discriminator."""
    nodes = DISCRIMINATOR_NODES
    ends = {0: nodes["in"], 1: nodes["1"], 2: nodes["2"], 3: nodes["3"]}
    arrows = _edges(DISCRIMINATOR_EDGES, genes[:5], ends, {(0, 2): -60.0, (0, 3): 60.0})
    for start, op in zip(("2", "3"), genes[5:], strict=True):
        label, kind = ("same size", "skip") if op == KEEP else (DOWN_OPS[op], "resize")
        arrows.append(Arrow(nodes[start], nodes["out"], label, kind))
    return _draw(nodes, {}, arrows, f"Discriminator cell {place + 1}")


def _edges(
    edges: Sequence[tuple[int, int]],
    ops: Genes,
    nodes: Mapping[int, Point],
    bends: Mapping[tuple[int, int], float],
) -> list[Arrow]:
    return [
        Arrow(
            nodes[edge[0]],
            nodes[edge[1]],
            NORMAL_OPS[op],
            "skip" if NORMAL_OPS[op] == "skip" else "convolution",
            bends.get(edge, 0.0),
        )
        for edge, op in zip(edges, ops, strict=True)
        if op
    ]


def _draw(nodes: Mapping[str, Point], boxes: Mapping[str, Point], arrows: Sequence[Arrow], title: str) -> Markup:
    parts = [_arrow(arrow) for arrow in arrows]
    circle = Markup('<circle cx="{}" cy="{}" r="{}" fill="none" stroke="currentColor"/>')
    text = Markup('<text x="{}" y="{}" fill="currentColor">{}</text>')
    for name, (x, y) in nodes.items():
        parts += [circle.format(number(x), number(y), number(RADIUS)), text.format(number(x), number(y + 4), name)]
    parts += [text.format(number(x), number(y + 4), name) for name, (x, y) in boxes.items()]
    width, height = map(number, SIZE)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" font-family="sans-serif" font-size="12"'
        ' text-anchor="middle" role="img" aria-label="{}">{}</svg>\n'
    ).format(width, height, title, Markup("").join(parts))


def _arrow(arrow: Arrow) -> Markup:
    """A quadratic curve between the rims of two nodes, its head, and its label along its middle."""
    middle = ((arrow.start[0] + arrow.end[0]) / 2, (arrow.start[1] + arrow.end[1]) / 2)
    control = (middle[0], middle[1] + 2 * arrow.bend)  # the curve passes halfway between its chord and this
    start, _ = _toward(arrow.start, control, RADIUS)
    tip, (dx, dy) = _toward(arrow.end, control, RADIUS)
    base = (tip[0] + HEAD * dx, tip[1] + HEAD * dy)
    sides = [(base[0] - side * HEAD / 2 * dy, base[1] + side * HEAD / 2 * dx) for side in (-1, 1)]
    colour = COLOURS[arrow.kind]
    curve = Markup('<path d="M{} Q{} {}" fill="none" stroke="{}" stroke-width="1.6"{}/>').format(
        _pair(start),
        _pair(control),
        _pair(base),
        colour,
        Markup(' stroke-dasharray="5 3"') if arrow.kind in DASHED else "",
    )
    head = Markup('<path d="M{} L{} L{}Z" fill="{}"/>').format(*map(_pair, (tip, *sides)), colour)
    angle = math.degrees(math.atan2(arrow.end[1] - arrow.start[1], arrow.end[0] - arrow.start[0]))
    place = ((start[0] + 2 * control[0] + base[0]) / 4, (start[1] + 2 * control[1] + base[1]) / 4)
    below = 15.0 if arrow.bend > 0 else -6.0
    label = Markup('<text transform="translate({}) rotate({})" y="{}" fill="{}">{}</text>').format(
        _pair(place), number(angle), number(below), colour, arrow.label
    )
    return curve + head + (label if arrow.label else Markup(""))


def _toward(origin: Point, target: Point, distance: float) -> tuple[Point, Point]:
    """The point at a distance from ``origin`` toward ``target``, and the direction."""
    dx, dy = target[0] - origin[0], target[1] - origin[1]
    length = math.hypot(dx, dy)
    direction = (dx / length, dy / length)
    return (origin[0] + distance * direction[0], origin[1] + distance * direction[1]), direction


def _pair(point: Point) -> str:
    return f"{number(point[0])} {number(point[1])}"
