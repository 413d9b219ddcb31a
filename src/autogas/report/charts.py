"""The charts of the page: scatter of scores, evolution curve, histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from autogas.report import svg
from autogas.report.data import Panel, Searched, Trace
from autogas.report.phrases import signed
from autogas.report.scale import Axis, axis_over, plotted, short_number

WIDE_CHART = (460.0, 290.0)
NAMED_POINTS = 6000
"""Above this many points on a page they lose their names, which would weigh megabytes."""
AXIS_NOTE = {"linear": "score", "log": "score, logarithmic", "rank": "place of the score"}


@dataclass(frozen=True)
class Marker:
    """A value that a chart points out: its name, value, and the style class of its colour."""

    name: str
    value: float
    style: str


def scatter(panel: Panel, metric: str, *, named: bool) -> Markup:
    """Score against measured quality, one point an architecture; failed ones stand at the left."""
    values, how = plotted(panel.scores)
    failed = ~np.isfinite(values)
    frame = svg.Frame(
        axis_over(values, log=how == "log"),
        axis_over(panel.quality),
        AXIS_NOTE[how] if panel.row else panel.name,
        metric,
        gutter=bool(failed.any()),
    )
    style = "trivial" if panel.trivial else "scorer"
    places = [
        (svg.LEFT + svg.GUTTER / 2 if lost else frame.across(float(value)), frame.up(float(quality)))
        for value, quality, lost in zip(values, panel.quality, failed, strict=True)
    ]
    if named:
        marks = [
            svg.point(
                x, y, f"{arch}: {metric} {signed(quality, 4)}, {_score(score)}", f"{style} failed" if lost else style
            )
            for (x, y), arch, quality, score, lost in zip(
                places, panel.archs, panel.quality, panel.scores, failed, strict=True
            )
        ]
    else:
        marks = [svg.dots(places, style)]
    return frame.draw(marks, label=f"Scatter of {panel.name} against {metric}", kind="scatter")


def _score(score: float) -> str:
    return f"score {short_number(score)}" if np.isfinite(score) else "no score"


def evolution(curves: Sequence[Trace], optimum: float | None, tau: str) -> Markup:
    """Best validation tau so far against the number of judged candidates."""
    values = [value for curve in curves for value in curve.best]
    top = [optimum] if optimum is not None else []
    frame = svg.Frame(
        Axis(1, max(2, *(curve.evaluated for curve in curves)), log=True),
        axis_over(values + top),
        "candidates judged, logarithmic",
        f"best validation {tau} so far",
        *WIDE_CHART,
    )
    marks = []
    if optimum is not None:
        y = frame.up(optimum)
        across = svg.line(svg.LEFT, y, frame.width - 10, y, "curve optimum")
        marks.append(svg.titled(across, f"enumeration optimum: {signed(optimum)}"))
    for curve in reversed(curves):
        style = strategy_style(curve.strategy)
        marks.append(svg.polyline([(frame.across(x), frame.up(y)) for x, y in steps(curve)], f"curve {style}"))
        marks += [
            svg.point(
                frame.across(x), frame.up(y), f"{curve.strategy}, candidate {x}: {proxy}, {tau} {signed(y)}", style, 3
            )
            for x, y, proxy in zip(curve.at, curve.best, curve.proxies, strict=True)
        ]
    return frame.draw(marks, label=f"Best validation {tau} so far of every strategy", kind="wide")


def steps(curve: Trace) -> list[tuple[float, float]]:
    """Corners of the staircase of a curve, from its first finite fitness to its last candidate."""
    ends = [*curve.at[1:], curve.evaluated]
    corners = zip(curve.at, ends, curve.best, strict=False)
    return [corner for start, end, best in corners for corner in ((start, best), (end, best))]


def strategy_style(strategy: str) -> str:
    """Style class of a strategy."""
    return strategy if strategy in ("evolution", "random") else "optimum"


def tau_histogram(histogram: Mapping[str, Any], markers: Sequence[Marker], tau: str) -> Markup:
    """Distribution of validation tau over all distinct rankings, with markers."""
    counts = np.asarray(histogram["counts"], dtype=np.int64)
    edges = np.linspace(histogram["low"], histogram["high"], len(counts) + 1)
    return bars(counts, edges, markers, (f"validation {tau}", "distinct rankings"), "rankings")


def bars(
    counts: NDArray[np.int64], edges: NDArray[np.float64], markers: Sequence[Marker], titles: tuple[str, str], what: str
) -> Markup:
    """A histogram with markers, cropped to what is not empty."""
    used = np.flatnonzero(counts)
    low, high = (edges[used[0]], edges[used[-1] + 1]) if len(used) else (edges[0], edges[-1])
    x = axis_over([low, high, *(marker.value for marker in markers)], margin=0.03)
    frame = svg.Frame(x, Axis(0, 1.08 * max(1, int(counts.max()))), *titles, *WIDE_CHART)
    marks = [
        svg.bar(
            frame.across(edges[i]),
            frame.across(edges[i + 1]),
            frame.up(counts[i]),
            frame.bottom,
            f"{signed(edges[i])} to {signed(edges[i + 1])}: {counts[i]:,} {what}",
        )
        for i in used
    ]
    for i, marker in enumerate(markers):
        across, top = frame.across(marker.value), 10.0 + 14 * i
        pin = svg.line(across, top, across, frame.bottom, f"curve {marker.style}")
        head = svg.point(across, top, f"{marker.name}: {signed(marker.value)}", marker.style, 4)
        marks += [pin, head]
    return frame.draw(marks, label=f"Histogram of {titles[0]}", kind="wide")


def costs(found: Searched, controls: Sequence[Mapping[str, Any]]) -> Markup:
    """Score of every candidate against its MACs, with the winner and what it is held against in blue."""
    judged = [row for row in controls if row["score"] is not None]
    frame = svg.Frame(
        axis_over([*found.scores, *(row["score"] for row in judged)]),
        axis_over([*found.macs, *(row["macs"] for row in judged)]),
        "score",
        "MACs",
    )
    places = [(frame.across(float(x)), frame.up(float(y))) for x, y in zip(found.scores, found.macs, strict=True)]
    if len(places) <= NAMED_POINTS:
        titles = [f"{arch}: {_score(score)}" for arch, score in zip(found.archs, found.scores, strict=True)]
        marks = [svg.point(x, y, title, "trivial") for (x, y), title in zip(places, titles, strict=True)]
    else:
        marks = [svg.dots(places, "trivial")]
    marks += [
        svg.point(
            frame.across(row["score"]), frame.up(row["macs"]), f"{row['name']}: {_score(row['score'])}", "scorer", 5
        )
        for row in judged
    ]
    return frame.draw(marks, label="Scatter of score against MACs", kind="scatter")


def best_so_far(found: Searched) -> Markup:
    """Best score after each candidate."""
    counts = range(1, len(found.best) + 1)
    frame = svg.Frame(
        axis_over([0, *counts]), axis_over(found.best), "architectures scored", "best score so far", *WIDE_CHART
    )
    line = [(frame.across(n), frame.up(float(best))) for n, best in zip(counts, found.best, strict=True)]
    return frame.draw([svg.polyline(line, "curve evolution")], label="Best score so far", kind="wide")
