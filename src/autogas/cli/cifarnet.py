"""``autogas train-cifarnet``: make the classifier that ships with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.printing import emit


def train_cifarnet(
    images: Annotated[str, typer.Option(help="Labelled training images: cifar10 or a Parquet file.")] = "cifar10",
    held_out: Annotated[str, typer.Option(help="Labelled images to measure on.")] = "cifar10",
    file: Annotated[Path, typer.Option(help="Weights to write; how they came to be goes beside them.")] = Path(
        "cifarnet.safetensors"
    ),
    epochs: Annotated[int, typer.Option(help="Passes over the images.")] = 18,
    noise: Annotated[float, typer.Option(help="Most noise on half of the images; cifarnet-robust has 0.2.")] = 0.0,
    blur: Annotated[float, typer.Option(help="Most blur of half of them, pixels; cifarnet-robust has 1.5.")] = 0.0,
    data: Annotated[str, typer.Option(help="What the images are, for the record.")] = "CIFAR-10 training images",
    seed: parsing.Seed = 0,
    device: parsing.Device = "cpu",
    json: parsing.Json = False,
) -> None:
    """Train the CIFAR-10 classifier whose features ``evaluate --extractor cifarnet`` compares."""
    import torch

    from autogas.metrics.cifarnet_training import CifarNetRecipe, make_cifarnet
    from autogas.settings import validated

    torch.set_num_threads(1)  # sums in one order: the same weights on one machine
    record = make_cifarnet(
        images,
        held_out,
        file,
        validated(CifarNetRecipe, {"epochs": epochs, "noise": noise, "blur": blur}),
        data=data,
        seed=seed,
        device=parsing.checked_device(device),
    )
    emit(record, as_json=json, text=f"{file}: held-out accuracy {record['held_out_accuracy']:.4f}")
