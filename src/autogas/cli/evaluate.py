"""``autogas evaluate``: how good images are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autogas.cli import options
from autogas.errors import InputError


def evaluate(
    images: Annotated[str | None, typer.Option(help="Folder, Parquet file, or trained generator.safetensors.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Data set whose images a trained generator of translations is to translate.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Its part: test (default), val or train.")] = None,
    direction: Annotated[str | None, typer.Option(help="AtoB or BtoA; default the one trained for.")] = None,
    segmentation: options.Segmentation = None,
    segmentation_weights: options.SegmentationWeights = None,
    segmentation_map: options.SegmentationMap = None,
    reference: Annotated[
        str | None,
        typer.Option(help="What they should look like: cifar10, a folder, a Parquet file, saved statistics."),
    ] = None,
    extractor: Annotated[
        str, typer.Option(help="cifarnet (ships with the package) or inception (that of FID and IS).")
    ] = "cifarnet",
    inception_weights: Annotated[
        str | None, typer.Option(help="File of Inception's weights; default: downloaded once.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="The first so many images; default all, of a generator 50,000.")
    ] = None,
    reference_samples: Annotated[int | None, typer.Option(help="The same of the reference.")] = None,
    size: Annotated[int | None, typer.Option(help="Crop and resize images to this; default as they are.")] = None,
    splits: Annotated[int | None, typer.Option(help="Parts of the Inception Score; default 10.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images at a time; default 100, of translations 16.")] = None,
    save_reference: Annotated[Path | None, typer.Option(help="Write the reference's statistics to this .npz.")] = None,
    out: options.Out = None,
    resume: options.Resume = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Measure images: Fréchet distance to reference images, and Inception Score; of translations, agreement too."""
    from autogas.runs import Run
    from autogas.workflows.evaluate import evaluate as workflow
    from autogas.workflows.evaluate_translation import evaluate_translation

    if resume is None and (images is None or (reference is None and data is None)):
        raise InputError("say what to evaluate and what it should look like: --images and --reference or --data")
    settings: dict[str, Any] = {
        "reference": reference,
        "split": split,
        "direction": direction,
        "segmentation": segmentation,
        "segmentation_weights": segmentation_weights,
        "segmentation_map": segmentation_map,
        "extractor": extractor,
        "inception_weights": inception_weights,
        "samples": samples,
        "reference_samples": reference_samples,
        "size": size,
        "splits": splits,
        "batch_size": batch_size,
        "save_reference": save_reference,
        "device": options.checked_device(device),
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if data is not None or (resume is not None and "data" in Run.open(resume, "evaluate").settings):
        run = evaluate_translation(images, data, out=out, resume=resume, **settings)
    else:
        run = workflow(images, out=out, resume=resume, seed=seed, **settings)
    results = run.results
    protocol = results["protocol"]
    lines = options.metric_lines(results)
    lines += [f"{name}: {value}" for name, value in protocol.items()]
    options.emit({"run": str(run.path), **results}, as_json=json, text="\n".join(lines))
