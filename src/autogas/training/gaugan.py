"""GauGAN: images from label maps (Park et al., CVPR 2019)."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from autogas.datasets.translation import TranslationData
from autogas.seeding import torch_generator
from autogas.settings import LARGEST
from autogas.spaces.spectral import SpectralConv2d
from autogas.spaces.translation import TranslationArch, TranslationSpace
from autogas.training.distill import Teacher
from autogas.training.losses import feature_matching_loss
from autogas.training.translation import (
    LARGEST_ENLARGED,
    OneWayTask,
    Terms,
    Translated,
    TranslationRecipe,
    build_discriminator,
)
from autogas.training.vgg import PerceptualDistance

SPECTRAL = ("conv_0", "conv_1", "conv_s")
"""Convolutions of a block of the generator that are normalised."""


class GauGANRecipe(TranslationRecipe):
    """Hinge loss against PatchGANs at two scales that see label map and image, and matching of their features.

    Learning rates differ (Heusel et al., NeurIPS 2017).
    """

    batch: int = Field(16, ge=1, description="images an update")
    loss: Literal["hinge", "bce", "lsgan"] = Field("hinge", description="adversarial loss")
    generator_lr: float = Field(1e-4, gt=0, le=LARGEST, description="learning rate of the generator")
    discriminator_lr: float = Field(4e-4, gt=0, le=LARGEST, description="learning rate of the discriminator")
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's first momentum")
    beta2: float = Field(0.9, ge=0, lt=1, description="Adam's second momentum")
    feature_weight: float = Field(10.0, ge=0, description="of the distance of the discriminator's features")
    perceptual_weight: float = Field(10.0, ge=0, description="of the distance of VGG19's features, if it is given")
    vgg: str | None = Field(None, description="file of torchvision's vgg19 weights; None: no perceptual distance")
    spectral: bool | None = Field(
        None, description="normalise the generator's convolutions spectrally; None: without a teacher"
    )
    distill_weight: float = Field(10.0, ge=0, description="of the features of a teacher")
    enlarge: float = Field(
        1.0, ge=1, le=LARGEST_ENLARGED, description="images are resized to so many times their size and cropped"
    )


def gaugan_task(
    space: TranslationSpace,
    arch: TranslationArch,
    data: TranslationData,
    held_out: TranslationData,
    recipe: GauGANRecipe,
    *,
    teacher: nn.Module | None = None,
    seed: int = 0,
) -> GauGANTask:
    """The training of a generator of a space; a student also learns from its teacher's features.

    Raises:
        InputError: weights of VGG19 that cannot be read.
    """
    generator = space.build(arch, seed=seed)
    guide = None if teacher is None else Teacher(teacher, generator, space, seed=seed)
    if teacher is None if recipe.spectral is None else recipe.spectral:
        normalise(generator, torch_generator("spectral", seed))
    discriminator = build_discriminator(
        space,
        space.input_shapes[0][0] + 3,
        recipe,
        scales=2,
        padding=2,
        spectral=True,
        seed=seed,
    )
    return GauGANTask(generator, discriminator, data, held_out, recipe, teacher=guide)


class GauGANTask(OneWayTask):
    """See ``GauGANRecipe`` and ``OneWayTask``."""

    recipe: GauGANRecipe

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        data: TranslationData,
        held_out: TranslationData,
        recipe: GauGANRecipe,
        *,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(generator, discriminator, data, held_out, recipe, teacher=teacher)
        self.perceptual = None if recipe.vgg is None else PerceptualDistance(recipe.vgg)

    @property
    def exported(self) -> nn.Module:
        """The generator with plain convolutions."""
        return plain(self.generator)

    def content(self, batch: Translated) -> Terms:
        """Distances to the target in the features of the discriminator, and of VGG19."""
        with torch.no_grad():
            real = self.judged(batch.inputs, batch.targets)
        terms = {"feature_loss": (self.recipe.feature_weight, feature_matching_loss(real, batch.seen))}
        if self.perceptual is not None:
            distance = self.perceptual.to(batch.fake.device)(batch.fake, batch.targets)
            terms["perceptual_loss"] = (self.recipe.perceptual_weight, distance)
        return terms


def normalise(generator: nn.Module, numbers: torch.Generator) -> None:
    """Make the main convolutions of a SPADE generator's blocks spectrally normalised, in place."""

    def spectral(conv: nn.Conv2d) -> nn.Conv2d:
        new = SpectralConv2d(**_shape(conv))
        new.weight, new.bias = conv.weight, conv.bias
        new.reset_vectors(numbers)
        return new

    _replace(generator, nn.Conv2d, spectral)


def plain(generator: nn.Module) -> nn.Module:
    """A copy of a SPADE generator whose convolutions have the normalised weights as their own."""

    def folded(conv: SpectralConv2d) -> nn.Conv2d:
        new = nn.Conv2d(**_shape(conv))
        new.weight, new.bias = nn.Parameter(conv.normalised().detach()), conv.bias
        return new

    twin = copy.deepcopy(generator).eval()
    _replace(twin, SpectralConv2d, folded)
    return twin


def _replace(generator: nn.Module, kind: type[nn.Conv2d], change: Any) -> None:
    for block in list(generator.modules()):
        for name in SPECTRAL:
            layer = getattr(block, name, None)
            if isinstance(layer, kind):
                setattr(block, name, change(layer))


def _shape(conv: nn.Conv2d) -> dict[str, Any]:
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
    return {**{name: getattr(conv, name) for name in names}, "bias": conv.bias is not None}
