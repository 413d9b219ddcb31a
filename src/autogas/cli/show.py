"""``autogas show``: a finished run, printed again."""

from __future__ import annotations

from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.printing import SHOWN, emit
from autogas.runs import Run


def show(
    run: Annotated[str, typer.Argument(help="Folder of a finished run.")],
    json: parsing.Json = False,
) -> None:
    """Print what a finished run found."""
    opened = Run.open(run)
    results = opened.results
    text = f"{opened.workflow}, {opened.path}\n"
    text += (
        SHOWN[opened.workflow](opened)
        if opened.workflow in SHOWN
        else "\n".join(f"{name}: {value}" for name, value in results.items())
    )
    emit({"run": str(opened.path), "workflow": opened.workflow, **results}, as_json=json, text=text)
