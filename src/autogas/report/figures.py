"""The figures as PNG, drawn with matplotlib's objects so that no global state is touched."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from autogas.proxies.named import PAPERS_PROXY
from autogas.report.charts import AXIS_NOTE, steps, strategy_style
from autogas.report.data import (
    Panel,
    RunData,
    bins_for,
    first_quality,
    metric_of,
    panels,
    panels_across,
    repeats,
    reproduced_panels,
    searched,
    traces,
)
from autogas.report.phrases import fitness_name, measured, signed
from autogas.report.scale import plotted

DPI = 160
MOST_PANELS = 12
FIGURE_ONE = ("discovered", PAPERS_PROXY, "num_downsamples", "macs")
COLOURS = {"evolution": "#1f5fbf", "random": "#c2570c", "optimum": "#5b6470", "scorer": "#1f5fbf", "trivial": "#5b6470"}


def draw_figures(data: RunData) -> dict[str, bytes]:
    """Every figure of a run: name to PNG. Equal data give equal bytes."""
    with matplotlib.style.context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if data.workflow == "build":
            return _build_figures(data)
        if data.workflow == "reproduce":
            found = reproduced_panels(data).items()
            return {f"scatter-{name.replace('/', '-')}": png(scatter(p, "quality")) for name, p in found if p}
        if data.workflow == "discover-across":
            each = panels_across(data).items()
            about = data.results["benchmarks"]
            return {
                f"scatter-{name.replace('/', '-')}": png(scatter(found[:MOST_PANELS], measured(about[name])))
                for name, found in each
            }
        if data.workflow == "search":
            return {"search": png(cost_scatter(data))}
        every = panels(data)
        if data.workflow == "discover":
            every = sorted((p for p in every if p.name in FIGURE_ONE), key=lambda p: FIGURE_ONE.index(p.name))
        chosen = every[:MOST_PANELS]
        figures = {"scatter": scatter(chosen, measured(data.results["benchmark"]))} if chosen else {}
        if data.workflow == "discover" and any(trace.best for trace in traces(data)):
            figures["evolution"] = evolution(data)
        return {name: png(figure) for name, figure in figures.items()}


def scatter(chosen: Sequence[Panel], metric: str) -> Figure:
    """Score against measured quality, one panel a scorer on one scale of quality, as in Figure 1 of the paper."""
    columns = min(4, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.9 * lines), dpi=DPI, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, chosen, strict=False):
        _scatter_panel(axes, panel)
    for axes in grid[:, 0]:
        axes.set_ylabel(metric, fontsize=8, parse_math=False)
    return figure


def _scatter_panel(axes: Axes, panel: Panel) -> None:
    values, how = plotted(panel.scores)
    colour = COLOURS["trivial" if panel.trivial else "scorer"]
    axes.scatter(values, panel.quality, s=12, alpha=0.6, linewidths=0, color=colour)
    if how == "log":
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=4)
    title = textwrap.shorten(panel.name, 60, placeholder="…")
    if panel.row:
        tau = {name: signed(panel.row[f"kendall_{name}"]["value"]) for name in "ab"}
        title = f"{title}\nτ-a {tau['a']}, τ-b {tau['b']}"
    axes.set_title(textwrap.fill(title, 34, replace_whitespace=False), fontsize=9, parse_math=False)
    axes.set_xlabel(AXIS_NOTE[how] if panel.row else panel.name, fontsize=8, parse_math=False)
    _plain(axes)


def evolution(data: RunData) -> Figure:
    """Best validation tau so far against the number of judged candidates, with the enumeration optimum."""
    figure = Figure(figsize=(6, 3.7), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    enumeration = data.results.get("enumeration")
    for trace in traces(data):
        if trace.best:
            across, up = zip(*steps(trace), strict=True)
            dash = "--" if trace.strategy == "random" else "-"
            axes.plot(across, up, dash, color=COLOURS[strategy_style(trace.strategy)], label=trace.strategy)
    if enumeration:
        optimum = enumeration["optimum"]["validation_tau"]
        axes.axhline(optimum, color=COLOURS["optimum"], linestyle=":", label="enumeration optimum")
    axes.set_xscale("log")
    axes.set_xlabel("candidates judged, logarithmic", fontsize=9)
    axes.set_ylabel(f"best validation {fitness_name(data.results)} so far", fontsize=9)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    _plain(axes)
    return figure


def cost_scatter(data: RunData) -> Figure:
    """Score of every candidate of a search against its MACs, with the winner and what it is held against."""
    figure = Figure(figsize=(6, 3.7), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    found = searched(data)
    axes.plot(found.macs, found.scores, ".", color=COLOURS["trivial"], markersize=4, alpha=0.5)
    for row, mark in zip(data.results["controls"], "*sDo", strict=False):
        if row["score"] is not None:
            axes.plot(row["macs"], row["score"], mark, color=COLOURS["scorer"], markersize=9, label=row["name"])
    axes.set_xlabel("MACs", fontsize=9)
    axes.set_ylabel("score", fontsize=9)
    axes.legend(loc="best", fontsize=8, frameon=False)
    _plain(axes)
    return figure


def _build_figures(data: RunData) -> dict[str, bytes]:
    figure = Figure(figsize=(5, 3.3), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    quality = first_quality(data)
    axes.hist(quality, bins=bins_for(quality), color=COLOURS["scorer"])
    axes.set_xlabel(data.results["quality"]["measured"], fontsize=9)
    axes.set_ylabel("architectures", fontsize=9)
    _plain(axes)
    figures: dict[str, Any] = {"distribution": figure}
    again = repeats(data)
    if again:
        figures["seeds"] = scatter(again, f"{metric_of(data)}, seed {data.tables['trained']['seed'].min()}")
    return {name: png(figure) for name, figure in figures.items()}


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def png(figure: Figure) -> bytes:
    """A figure as PNG without dates or versions."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
