"""``autogas show``: a finished run, printed again."""

from __future__ import annotations

from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.printing import describe_ranking, emit, metric_lines, shown_across, shown_search, shown_tables
from autogas.runs import Run

SHOWN = {
    "discover": lambda run: describe_ranking(run.results),
    "rank": lambda run: describe_ranking(run.results),
    "discover-across": lambda run: shown_across(run.results),
    "search": lambda run: shown_search(run.results, run.costs.get("latency_ms", {})),
    "reproduce": lambda run: shown_tables(run.results),
    "train": lambda run: "\n".join(metric_lines(run.results)),
    "evaluate": lambda run: "\n".join(metric_lines(run.results)),
    "build": lambda run: f"{run.results['trained']} trainings, {len(run.results['failed'])} failed",
}
"""What a run of each workflow says when it ends."""


def show(
    run: Annotated[str, typer.Argument(help="Folder of a finished run.")],
    json: parsing.Json = False,
) -> None:
    """Print what a finished run found."""
    opened = Run.open(run)
    results = opened.results
    describe = SHOWN.get(opened.workflow)
    text = f"{opened.workflow}, {opened.path}\n"
    text += describe(opened) if describe else "\n".join(f"{name}: {value}" for name, value in results.items())
    emit({"run": str(opened.path), "workflow": opened.workflow, **results}, as_json=json, text=text)
