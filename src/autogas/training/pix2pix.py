"""pix2pix: translation that is learned from pairs (Isola et al., CVPR 2017)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from autogas.datasets.translation import TranslationData
from autogas.spaces.translation import TranslationArch, TranslationSpace
from autogas.training.distill import Teacher
from autogas.training.translation import OneWayTask, Terms, Translated, TranslationRecipe, build_discriminator, l1


class Pix2PixRecipe(TranslationRecipe):
    """Adversarial loss against a PatchGAN that sees input and image, plus the L1 distance to the target.

    Defaults are those of GAN Compression; it trains Cityscapes for 250 passes (``constant`` 0.4), edges2shoes for 20 in
    batches of 4 (0.25).
    """

    loss: Literal["hinge", "bce", "lsgan"] = Field("hinge", description="adversarial loss; bce is that of pix2pix")
    l1_weight: float = Field(100.0, ge=0, description="of the L1 distance to the target")
    discriminator_width: int = Field(128, ge=1, description="channels of the discriminator's first layer")


def pix2pix_task(
    space: TranslationSpace,
    arch: TranslationArch,
    data: TranslationData,
    held_out: TranslationData,
    recipe: Pix2PixRecipe,
    *,
    teacher: nn.Module | None = None,
    seed: int = 0,
) -> Pix2PixTask:
    """The training of a generator of a space; a student learns from the targets and from its teacher's features."""
    generator = space.build(arch, seed=seed)
    discriminator = build_discriminator(space, 3 + 3, recipe, seed=seed)
    guide = None if teacher is None else Teacher(teacher, generator, space, seed=seed)
    return Pix2PixTask(generator, discriminator, data, held_out, recipe, teacher=guide)


class Pix2PixTask(OneWayTask):
    """See ``Pix2PixRecipe`` and ``OneWayTask``."""

    recipe: Pix2PixRecipe

    def content(self, batch: Translated) -> Terms:
        """The L1 distance to the targets."""
        return {"l1_loss": (self.recipe.l1_weight, l1(batch.fake, batch.targets))}
