"""Training of autoencoders: networks of the TransNAS-Bench-101 spaces that reconstruct images."""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from autogas.datasets import Images
from autogas.metrics.evaluation import LIBRARIES, Evaluation
from autogas.settings import on_command_line
from autogas.training.autoencoder import AutoencoderRecipe, AutoencoderTask, evaluate_autoencoder
from autogas.training.export import load_network
from autogas.training.kinds.base import HeldOutSettings, Quality, Training
from autogas.training.measured import measured
from autogas.training.pictures import sample_grid
from autogas.versions import versions

SHOWN = 24
COLUMNS = 8


class AutoencoderSettings(HeldOutSettings):
    """What determines the training of an autoencoder."""

    recipe: AutoencoderRecipe = Field(
        AutoencoderRecipe(), description="how each is trained", json_schema_extra=on_command_line(always=True)
    )


class AutoencoderTraining(Training[AutoencoderSettings, AutoencoderTask]):
    """An autoencoder, by the L1 distance of images and their reconstructions; SSIM on held-out images is quality."""

    equal_until = sys.maxsize  # one that gives the same for all images is a bad one, no failure
    quality = Quality("ssim", True, "SSIM on held-out images")

    own_settings = AutoencoderSettings

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.settings.recipe.steps

    @property
    def batches(self) -> tuple[int, ...]:
        """Images a step."""
        return (self.settings.recipe.batch_size,)

    @cached_property
    def images(self) -> tuple[Images, Images]:
        """Training and held-out images; no image is both."""
        return self.settings.load(self.space.image_size)

    def prepare(self) -> None:
        """Load the images."""
        _ = self.images

    def task(self, arch: Any) -> AutoencoderTask:
        """See ``Training.task``."""
        s = self.settings
        return AutoencoderTask(self.space.build(arch, seed=s.seed), self.images[0], s.recipe, seed=s.seed)

    def picture(self, task: AutoencoderTask) -> bytes:
        """Held-out images, each row followed by its reconstructions."""
        held_out = self.images[1]
        index = torch.arange(min(SHOWN, len(held_out)))
        images = held_out.batch(index).to(next(task.model.parameters()).device)
        with measured(task.model) as model:
            made = model(images)
        rows = [part for pair in zip(images.split(COLUMNS), made.split(COLUMNS), strict=True) for part in pair]
        return sample_grid((torch.cat(rows).cpu() + 1) / 2, columns=COLUMNS)

    def measure(self, task: AutoencoderTask, *, final: bool = True) -> Evaluation:  # noqa: ARG002 - all held-out images
        """SSIM and mean absolute error of held-out images."""
        return self._evaluation(task.model)

    def evaluate(self, path: Path) -> Evaluation:
        """See ``Training.evaluate``."""
        return self._evaluation(load_network(path, device=self.settings.device).network)

    def _evaluation(self, model: nn.Module) -> Evaluation:
        held_out = self.images[1]
        similarity, l1 = evaluate_autoencoder(model, held_out, device=self.settings.device)
        protocol = {
            "held_out": held_out.source,
            "samples": len(held_out),
            "image_size": [self.space.image_size, self.space.image_size],
            "versions": versions(LIBRARIES),
        }
        return Evaluation(metrics={"ssim": similarity, "l1": l1}, protocol=protocol)
