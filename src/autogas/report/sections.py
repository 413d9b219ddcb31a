"""What goes into the page of each workflow, in the order in which it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from autogas.errors import InputError
from autogas.proxies.language.expression import parse_proxy
from autogas.proxies.named import PAPERS_PROXY, get_proxy
from autogas.report import charts, formula, phrases
from autogas.report.cells import drawn
from autogas.report.charts import Marker
from autogas.report.data import (
    RunData,
    Trace,
    bins_for,
    failure_reasons,
    first_quality,
    metric_of,
    panels,
    panels_across,
    repeats,
    reproduced_panels,
    searched,
    traces,
)
from autogas.spaces import get_space

Context = dict[str, Any]


def discover(data: RunData) -> Context:
    """The winner, how it ranks unseen architectures, how it was found."""
    results = data.results
    table, benchmark = results["test"], results["benchmark"]
    curves = traces(data)
    enumeration = results.get("enumeration")
    optimum = enumeration["optimum"]["validation_tau"] if enumeration else None
    subject = "the discovered proxy"
    markers = _markers(results, curves)
    tau = phrases.fitness_name(results)
    return {
        "tau": tau,
        "headline": phrases.headline(table, benchmark, "discovered", subject, " that no candidate saw"),
        "caveats": [*phrases.against_trivial(table, "discovered", subject), *phrases.against_random(table)],
        "stages": mathematics(results["winner"]["proxy"]),
        "table": table,
        **_scatters(data),
        "curves": curves,
        "evolution": charts.evolution(curves, optimum, tau) if any(curve.best for curve in curves) else "",
        "enumeration": enumeration,
        "histogram": charts.tau_histogram(enumeration["histogram"], markers, tau) if enumeration else "",
        "markers": markers,
        "reasons": failure_reasons(data.tables["candidates"]),
    }


def discover_across(data: RunData) -> Context:
    """The winner, how far it fell, how it ranks every benchmark."""
    results = data.results
    tests = {name: phrases.row_of(table, "discovered") for name, table in results["test"].items()}
    taus = {name: row["kendall_a"]["value"] for name, row in tests.items() if row}
    lead = ", ".join(f"{phrases.signed(tau)} on {name}" for name, tau in taus.items())
    return {
        "benchmarks": list(results["benchmarks"]),
        "lead": f"On architectures that no candidate saw the discovered proxy ranks with τ-a {lead}.",
        "stages": mathematics(results["winner"]["proxy"]),
        "falls": [
            {
                "name": name,
                "reachable": results["reachable"][name],
                "validation": results["validation_tau_a"]["discovered"].get(name),
                "test": results.get("test_tau_a", taus).get(name),
                "fall": fall,
            }
            for name, fall in results["fall"].items()
        ],
        "parts_of": [
            (
                name,
                results["test"][name],
                [(p, charts.scatter(p, phrases.measured(results["benchmarks"][name]), named=False)) for p in found],
            )
            for name, found in panels_across(data).items()
        ],
    }


def rank(data: RunData) -> Context:
    """How every scorer ranks."""
    table, benchmark = data.results["test"], data.results["benchmark"]
    leader = table[0]["name"] if table else ""
    paper = PAPERS_PROXY if phrases.row_of(table, PAPERS_PROXY) else leader
    return {
        "headline": phrases.headline(table, benchmark, leader, f"the best scorer, {phrases.described(leader)},", ""),
        "caveats": phrases.against_trivial(table, paper, "the paper’s proxy" if paper == PAPERS_PROXY else paper),
        "formulas": [(row, mathematics(row["expression"])) for row in table if row["expression"]],
        "table": table,
        **_scatters(data),
        "unscored": sorted(data.results.get("unscored", {}).items()),
    }


def reproduce(data: RunData) -> Context:
    """Ours beside the paper's."""
    scatters = []
    for title, found in reproduced_panels(data).items():
        scatters.append((title, [(panel, charts.scatter(panel, "quality", named=False)) for panel in found]))
    return {
        "name": data.settings["name"],
        "tables": data.results["tables"],
        "claims": data.results["claims"],
        "scatters": scatters,
    }


def search(data: RunData) -> Context:
    """The winner, what it is held against, how it was found."""
    results, settings = data.results, data.settings
    found = searched(data)
    space = get_space(settings["space"], **settings["space_settings"])
    return {
        "space": settings["space"],
        "proxy": settings["proxy"],
        "budget": results["budget"],
        "stages": mathematics(str(get_proxy(settings["proxy"]))),
        "cells": [drawn(cell) for cell in space.diagrams(space.parse(results["winner"]["arch"]))],
        "latency": data.costs.get("latency_ms", {}),
        "original": phrases.row_of(results["controls"], "original"),
        "by_cost": charts.costs(found, results["controls"]),
        "best_so_far": charts.best_so_far(found),
        "reasons": data.tables["candidates"].query("reason != ''")[["arch", "reason"]].to_numpy().tolist(),
    }


def build(data: RunData) -> Context:
    """What was trained, and how far training agrees with itself."""
    trained = data.tables["trained"]
    measured = data.results["quality"]["measured"]
    quality = first_quality(data)
    counts, edges = np.histogram(quality, bins=bins_for(quality))
    titles = (measured, "architectures")
    first_seed = f"{metric_of(data)}, seed {trained['seed'].min()}"
    return {
        "architectures": len(quality),
        "measured": measured,
        "lowest": float(quality.min()),
        "highest": float(quality.max()),
        "distribution": charts.bars(counts, edges, [], titles, "architectures"),
        "repeats": [charts.scatter(panel, first_seed, named=True) for panel in repeats(data)],
        "failed": sorted(data.results["failed"].items()),
        "provenance": data.results.get("provenance"),
    }


def mathematics(text: str) -> list[tuple[formula.Line, Markup]] | None:
    """The stages of an expression with their drawings; None where this version cannot read it."""
    try:
        stages = formula.lines(parse_proxy(text))
    except InputError:
        return None
    return [(stage, formula.draw(stage.latex)) for stage in stages]


def _scatters(data: RunData) -> Context:
    every = panels(data)
    named = sum(len(panel.archs) for panel in every) <= charts.NAMED_POINTS
    measured = phrases.measured(data.results["benchmark"])
    return {
        "measured": measured,
        "scatters": [(panel, charts.scatter(panel, measured, named=named)) for panel in every],
        "named": named,
    }


def _markers(results: Mapping[str, Any], curves: Sequence[Trace]) -> list[Marker]:
    """The values that the histogram points out, as far as the files hold them."""
    found = [("winner", results["winner"]["validation_tau"], "evolution")]
    found += [("best of random search", c.best[-1], "random") for c in curves[1:] if c.strategy == "random" and c.best]
    paper = results["validation_tau"].get(PAPERS_PROXY)
    found += [("the paper’s proxy", paper, "paper")]
    if results.get("enumeration"):
        found.append(("enumeration optimum", results["enumeration"]["optimum"]["validation_tau"], "optimum"))
    return [Marker(*entry) for entry in found if entry[1] is not None and np.isfinite(entry[1])]
