"""``autogas train-segmentation``: make a network for the mean IoU of a data set with label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.printing import emit


def train_segmentation(
    data: Annotated[str, typer.Option(help="Folder of a data set with label maps.")],
    file: Annotated[Path, typer.Option(help="TorchScript file to write; how it came to be goes beside it.")] = Path(
        "segmentation.pt"
    ),
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 6,
    size: Annotated[int, typer.Option(min=8, help="Height and width of the images.")] = 64,
    recipe: parsing.Recipe = None,
    seed: parsing.Seed = 0,
    json: parsing.Json = False,
) -> None:
    """Train a small segmentation network on real images, for ``evaluate --segmentation``."""
    from autogas.metrics.segmentation_training import SegmentationRecipe, make_segmentation

    settings = SegmentationRecipe.model_validate(parsing.parse_settings(recipe, "--recipe"))
    record = make_segmentation(data, file, settings, classes=classes, size=size, seed=seed)
    line = f"{file}: held-out mean IoU {record['miou']:.4f}, pixel accuracy {record['pixel_accuracy']:.4f}"
    emit(record, as_json=json, text=line)
