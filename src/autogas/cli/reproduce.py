"""``autogas reproduce``: the paper's tables, ours beside the printed ones."""

from __future__ import annotations

import io
from typing import Any

from rich import box
from rich.table import Table

from autogas.cli import parsing
from autogas.cli.generated import with_options
from autogas.cli.printing import console, emit, number
from autogas.errors import InputError
from autogas.report import write_report
from autogas.workflows.reproduce import reproduce as workflow
from autogas.workflows.tables import ReproduceSettings


@with_options(ReproduceSettings)
def reproduce(
    given: dict[str, Any],
    out: parsing.Out = None,
    resume: parsing.Resume = None,
    jobs: parsing.Jobs = parsing.CORES,
    json: parsing.Json = False,
) -> None:
    """Regenerate a table of the paper, with intervals and the printed numbers beside ours."""
    if "name" not in given and resume is None:
        raise InputError("say what to reproduce: accepted are table2, figure1, table5 and table6")
    run = workflow(**given, out=out, resume=resume, jobs=jobs)
    page = write_report(run)
    document = {"run": str(run.path), "report": str(page), **run.results}
    emit(document, as_json=json, text=f"{_describe(run.results)}\n\nreport: {page}")


def _describe(results: dict[str, Any]) -> str:
    text = io.StringIO()
    out = console(text)
    for table in results["tables"]:
        drawn = Table(title=table["title"], box=box.SIMPLE_HEAD, title_justify="left")
        drawn.add_column("method")
        for column in ("tau-b", "95 % interval", "paper", "Spearman", "paper", "Pearson", "paper"):
            drawn.add_column(column, justify="right")
        for row in table["rows"]:
            tau = row["ours"]["kendall"]
            between = "-" if tau["low"] is None else f"{number(tau['low'])} to {number(tau['high'])}"
            cells = [number(tau["value"]), between]
            cells.append(number(row["paper"]["kendall"]))
            for measure in ("spearman", "pearson"):
                ours = row["ours"][measure]
                cells += [number(ours and ours["value"]), number(row["paper"][measure])]
            drawn.add_row(row["method"], *cells)
        out.print(drawn)
    for claim in results["claims"]:
        verdict = "held" if claim["held"] else "not held"
        out.print(f"{claim['benchmark']}, {claim['claim']}: {verdict}; {claim['test']}", markup=False)
    return text.getvalue().rstrip()
