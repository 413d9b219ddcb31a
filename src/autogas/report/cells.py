"""Searched cells as small drawings.

A drawing needs no style sheet: arrows carry their colours, everything else has the text colour of the page.
"""

from __future__ import annotations

import math

from markupsafe import Markup

from autogas.report.svg import number
from autogas.spaces.diagram import SIZE, Arrow, Diagram, Kind, Point

RADIUS = 15.0
HEAD = 8.0
COLOURS: dict[Kind, str] = {
    "convolution": "#2f6fd0",
    "skip": "#7a8490",
    "resize": "#c2570c",
    "cross-scale": "#0f8a7e",
}
DASHED: tuple[Kind, ...] = ("skip", "cross-scale")


def drawn(diagram: Diagram) -> Markup:
    """A diagram as SVG.

    Examples:
        >>> from autogas.spaces import get_space
        >>> space = get_space("eagan-generator")
        >>> [cell.title for cell in space.diagrams(space.parse("eagan-best"))][:2]
        ['Generator cell 1', 'Generator cell 2']
    """
    parts = [_arrow(arrow) for arrow in diagram.arrows]
    circle = Markup('<circle cx="{}" cy="{}" r="{}" fill="none" stroke="currentColor"/>')
    text = Markup('<text x="{}" y="{}" fill="currentColor">{}</text>')
    for name, (x, y) in diagram.nodes.items():
        parts += [circle.format(number(x), number(y), number(RADIUS)), text.format(number(x), number(y + 4), name)]
    parts += [text.format(number(x), number(y + 4), name) for name, (x, y) in diagram.boxes.items()]
    width, height = map(number, SIZE)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" font-family="sans-serif" font-size="12"'
        ' text-anchor="middle" role="img" aria-label="{}">{}</svg>\n'
    ).format(width, height, diagram.title, Markup("").join(parts))


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
