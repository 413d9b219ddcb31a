"""Train a denoising U-Net to predict the noise in images (Ho et al., 2020), and measure how well it does."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.datasets import Images
from autogas.seeding import torch_generator
from autogas.settings import LARGEST, Settings
from autogas.spaces import Space
from autogas.spaces.diffusion.schedule import noisy
from autogas.training.average import averaged_copy, ramped, update_average
from autogas.training.layout import memory_layout
from autogas.training.machine import Machine, set_learning_rate
from autogas.training.measured import measured

LEVELS = 8
"""Times at which held-out images are denoised, evenly spread over (0, 1)."""
TOGETHER = 64
"""Held-out images that are denoised at a time, which their noise depends on."""


class DiffusionRecipe(Settings):
    """How a denoiser is trained: Adam on the squared error of the noise, at times drawn uniformly."""

    steps: int = Field(100_000, ge=1, description="optimiser steps")
    batch: int = Field(64, ge=1, description="images a step")
    learning_rate: float = Field(1e-3, gt=0, le=LARGEST, description="peak of the learning rate")
    warmup: int = Field(100, ge=0, description="steps in which it rises from 0; then it falls linearly to 0")
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's first momentum")
    beta2: float = Field(0.99, ge=0, lt=1, description="Adam's second momentum")
    average_decay: float = Field(0.999, ge=0, lt=1, description="of the averaged weights, which are kept")
    clip: float | None = Field(1.0, gt=0, le=LARGEST, description="largest norm of the gradients")
    flip: bool = Field(True, description="mirror one image in two")

    def rate(self, step: int) -> float:
        """Learning rate after ``step`` steps.

        Examples:
            >>> recipe = DiffusionRecipe(steps=10, warmup=2, learning_rate=1.0)
            >>> [recipe.rate(step) for step in (0, 1, 2, 6)]
            [0.5, 1.0, 1.0, 0.5]
        """
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        return self.learning_rate * (self.steps - step) / max(1, self.steps - self.warmup)


class DiffusionTask:
    """A denoiser that learns from images.

    Args:
        model: noisy images and times to noise; trained in place.
        images: to train on.
        recipe: how to train.
        space: which makes images with it.
    """

    def __init__(self, model: nn.Module, images: Images, recipe: DiffusionRecipe, space: Space[object]) -> None:
        self.layout = memory_layout(model)
        self.model = model.train().to(memory_format=self.layout)
        self.average = averaged_copy(model)
        self.images = images
        self.recipe = recipe
        self.space = space
        betas = (recipe.beta1, recipe.beta2)
        self.optimizers = {"model": torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, betas=betas)}

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The network and its average."""
        return {"model": self.model, "average": self.average}

    @property
    def exported(self) -> nn.Module:
        """The average."""
        return self.average

    def step(self, step: int, generator: torch.Generator, machine: Machine) -> Mapping[str, Tensor]:
        """One update; returns the loss."""
        recipe = self.recipe
        set_learning_rate(self.optimizers["model"], recipe.rate(step))
        index = torch.randint(len(self.images), (recipe.batch,), generator=generator)
        mirrored = torch.rand(recipe.batch, generator=generator) < 0.5
        time = torch.rand((recipe.batch, 1), generator=generator)
        images = self.images.batch(index)
        noise = torch.randn(images.shape, generator=generator)
        if recipe.flip:
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        images, noise, time = (machine.put(machine.share(part)) for part in (images, noise, time))
        with machine.autocast():
            mixed = noisy(images, noise, time).contiguous(memory_format=self.layout)
            loss = F.mse_loss(self.model(mixed, time).float(), noise)
        machine.minimise(loss, self.optimizers["model"], clip=recipe.clip)
        update_average(self.average, self.model, ramped(recipe.average_decay, step))
        return {"train_loss": loss.detach()}

    @torch.no_grad()
    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """Images ``[count, 3, H, W]`` in [0, 1] by the average."""
        return self.space.images(self.average, count, generator)


def denoising_loss(model: nn.Module, images: Images, *, device: str = "cpu") -> dict[str, float]:
    """Mean squared error of the predicted noise in held-out images, at fixed times and with fixed noise.

    Args:
        model: noisy images and times to noise.
        images: to denoise, each at ``LEVELS`` times with noise of its own.
        device: where to compute.

    Returns:
        ``denoising-loss``, and its parts at early times (little noise) and at late ones.
    """
    sums = torch.zeros(LEVELS, dtype=torch.float64)
    with measured(model, device):
        for start in range(0, len(images), TOGETHER):
            index = torch.arange(start, min(start + TOGETHER, len(images)))
            batch = images.batch(index)
            generator = torch_generator("denoising", 0, start)
            for level in range(LEVELS):
                noise = torch.randn(batch.shape, generator=generator)
                time = torch.full((len(batch), 1), (level + 0.5) / LEVELS)
                predicted = model(noisy(batch, noise, time).to(device), time.to(device)).cpu()
                sums[level] += (predicted - noise).double().square().mean(dim=(1, 2, 3)).sum()
    losses = sums / len(images)
    half = LEVELS // 2
    return {
        "denoising-loss": float(losses.mean()),
        "denoising-loss-early": float(losses[:half].mean()),
        "denoising-loss-late": float(losses[half:].mean()),
    }
