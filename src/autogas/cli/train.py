"""``autogas train``: train a generator for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from autogas.cli import options
from autogas.errors import InputError

if TYPE_CHECKING:
    from autogas.runs import Run


def train(
    arch: Annotated[
        str | None, typer.Argument(help="Architecture, published name, or folder of a search whose winner is meant.")
    ] = None,
    space: Annotated[
        str, typer.Option(help="Search space: eagan-generator, resnet-translation, spade-translation.")
    ] = "eagan-generator",
    dataset: Annotated[
        str | None, typer.Option(help="GAN: cifar10 (32x32, default) or stl10 (48x48): size and published recipe.")
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(help="GAN: training images, a folder or a Parquet file; default the data set, downloaded."),
    ] = None,
    width: Annotated[int | None, typer.Option(help="GAN: channels of the generator; default 256.")] = None,
    task: Annotated[
        str | None, typer.Option(help="Translation: pix2pix, cyclegan, or gaugan, that of spade-translation.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Translation: folder with train and test, trainA and trainB, …, or Cityscapes."),
    ] = None,
    direction: Annotated[str | None, typer.Option(help="Translation: AtoB (default) or BtoA.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Translation: trained generator, or run that trained it, to learn from.")
    ] = None,
    set_: options.SpaceSettings = None,
    recipe: options.Recipe = None,
    log_every: Annotated[int, typer.Option(help="Steps between rows of losses.")] = 100,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints, samples and metrics.")] = 5000,
    checkpoint_samples: Annotated[
        int | None, typer.Option(help="Images that metrics are measured on meanwhile; default 5000, or all held-out.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Images that metrics are measured on at the end; default 50,000, or all held-out."),
    ] = None,
    extractor: Annotated[str, typer.Option(help="cifarnet or inception, as of `autogas evaluate`.")] = "cifarnet",
    inception_weights: Annotated[str | None, typer.Option(help="File of Inception's weights.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Images or statistics to compare with; default the training images, or the target domain."),
    ] = None,
    segmentation: options.Segmentation = None,
    segmentation_weights: options.SegmentationWeights = None,
    segmentation_map: options.SegmentationMap = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write logs for TensorBoard.")] = False,
    out: options.Out = None,
    resume: options.Resume = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    devices: Annotated[int, typer.Option(help="GPUs to train on together.")] = 1,
    precision: Annotated[str, typer.Option(help="32-true or bf16-mixed.")] = "32-true",
    graphs: Annotated[str, typer.Option(help="GAN: steps as CUDA graphs: auto (on one GPU), on, off.")] = "auto",
    profile: Annotated[
        bool, typer.Option("--profile", help="Only print where the time of a step goes; nothing is kept.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Train a generator: checkpoints, samples and metrics as it goes, the exported network at the end."""
    from autogas.workflows.train import profile as profile_training
    from autogas.workflows.train import train as workflow

    if resume is None and arch is None:
        raise InputError("say what to train: an architecture, or a run to continue with --resume")
    if resume is not None:
        _emit(workflow(resume=resume), as_json=json)
        return
    of_one_kind: dict[str, Any] = {
        "dataset": dataset,
        "images": images,
        "width": width,
        "task": task,
        "data": data,
        "direction": direction,
        "teacher": teacher,
        "space_settings": options.parse_settings(set_) or None,
        "checkpoint_samples": checkpoint_samples,
        "samples": samples,
        "reference": reference,
        "segmentation": segmentation,
        "segmentation_weights": segmentation_weights,
        "segmentation_map": segmentation_map,
    }
    settings: dict[str, Any] = {
        "recipe": options.parse_settings(recipe, "--recipe"),
        "space": space,
        "log_every": log_every,
        "checkpoint_every": checkpoint_every,
        "extractor": extractor,
        "inception_weights": inception_weights,
        "tensorboard": tensorboard,
        "seed": seed,
        "device": options.checked_device(device),
        "devices": devices,
        "precision": precision,
        "graphs": graphs,
        **{name: value for name, value in of_one_kind.items() if value is not None},
    }
    if profile:
        assert arch is not None
        table = profile_training(arch, **settings)
        options.emit({"profile": table}, as_json=json, text=table)
        return
    _emit(workflow(arch, out=out, **settings), as_json=json)


def _emit(run: Run, *, as_json: bool) -> None:
    results = run.results
    lines = options.metric_lines(results)
    lines.append(f"generator: {run.path / 'generator.safetensors'}")
    options.emit({"run": str(run.path), **results}, as_json=as_json, text="\n".join(lines))
