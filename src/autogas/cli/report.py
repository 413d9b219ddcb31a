"""``autogas report``: draw the page of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.printing import emit


def report(
    run: Annotated[str, typer.Argument(help="Folder of a finished run.")],
    json: parsing.Json = False,
) -> None:
    """Write figures and one self-contained HTML page into a run folder."""
    from autogas.report import write_report
    from autogas.runs import Run

    path = write_report(Run.open(run))
    emit({"report": str(path)}, as_json=json, text=str(path))
