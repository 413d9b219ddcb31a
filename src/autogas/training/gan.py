"""Adversarial training of image generators, as EAGAN does it (Ying et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from autogas.datasets import Images
from autogas.spaces.eagan import EAGANArch, EAGANDiscriminator, EAGANGenerator
from autogas.training.average import averaged_copy, update_average
from autogas.training.layout import memory_layout
from autogas.training.losses import discriminator_hinge_loss, generator_hinge_loss
from autogas.training.machine import Machine

SAMPLE_BATCH = 250


class GANRecipe(BaseModel):
    """How a GAN is trained: Adam on the hinge loss against a spectrally normalised discriminator.

    A step is ``critic_steps`` updates of the discriminator and then one of the generator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(150_000, ge=1, description="updates of the generator")
    generator_batch: int = Field(80, ge=2, description="images an update of the generator")
    discriminator_batch: int = Field(40, ge=2, description="real and as many generated images an update of its own")
    generator_lr: float = Field(2e-4, gt=0, description="learning rate of the generator")
    discriminator_lr: float = Field(2e-4, gt=0, description="learning rate of the discriminator")
    critic_steps: int = Field(5, ge=1, description="updates of the discriminator to one of the generator")
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's first momentum")
    beta2: float = Field(0.9, ge=0, lt=1, description="Adam's second momentum")
    average_decay: float = Field(0.999, ge=0, lt=1, description="of the averaged weights, which are evaluated")
    linear_decay: bool = Field(False, description="learning rates fall linearly to 0 over all steps")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradients of a network")
    discriminator: str = Field("eagan-best-cifar10", description="architecture of eagan-discriminator")
    discriminator_width: int = Field(128, ge=1, description="its channels")


PUBLISHED_RECIPES: Mapping[str, GANRecipe] = {
    "cifar10": GANRecipe(),
    "stl10": GANRecipe(
        steps=98_520,
        generator_batch=256,
        discriminator_batch=128,
        generator_lr=3e-4,
        clip=50.0,
        discriminator="eagan-best-stl10",
    ),
}
"""EAGAN's settings by data set: 600 passes over 50,000 and 105,000 images at five discriminator updates a step."""


def gan_task(space: EAGANGenerator, arch: EAGANArch, images: Images, recipe: GANRecipe, *, seed: int = 0) -> GANTask:
    """The training of a generator of a space against the discriminator that the recipe names, both built from a seed.

    Raises:
        InputError: a discriminator outside its space.
    """
    against = EAGANDiscriminator(dataset=space.dataset, width=recipe.discriminator_width)
    discriminator = against.build(against.parse(recipe.discriminator), seed=seed)
    return GANTask(space.build(arch, seed=seed), discriminator, images, recipe, latent_shape=space.input_shapes[0])


class GANTask:
    """A generator of images from latents against a discriminator.

    Args:
        generator: ``[n, *latent_shape]`` to images in [-1, 1]; trained in place.
        discriminator: images to one logit each; trained in place.
        images: real images.
        recipe: how to train.
        latent_shape: of one latent, which is standard normal.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        images: Images,
        recipe: GANRecipe,
        *,
        latent_shape: tuple[int, ...],
    ) -> None:
        self.generator = generator.train().to(memory_format=memory_layout(generator))
        self.discriminator = discriminator.train().to(memory_format=memory_layout(discriminator))
        self.average = averaged_copy(generator)
        self.images = images
        self.recipe = recipe
        self.latent_shape = latent_shape
        betas = (recipe.beta1, recipe.beta2)
        self.optimizers = {
            "generator": torch.optim.Adam(generator.parameters(), lr=recipe.generator_lr, betas=betas),
            "discriminator": torch.optim.Adam(discriminator.parameters(), lr=recipe.discriminator_lr, betas=betas),
        }

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Both networks and the averaged generator."""
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}

    @property
    def exported(self) -> nn.Module:
        """The averaged generator."""
        return self.average

    def step(self, step: int, generator: torch.Generator, machine: Machine) -> Mapping[str, Tensor]:
        """Some updates of the discriminator, one of the generator; returns the last loss of each."""
        self._set_learning_rates(step)
        for _ in range(self.recipe.critic_steps):
            discriminator_loss = self._update_discriminator(generator, machine)
        generator_loss = self._update_generator(generator, machine)
        update_average(self.average, self.generator, self.recipe.average_decay)
        return {"discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    @torch.no_grad()
    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """Images ``[count, 3, H, W]`` in [0, 1] by the averaged generator."""
        latents = self._latents(count, generator).to(next(self.average.parameters()).device)
        return (torch.cat([self.average(part) for part in latents.split(SAMPLE_BATCH)]) + 1) / 2

    def _update_discriminator(self, generator: torch.Generator, machine: Machine) -> Tensor:
        index = torch.randint(len(self.images), (self.recipe.discriminator_batch,), generator=generator)
        latents = self._latents(self.recipe.discriminator_batch, generator)
        real = self.images.batch(machine.share(index)).to(machine.device)
        with machine.autocast():
            with torch.no_grad():
                fake = self.generator(machine.share(latents).to(machine.device))
            logits = self.discriminator(torch.cat([real, fake])).float()
            loss = discriminator_hinge_loss(*logits.chunk(2))
        machine.minimise(loss, self.optimizers["discriminator"], clip=self.recipe.clip)
        return loss.detach()

    def _update_generator(self, generator: torch.Generator, machine: Machine) -> Tensor:
        latents = self._latents(self.recipe.generator_batch, generator)
        with machine.autocast():
            fake = self.generator(machine.share(latents).to(machine.device))
            loss = generator_hinge_loss(self.discriminator(fake).float())
        machine.minimise(loss, self.optimizers["generator"], clip=self.recipe.clip)
        return loss.detach()

    def _latents(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn((count, *self.latent_shape), generator=generator)

    def _set_learning_rates(self, step: int) -> None:
        share = 1 - step / self.recipe.steps if self.recipe.linear_decay else 1.0
        for name, rate in (("generator", self.recipe.generator_lr), ("discriminator", self.recipe.discriminator_lr)):
            for group in self.optimizers[name].param_groups:
                group["lr"] = rate * share
