"""``autogas evaluate``: how good images are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autogas.cli import parsing
from autogas.cli.generated import with_options
from autogas.cli.printing import emit, metric_lines
from autogas.errors import InputError
from autogas.runs import Run
from autogas.workflows.evaluate import EvaluateSettings
from autogas.workflows.evaluate import evaluate as workflow
from autogas.workflows.evaluate_translation import EvaluateTranslationSettings, evaluate_translation


@with_options(EvaluateSettings, EvaluateTranslationSettings)
def evaluate(
    given: dict[str, Any],
    save_reference: Annotated[Path | None, typer.Option(help="Write the reference's statistics to this .npz.")] = None,
    out: parsing.Out = None,
    resume: parsing.Resume = None,
    json: parsing.Json = False,
) -> None:
    """Measure images: Fréchet and kernel distance to others, Inception Score; of translations, agreement too."""
    if resume is None and ("images" not in given or not {"reference", "data"} & given.keys()):
        raise InputError("say what to evaluate and what it should look like: --images and --reference or --data")
    if save_reference is not None:
        given["save_reference"] = save_reference
    translates = "data" in (given if resume is None else Run.open(resume, "evaluate").settings)
    run = (evaluate_translation if translates else workflow)(**given, out=out, resume=resume)
    results = run.results
    lines = metric_lines(results)
    lines += [f"{name}: {value}" for name, value in results["protocol"].items()]
    emit({"run": str(run.path), **results}, as_json=json, text="\n".join(lines))
