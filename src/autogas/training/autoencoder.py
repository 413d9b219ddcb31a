"""Train an autoencoder to reconstruct images, and measure how well it does."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.datasets import Images
from autogas.metrics import ssim
from autogas.seeding import torch_generator
from autogas.settings import LARGEST, Settings
from autogas.training.layout import memory_layout
from autogas.training.machine import Machine, set_learning_rate
from autogas.training.measured import measured


class AutoencoderRecipe(Settings):
    """How an autoencoder is trained: Adam with a one-cycle learning rate on the L1 reconstruction loss."""

    steps: int = Field(300, ge=1, description="optimiser steps")
    batch_size: int = Field(32, ge=2, description="images a step")
    learning_rate: float = Field(1e-2, gt=0, le=LARGEST, description="peak of the one-cycle schedule")
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's first momentum")


class AutoencoderTask:
    """A network that learns to reconstruct images; every network sees the same ones for the same ``seed``.

    Args:
        model: images in [-1, 1] to images; trained in place.
        images: to train on.
        recipe: how to train.
        seed: of the batches.
    """

    def __init__(self, model: nn.Module, images: Images, recipe: AutoencoderRecipe, *, seed: int = 0) -> None:
        self.layout = memory_layout(model)
        self.model = model.train().to(memory_format=self.layout)
        self.images = images
        self.recipe = recipe
        betas = (recipe.beta1, 0.999)
        self.optimizers = {"model": torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, betas=betas)}
        generator = torch_generator("batches", seed)
        shape = (recipe.batch_size,)
        self._batches = [torch.randint(len(images), shape, generator=generator) for _ in range(recipe.steps)]
        self._rates = one_cycle(recipe)
        self._last = torch.zeros(2, 3, 1, 1)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The network."""
        return {"model": self.model}

    @property
    def exported(self) -> nn.Module:
        """The network."""
        return self.model

    def step(self, step: int, generator: torch.Generator, machine: Machine) -> Mapping[str, Tensor]:  # noqa: ARG002
        """One update; returns the mean absolute error of pixels in [0, 1]."""
        set_learning_rate(self.optimizers["model"], self._rates[step])
        batch = self.images.batch(machine.share(self._batches[step]))
        batch = machine.put(batch.contiguous(memory_format=self.layout))
        with machine.autocast():
            made = self.model(batch)
            loss = F.l1_loss(made, batch)
        machine.minimise(loss, self.optimizers["model"])
        self._last = made.detach()
        return {"train_l1": loss.detach() / 2}

    def samples(self, count: int, generator: torch.Generator) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """At most ``count`` reconstructions ``[n, 3, H, W]`` of the last batch, in [0, 1]."""
        few = self._last if len(self._last) > 1 else self._last.repeat(2, 1, 1, 1)
        return (few[:count] + 1) / 2


def one_cycle(recipe: AutoencoderRecipe) -> list[float]:
    """Learning rate of each step: up for three tenths of them, then down to almost 0, along cosines (Smith, 2018)."""
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(()))], lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, cycle_momentum=False
    )
    rates = []
    for step in range(recipe.steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step < recipe.steps - 1:
            schedule.step()
    return rates


def evaluate_autoencoder(
    model: nn.Module, images: Images, *, batch_size: int = 256, device: str = "cpu"
) -> tuple[float, float]:
    """SSIM and mean absolute error, both on [0, 1].

    SSIM is that of Wang et al. (2004) with an 11x11 Gaussian window, mirrored at the border as torchmetrics 1.9 does,
    and averaged over all pixels and images. The model is measured in evaluation mode and left in its own.
    """
    similarity, l1 = 0.0, 0.0
    with measured(model, device):
        for index in torch.arange(len(images)).split(batch_size):
            batch = images.batch(index).to(device)
            target, output = (batch + 1) / 2, (model(batch) + 1) / 2
            similarity += ssim(output, target) * len(index)
            l1 += float(F.l1_loss(output, target)) * len(index)
    return similarity / len(images), l1 / len(images)
