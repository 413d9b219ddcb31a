"""Training of diffusion models: denoising U-Nets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from autogas.datasets import Images
from autogas.metrics import FeatureStatistics
from autogas.metrics.evaluation import Evaluation, evaluate_generator, reference_statistics
from autogas.seeding import torch_generator
from autogas.settings import on_command_line
from autogas.training.diffusion import DiffusionRecipe, DiffusionTask, denoising_loss
from autogas.training.export import TrainedGenerator, load_network
from autogas.training.kinds.base import ComparedSettings, ComparedTraining, HeldOutSettings, Quality
from autogas.training.pictures import sample_grid

GRID_SAMPLES = 64


class DiffusionSettings(ComparedSettings, HeldOutSettings):
    """What determines the training of a diffusion model."""

    recipe: DiffusionRecipe = Field(
        DiffusionRecipe(), description="how to train", json_schema_extra=on_command_line(always=True)
    )
    checkpoint_samples: int = Field(1000, ge=2, description="images that metrics are measured on meanwhile")
    samples: int = Field(10_000, ge=2, description="images that metrics are measured on at the end")


class DiffusionTraining(ComparedTraining[DiffusionSettings, DiffusionTask]):
    """A denoiser; the denoising loss on held-out images, at fixed times with fixed noise, is quality."""

    short: ClassVar[Mapping[str, Any]] = {"samples": 256, "held_out_images": 512}

    own_settings = DiffusionSettings

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.settings.recipe.steps

    @property
    def batches(self) -> tuple[int, ...]:
        """Images a step."""
        return (self.settings.recipe.batch,)

    @property
    def quality(self) -> Quality:
        """The loss."""
        return Quality("denoising_loss", False, "denoising loss on held-out images")

    @cached_property
    def images(self) -> tuple[Images, Images]:
        """Training and held-out images."""
        return self.settings.load(self.space.image_size)

    @property
    def size(self) -> int:
        """See ``ComparedTraining.size``."""
        return self.space.image_size

    def real_statistics(self) -> FeatureStatistics:
        """Of all images of the source, which may be more than those that are trained on."""
        s = self.settings
        return reference_statistics(s.images, self.extractor, size=self.size)

    def prepare(self) -> None:
        """See ``Training.prepare``."""
        _ = self.images, self.known

    def task(self, arch: Any) -> DiffusionTask:
        """See ``Training.task``."""
        s = self.settings
        return DiffusionTask(self.space.build(arch, seed=s.seed), self.images[0], s.recipe, self.space)

    def picture(self, task: DiffusionTask) -> bytes:
        """Samples from the same noise every time."""
        return sample_grid(task.samples(GRID_SAMPLES, torch_generator("grid", self.settings.seed)))

    def measure(self, task: DiffusionTask, *, final: bool = True) -> Evaluation:
        """See ``Training.measure``."""
        return self._evaluation(task.average, self.settings.samples if final else self.settings.checkpoint_samples)

    def evaluate(self, path: Path) -> Evaluation:
        """See ``Training.evaluate``."""
        return self._evaluation(load_network(path, device=self.settings.device).network, self.settings.samples)

    def _evaluation(self, network: nn.Module, samples: int) -> Evaluation:
        s = self.settings
        losses = denoising_loss(network, self.images[1], device=s.device)
        found = evaluate_generator(
            TrainedGenerator(network, self.space, None),
            reference=self.known,
            samples=samples,
            extractor=self.extractor,
            splits=min(10, samples),
        )
        protocol = {**found.protocol, "held_out": self.images[1].source, "held_out_images": len(self.images[1])}
        return Evaluation(metrics={**losses, **found.metrics}, protocol=protocol)
