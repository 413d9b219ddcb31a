"""Training of a small segmentation network, which says how well translated images show their label maps."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from autogas.datasets.domains import Frame, LabelMaps, draw_views
from autogas.datasets.translation import TranslationData, load_translation
from autogas.errors import InputError
from autogas.files import replacing, write_json
from autogas.metrics.segmentation import SegmentationScores, confusion_matrix, segmentation_scores
from autogas.metrics.segmenter import TORCHSCRIPT_SUFFIXES
from autogas.runs import progress
from autogas.seeding import derive_seed, seeded, torch_generator
from autogas.settings import Settings

DILATIONS = (1, 2, 4, 1)


class SegmentationRecipe(Settings):
    """Adam with a one-cycle learning rate on the cross-entropy; images are mirrored one time in two."""

    steps: int = Field(400, ge=1, description="updates")
    batch: int = Field(16, ge=1, description="images an update")
    learning_rate: float = Field(5e-3, gt=0, description="peak of the one-cycle schedule")
    width: int = Field(24, ge=1, description="channels")


class SegmentationNet(nn.Sequential):
    """Four 3x3 convolutions, some dilated, at full resolution: each pixel from the 17x17 around it (Yu & Koltun, 2016).

    Images ``[N, 3, H, W]`` in [0, 1] to scores ``[N, classes, H, W]``.
    """

    def __init__(self, classes: int, width: int) -> None:
        layers: list[nn.Module] = []
        for c_in, dilation in zip((3, *[width] * 3), DILATIONS, strict=True):
            layers += [nn.Conv2d(c_in, width, 3, padding=dilation, dilation=dilation, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(width, classes, 1))


def train_segmentation(data: TranslationData, recipe: SegmentationRecipe, *, seed: int = 0) -> SegmentationNet:
    """Train on the real images of a data set with label maps."""
    assert isinstance(data.inputs, LabelMaps)
    generator = torch_generator("segmentation", seed)
    with seeded(derive_seed("segmentation weights", seed)):
        model = SegmentationNet(data.inputs.num_labels, recipe.width)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    for _ in progress(range(recipe.steps), recipe.steps, "training a segmentation network"):
        index = torch.randint(len(data.inputs), (recipe.batch,), generator=generator)
        views = draw_views(recipe.batch, generator)
        labels = data.inputs.batch(index, views)[:, :-1].argmax(1)
        loss = F.cross_entropy(model((data.targets.batch(index, views) + 1) / 2), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    return model


@torch.no_grad()
def measure_segmentation(model: nn.Module, data: TranslationData) -> SegmentationScores:
    """How well a network sees the label maps in the real images."""
    assert isinstance(data.inputs, LabelMaps)
    classes = data.inputs.num_labels
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    for index in torch.arange(len(data.inputs)).split(64):
        seen = model((data.targets.batch(index) + 1) / 2).argmax(1)
        confusion += confusion_matrix(seen, data.inputs.batch(index)[:, :-1].argmax(1), classes=classes)
    return segmentation_scores(confusion)


def make_segmentation(
    source: str, path: Path, recipe: SegmentationRecipe, *, classes: int, size: int, seed: int = 0
) -> dict[str, Any]:
    """Train, write TorchScript and measure; returns what is written beside the file as JSON.

    Args:
        source: folder of a data set with label maps, square.
        path: ``.pt`` file to write.
        recipe: how to train.
        classes: number of classes.
        size: height and width of the images.
        seed: of weights and order.

    Raises:
        InputError: data that cannot be read or has no label maps, or a file that cannot be written.
    """
    if path.suffix not in TORCHSCRIPT_SUFFIXES or not path.parent.is_dir():
        raise InputError(
            f"file {str(path)!r}: expected one in a folder that exists, ending in {', '.join(TORCHSCRIPT_SUFFIXES)}"
        )
    train, test = (
        load_translation(source, layout="labels", frame=Frame(size, size, flip=True), split=split, num_labels=classes)
        for split in ("train", "test")
    )
    start = time.process_time()
    model = train_segmentation(train, recipe, seed=seed)
    seconds = time.process_time() - start
    with warnings.catch_warnings(category=FutureWarning, action="ignore"), replacing(path) as temporary:
        torch.jit.script(model).save(str(temporary))
    scores = measure_segmentation(model, test)
    record = {
        "data": source,
        "split": test.split,
        "image_size": [size, size],
        "classes": classes,
        "recipe": recipe.model_dump(),
        "seed": seed,
        "miou": scores.miou,
        "pixel_accuracy": scores.pixel_accuracy,
        "cpu_seconds": round(seconds),
    }
    write_json(path.with_suffix(".json"), record)
    return record
