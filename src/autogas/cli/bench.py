"""``autogas bench``: import, build, list and show benchmarks."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from autogas.cli import options

app = typer.Typer(no_args_is_help=True, help="Import, build, list and show benchmarks.")


@app.command()
def build(
    space: Annotated[str, typer.Option(help="Search space to sample from.")] = "transnas",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Setting of the space, NAME=VALUE; may repeat.")] = None,
    images: Annotated[str, typer.Option(help="Training images: cifar10, stl10, a folder, a Parquet file.")] = "cifar10",
    held_out: Annotated[str | None, typer.Option(help="Images to measure on; default: test split or tail.")] = None,
    count: Annotated[int, typer.Option(help="Architectures to train.")] = 300,
    repeats: Annotated[int, typer.Option(help="How many of them get three seeds.")] = 30,
    steps: Annotated[int, typer.Option(help="Training steps an architecture.")] = 300,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Peak of the one-cycle schedule.")] = 1e-2,
    out: options.Out = None,
    resume: options.Resume = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    jobs: options.Jobs = os.cpu_count() or 1,
    json: options.Json = False,
) -> None:
    """Train sampled architectures and record what quality each reached."""
    from autogas.runs import Run
    from autogas.workflows.build import BuildSettings
    from autogas.workflows.build import build as workflow

    if resume is not None:
        run = Run.open(resume, "build")
    else:
        settings = BuildSettings.model_validate(
            {
                "space": space,
                "space_settings": options.parse_settings(set_),
                "count": count,
                "repeats": repeats,
                "images": images,
                "held_out": held_out,
                "recipe": {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate},
                "seed": seed,
                "device": device,
            }
        )
        run = Run.start("build", settings.model_dump(mode="json"), out)
    table = workflow(run, jobs=jobs)
    options.emit(
        {"run": str(run.path), "trained": len(table)},
        as_json=json,
        text=f"{len(table)} trainings in {run.path}",
    )
