"""``autogas train``: train one network, and keep it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autogas.cli import parsing
from autogas.cli.generated import with_options
from autogas.cli.printing import emit, metric_lines
from autogas.errors import InputError
from autogas.runs import Run
from autogas.training.kinds import all_settings
from autogas.workflows.train import TrainSettings
from autogas.workflows.train import profile as profile_training
from autogas.workflows.train import train as workflow


@with_options(TrainSettings, *all_settings())
def train(
    given: dict[str, Any],
    dataset: Annotated[
        str | None, typer.Option(help="GAN: cifar10 (32x32, default) or stl10 (48x48): size and published recipe.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="GAN: channels of the searched network.")] = None,
    out: parsing.Out = None,
    resume: parsing.Resume = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Only print where the time of a step goes; nothing is kept.")
    ] = False,
    json: parsing.Json = False,
) -> None:
    """Train a network: checkpoints, samples and metrics as it goes, the exported network at the end."""
    beside = {name: value for name, value in (("dataset", dataset), ("width", width)) if value is not None}
    for name, value in beside.items():
        parsing.must_agree(name, value, "--set", given.get("space_settings", {}))
    given |= beside
    if resume is None and "arch" not in given:
        raise InputError("say what to train: an architecture, or a run to continue with --resume")
    if profile:
        table = profile_training(**given)
        emit({"profile": table}, as_json=json, text=table)
        return
    _emit(workflow(**given, out=out, resume=resume), as_json=json)


def _emit(run: Run, *, as_json: bool) -> None:
    results = run.results
    lines = [*metric_lines(results), f"generator: {run.path / 'generator.safetensors'}"]
    emit({"run": str(run.path), **results}, as_json=as_json, text="\n".join(lines))
