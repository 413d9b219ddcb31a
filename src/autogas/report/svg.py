"""Inline SVG charts: a frame with axes, and the marks that go into it. Colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from autogas.report.scale import Axis

LEFT = 58.0
GUTTER = 30.0
LAYERS = 8


@dataclass(frozen=True)
class Frame:
    """The box of a chart in user units, with its axes.

    Attributes:
        x: horizontal axis.
        y: vertical axis.
        x_title: what the horizontal axis shows.
        y_title: what the vertical axis shows.
        width: of the whole chart.
        height: of the whole chart.
        gutter: leave room at the left for points without a horizontal value.
    """

    x: Axis
    y: Axis
    x_title: str
    y_title: str
    width: float = 300.0
    height: float = 240.0
    gutter: bool = False

    @property
    def left(self) -> float:
        """Where the horizontal axis starts."""
        return LEFT + (GUTTER if self.gutter else 0.0)

    @property
    def bottom(self) -> float:
        """Where the vertical axis starts."""
        return self.height - 40.0

    def across(self, value: float) -> float:
        """Horizontal position of a value."""
        return self.left + self.x.place(value) * (self.width - 10.0 - self.left)

    def up(self, value: float) -> float:
        """Vertical position of a value."""
        return self.bottom - self.y.place(value) * (self.bottom - 10.0)

    def draw(self, marks: Sequence[Markup], *, label: str, kind: str) -> Markup:
        """The whole chart: grid, labels, then marks. ``label`` is read out by screen readers."""
        x0, y0, x1 = LEFT, self.bottom, self.width - 10.0
        parts = []
        for value, text in self.y.ticks():
            y = self.up(value)
            parts.append(line(x0, y, x1, y, "grid") + words(x0 - 6, y + 4, text, "tick end"))
        for value, text in self.x.ticks():
            x = self.across(value)
            parts.append(line(x, y0, x, y0 + 4, "axis") + words(x, y0 + 17, text, "tick mid"))
        if self.gutter:
            parts.append(words(x0 + GUTTER / 2, y0 + 17, "failed", "tick mid"))
            parts.append(line(x0 + GUTTER, 10, x0 + GUTTER, y0, "grid"))
        parts.append(line(x0, y0, x1, y0, "axis"))
        parts.append(words((x0 + x1) / 2, self.height - 6, self.x_title, "name mid"))
        turned = Markup('<text class="name mid" transform="translate({} {}) rotate(-90)">{}</text>')
        parts.append(turned.format(13, number((10 + y0) / 2), self.y_title))
        return Markup('<svg class="chart {}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>\n').format(
            kind, number(self.width), number(self.height), label, Markup("").join([*parts, *marks])
        )


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def line(x0: float, y0: float, x1: float, y1: float, style: str) -> Markup:
    """A straight line."""
    corners = (number(v) for v in (x0, y0, x1, y1))
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(style, *corners)


def words(x: float, y: float, text: str, style: str) -> Markup:
    """A text."""
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(style, number(x), number(y), text)


def point(x: float, y: float, title: str, style: str, radius: float = 3.2) -> Markup:
    """A point that shows ``title`` under the pointer."""
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
        style, number(x), number(y), number(radius), title
    )


def dots(points: Sequence[tuple[float, float]], style: str) -> Markup:
    """Many points as a few small paths, without titles; paths darken where they overlap, a single one would not."""
    places = [f"M{number(x)} {number(y)}h0" for x, y in points]
    paths = ("".join(places[i::LAYERS]) for i in range(LAYERS))
    return Markup("").join(Markup('<path class="dots {}" d="{}"/>').format(style, path) for path in paths if path)


def bar(x0: float, x1: float, y: float, bottom: float, title: str) -> Markup:
    """A bar of a histogram that shows ``title`` under the pointer."""
    return Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        number(x0), number(y), number(max(x1 - x0 - 0.5, 0.5)), number(bottom - y), title
    )


def polyline(points: Sequence[tuple[float, float]], style: str) -> Markup:
    """A line through points."""
    path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(style, path)


def titled(mark: Markup, title: str) -> Markup:
    """A mark that shows ``title`` under the pointer."""
    return Markup("<g>{}<title>{}</title></g>").format(mark, escape(title))
