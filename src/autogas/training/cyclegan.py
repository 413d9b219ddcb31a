"""CycleGAN: translation that is learned without pairs (Zhu et al., ICCV 2017)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autogas.datasets.translation import TranslationData
from autogas.seeding import derive_seed
from autogas.spaces.translation import TranslationArch, TranslationSpace
from autogas.training.distill import Teacher
from autogas.training.graph import Update
from autogas.training.losses import discriminator_loss, generator_loss
from autogas.training.machine import Machine
from autogas.training.pool import ImagePool
from autogas.training.translation import (
    OneWayTask,
    Terms,
    Translated,
    TranslationRecipe,
    TranslationTask,
    build_discriminator,
    in_training,
    l1,
)


class CycleGANRecipe(TranslationRecipe):
    """Least squares against PatchGANs that see images alone, plus the L1 distances of cycles and identities.

    A student has no cycle: the L1 distance is that to its teacher's images (GAN Compression).
    """

    loss: Literal["hinge", "bce", "lsgan"] = Field("lsgan", description="adversarial loss")
    cycle_weight: float = Field(10.0, ge=0, description="of the L1 distance of an image to itself after both ways")
    identity_weight: float = Field(0.5, ge=0, description="of images of the target domain to themselves, times cycle's")
    pool: int = Field(50, ge=0, description="generated images that each discriminator is reminded of")
    l1_weight: float = Field(10.0, ge=0, description="of a student's L1 distance to its teacher's images")
    distill_weight: float = Field(0.01, ge=0, description="of the features of a teacher")


def cyclegan_task(
    space: TranslationSpace,
    arch: TranslationArch,
    data: TranslationData,
    held_out: TranslationData,
    recipe: CycleGANRecipe,
    *,
    teacher: nn.Module | None = None,
    seed: int = 0,
) -> TranslationTask:
    """The training of a generator of a space: with its reverse, of the same architecture, or as a student."""
    generator = space.build(arch, seed=seed)
    discriminator = build_discriminator(space, 3, recipe, seed=seed)
    if teacher is not None:
        guide = Teacher(teacher, generator, space, seed=seed)
        return CycleGANStudentTask(generator, discriminator, data, held_out, recipe, teacher=guide)
    return CycleGANTask(
        generator,
        space.build(arch, seed=derive_seed("reverse", seed)),
        discriminator,
        build_discriminator(space, 3, recipe, seed=seed, name="reverse discriminator"),
        data,
        held_out,
        recipe,
        shape=space.input_shapes[0],
    )


class CycleGANStudentTask(OneWayTask):
    """A generator that learns from its teacher's images what the cycle taught the teacher."""

    recipe: CycleGANRecipe

    def content(self, batch: Translated) -> Terms:
        """The L1 distance to the teacher's images."""
        assert batch.taught is not None
        return {"l1_loss": (self.recipe.l1_weight, l1(batch.fake, batch.taught))}


class CycleGANTask(TranslationTask):
    """Generators both ways against a discriminator of each domain: each step updates the generators and then those.

    Args:
        generator: from the inputs to the targets, G.
        reverse: back, F.
        discriminator: of target images.
        reverse_discriminator: of input images.
        data: see ``TranslationTask``.
        held_out: see ``TranslationTask``.
        recipe: how to train.
        shape: of an image.
    """

    recipe: CycleGANRecipe

    def __init__(
        self,
        generator: nn.Module,
        reverse: nn.Module,
        discriminator: nn.Module,
        reverse_discriminator: nn.Module,
        data: TranslationData,
        held_out: TranslationData,
        recipe: CycleGANRecipe,
        *,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__(generator, data, held_out, recipe)
        self.reverse = in_training(reverse)
        self.discriminator = in_training(discriminator)
        self.reverse_discriminator = in_training(reverse_discriminator)
        self._captured: tuple[Update, Update] | None = None
        self.pool, self.reverse_pool = (ImagePool(recipe.pool, shape) for _ in range(2))
        self.optimizers = {
            "generator": self.adam(self.generator, self.reverse, rate=recipe.generator_lr),
            "discriminator": self.adam(self.discriminator, self.reverse_discriminator, rate=recipe.discriminator_lr),
        }

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The networks, and the pools that are part of what training has come to."""
        return {
            "generator": self.generator,
            "reverse": self.reverse,
            "discriminator": self.discriminator,
            "reverse_discriminator": self.reverse_discriminator,
            "pool": self.pool,
            "reverse_pool": self.reverse_pool,
        }

    def step(self, step: int, generator: torch.Generator, machine: Machine) -> Mapping[str, Tensor]:
        r"""One update of both generators, one of both discriminators; returns the losses, their parts unweighted.

        .. math:: L_G = L(D_B, G(a)) + L(D_A, F(b)) + \lambda (|F(G(a)) - a| + |G(F(b)) - b|)
                  + \lambda \lambda_{id} (|G(b) - b| + |F(a) - a|)
        """
        self.set_learning_rates(step)
        if self._captured is None:
            updates = (functools.partial(self._update_generators, machine), functools.partial(self._judge, machine))
            first, second = (machine.captured(update, usual=False) for update in updates)
            self._captured = first, second
        update_generators, judge = self._captured
        a, b = self.draw(generator, machine)
        losses = dict(update_generators(a, b))
        fake_b, fake_a = losses.pop("fake_b"), losses.pop("fake_a")
        shown_b, shown_a = self.pool.exchange(fake_b, generator), self.reverse_pool.exchange(fake_a, generator)
        return {**judge(a, b, shown_a.detach(), shown_b.detach()), **losses}

    def _update_generators(self, machine: Machine, a: Tensor, b: Tensor) -> Mapping[str, Tensor]:
        """The parts of the generators' loss, and the images that they were taken of."""
        cycle, name = self.recipe.cycle_weight, self.recipe.loss
        with machine.autocast():
            fake_b, fake_a = self.generator(a), self.reverse(b)
            fooling = generator_loss(name, self.discriminator(fake_b))
            fooling = fooling + generator_loss(name, self.reverse_discriminator(fake_a))
            terms: Terms = {
                "generator_loss": (1.0, fooling),
                "cycle_loss": (cycle, l1(self.reverse(fake_b), a) + l1(self.generator(fake_a), b)),
            }
            if self.recipe.identity_weight:
                same = l1(self.generator(b), b) + l1(self.reverse(a), a)
                terms["identity_loss"] = (cycle * self.recipe.identity_weight, same)
        total = torch.stack([weight * value for weight, value in terms.values()]).sum()
        machine.minimise(total, self.optimizers["generator"])
        losses = {key: value.detach() for key, (_, value) in terms.items()}
        return {**losses, "fake_a": fake_a.detach(), "fake_b": fake_b.detach()}

    def _judge(self, machine: Machine, a: Tensor, b: Tensor, shown_a: Tensor, shown_b: Tensor) -> Mapping[str, Tensor]:
        """Both discriminators' losses on real images and on those that the pools gave."""
        name = self.recipe.loss
        with machine.autocast():
            against = discriminator_loss(name, self.discriminator(b), self.discriminator(shown_b))
            reverse_against = discriminator_loss(
                name, self.reverse_discriminator(a), self.reverse_discriminator(shown_a)
            )
        machine.minimise(against + reverse_against, self.optimizers["discriminator"])
        return {"discriminator_loss": against.detach(), "reverse_discriminator_loss": reverse_against.detach()}
