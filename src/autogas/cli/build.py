"""``autogas bench build``: train sampled architectures and keep what quality each reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autogas.benchmarks.store import checked_name
from autogas.cli import parsing
from autogas.cli.generated import with_options
from autogas.cli.printing import emit
from autogas.training.kinds import all_settings
from autogas.workflows.build import BuildSettings, check_free, store_built
from autogas.workflows.build import build as workflow


@with_options(BuildSettings, *all_settings())
def build(
    given: dict[str, Any],
    name: Annotated[
        str | None, typer.Option(help="Name under which to store the benchmark; default the run folder's.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Where to store it; default the user's data folder.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let a benchmark of the same name that is there already give way.")
    ] = False,
    out: parsing.Out = None,
    resume: parsing.Resume = None,
    jobs: parsing.Jobs = None,
    json: parsing.Json = False,
) -> None:
    """Train sampled architectures and record what quality each reached."""
    called = checked_name(name or Path(out or resume or "build").resolve().name, store)
    if not replace:
        check_free(called, store, resume)  # now, not after hours of training
    run = workflow(**given, out=out, resume=resume, jobs=jobs)
    path = store_built(run, name=name, folder=store)
    results = run.results
    emit(
        {"run": str(run.path), "benchmark": str(path), **results},
        as_json=json,
        text=f"{results['trained']} trainings, {len(results['failed'])} failed; benchmark {path.stem} in {path}",
    )
