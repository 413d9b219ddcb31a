"""Adversarial training of image generators, as EAGAN does it (Ying et al., ECCV 2022)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from autogas.datasets import Images
from autogas.settings import LARGEST, Settings
from autogas.spaces.eagan import EAGANArch, EAGANDiscriminator, EAGANGenerator
from autogas.training.augment import NUMBERS, augmented, named
from autogas.training.average import averaged_copy, ramped, update_average
from autogas.training.graph import Update
from autogas.training.layout import memory_layout
from autogas.training.losses import (
    discriminator_hinge_loss,
    discriminator_repulsive_loss,
    generator_hinge_loss,
    generator_mmd_loss,
)
from autogas.training.machine import Machine, set_learning_rate

SAMPLE_BATCH = 250
EMBEDDING = 16
"""Numbers that an image becomes for the MMD loss, as Wang, Sun & Halgamuge have it."""


class AdversarialRecipe(Settings):
    """How a generator and a discriminator are trained: Adam, on the hinge loss unless said.

    A step is ``critic_steps`` updates of the discriminator and then one of the generator.
    """

    steps: int = Field(150_000, ge=1, description="updates of the generator")
    generator_batch: int = Field(80, ge=2, description="images an update of the generator")
    discriminator_batch: int = Field(40, ge=2, description="real and as many generated images an update of its own")
    generator_lr: float = Field(2e-4, gt=0, le=LARGEST, description="learning rate of the generator")
    discriminator_lr: float = Field(2e-4, gt=0, le=LARGEST, description="learning rate of the discriminator")
    critic_steps: int = Field(5, ge=1, description="updates of the discriminator to one of the generator")
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's first momentum")
    beta2: float = Field(0.9, ge=0, lt=1, description="Adam's second momentum")
    average_decay: float = Field(0.999, ge=0, lt=1, description="of the averaged weights, which are evaluated")
    average_ramp: bool = Field(True, description="that decay is lower in the first steps; EAGAN has it constant")
    linear_decay: bool = Field(False, description="learning rates fall linearly to 0 over all steps")
    clip: float | None = Field(None, gt=0, le=LARGEST, description="largest norm of the gradients of a network")
    loss: Literal["hinge", "mmd"] = Field(
        "hinge", description="hinge, or the maximum mean discrepancy of embeddings, with repulsion of real images"
    )
    augment: str = Field("", description="what is done to all images before they are judged: color,translation,cutout")

    @field_validator("augment")
    @classmethod
    def _known(cls, policy: str) -> str:
        return ",".join(named(policy))


class GANRecipe(AdversarialRecipe):
    """How a generator is trained, and the spectrally normalised discriminator that it is trained against."""

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


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Gradients go through the network meanwhile and not to its weights, which a compiler cannot know by itself."""
    learned = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in learned:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in learned:
            weight.requires_grad_(True)


def outputs_of(loss: str) -> int:
    """Numbers that a discriminator makes of an image for a loss."""
    return EMBEDDING if loss == "mmd" else 1


def gan_task(space: EAGANGenerator, arch: EAGANArch, images: Images, recipe: GANRecipe, *, seed: int = 0) -> GANTask:
    """The training of a generator of a space against the discriminator that the recipe names, both built from a seed.

    Raises:
        InputError: a discriminator outside its space.
    """
    outputs = outputs_of(recipe.loss)
    against = EAGANDiscriminator(dataset=space.dataset, width=recipe.discriminator_width, outputs=outputs)
    discriminator = against.build(against.parse(recipe.discriminator), seed=seed)
    return GANTask(space.build(arch, seed=seed), discriminator, images, recipe, latent_shape=space.input_shapes[0])


class GANTask:
    """A generator of images from latents against a discriminator.

    Args:
        generator: ``[n, *latent_shape]`` to images in [-1, 1]; trained in place.
        discriminator: images to one logit each, for the MMD loss to an embedding ``[n, d]``; trained in place.
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
        self._captured: Update | None = None

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
        if self._captured is None:
            self.images = self.images.to(machine.device)
            self._captured = machine.captured(functools.partial(self._update, machine))
        share = 1 - step / self.recipe.steps if self.recipe.linear_decay else 1.0
        set_learning_rate(self.optimizers["generator"], self.recipe.generator_lr * share)
        set_learning_rate(self.optimizers["discriminator"], self.recipe.discriminator_lr * share)
        losses = self._captured(*[machine.put(machine.share(drawn)) for drawn in self._draw(generator)])
        decay = self.recipe.average_decay
        update_average(self.average, self.generator, ramped(decay, step) if self.recipe.average_ramp else decay)
        return losses

    @torch.no_grad()
    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """Images ``[count, 3, H, W]`` in [0, 1] by the averaged generator."""
        latents = self._latents(count, generator).to(next(self.average.parameters()).device)
        return (torch.cat([self.average(part) for part in latents.split(SAMPLE_BATCH)]) + 1) / 2

    def _draw(self, generator: torch.Generator) -> list[Tensor]:
        """Of each update what it takes: those of the discriminator, then that of the generator."""
        r = self.recipe
        drawn: list[Tensor] = []
        for update in range(r.critic_steps + 1):
            critic = update < r.critic_steps
            count = r.discriminator_batch if critic else r.generator_batch
            real = critic or r.loss == "mmd"
            index = [torch.randint(len(self.images), (count,), generator=generator)] if real else []
            drawn += [*index, self._latents(count, generator)]
            if r.augment:
                drawn.append(torch.rand((2 * count if real else count, NUMBERS), generator=generator))
        return drawn

    def _update(self, machine: Machine, *drawn: Tensor) -> Mapping[str, Tensor]:
        """All updates of a step, on what was drawn for it."""
        each = 3 if self.recipe.augment else 2
        for start in range(0, each * self.recipe.critic_steps, each):
            discriminator_loss = self._update_discriminator(*drawn[start : start + each], machine=machine)
        generator_loss = self._update_generator(*drawn[each * self.recipe.critic_steps :], machine=machine)
        return {"discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    def _update_discriminator(self, index: Tensor, latents: Tensor, *numbers: Tensor, machine: Machine) -> Tensor:
        real = self.images.batch(index)
        with machine.autocast():
            with torch.no_grad():
                fake = self.generator(latents)
            judged = self._judged(torch.cat([real, fake]), *numbers).chunk(2)
        loss = (discriminator_repulsive_loss if self.recipe.loss == "mmd" else discriminator_hinge_loss)(*judged)
        machine.minimise(loss, self.optimizers["discriminator"], clip=self.recipe.clip)
        return loss.detach()

    def _update_generator(self, *drawn: Tensor, machine: Machine) -> Tensor:
        with machine.autocast(), frozen(self.discriminator):
            if self.recipe.loss == "mmd":
                index, latents, *numbers = drawn
                both = torch.cat([self.images.batch(index), self.generator(latents)])
                judged = self._judged(both, *numbers).chunk(2)
            else:
                latents, *numbers = drawn
                judged = (self._judged(self.generator(latents), *numbers),)
        loss = (generator_mmd_loss if self.recipe.loss == "mmd" else generator_hinge_loss)(*judged)
        machine.minimise(loss, self.optimizers["generator"], clip=self.recipe.clip)
        return loss.detach()

    def _judged(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """What the discriminator says of images, augmented by ``numbers`` if there are any."""
        for given in numbers:
            images = augmented(images, self.recipe.augment, given)
        judged: Tensor = self.discriminator(images).float()
        return judged

    def _latents(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn((count, *self.latent_shape), generator=generator)
