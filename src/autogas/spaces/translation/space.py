"""The two translation spaces of GAN Compression (Li et al., CVPR 2020), at published size or smaller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from autogas.errors import InputError
from autogas.seeding import torch_generator
from autogas.spaces.cost import Cost
from autogas.spaces.translation import resnet, spade
from autogas.spaces.translation.base import TranslationSpace
from autogas.spaces.translation.cost import resnet_cost, spade_cost
from autogas.spaces.translation.genotype import TranslationArch, expand_six
from autogas.spaces.translation.published import RESNET_CHOICES, RESNET_PUBLISHED, SPADE_CHOICES, SPADE_PUBLISHED


class ResNetTranslation(TranslationSpace):
    """ResNet generators of pix2pix and CycleGAN; an architecture may also be given in the older form of six widths.

    Args:
        choices: "channels-48", "channels-32", "channels-64-cyclegan" or "channels-64-pix2pix".
        block: "mobile" makes the convolutions of the residual blocks separable; "dense" does not.
        image_size: height and width of the images, a multiple of 4 (published: 256).
        draw: see ``TranslationSpace``.
        ratio: see ``TranslationSpace``.
        divisor: see ``TranslationSpace``.

    Examples:
        >>> space = ResNetTranslation(choices="channels-32")
        >>> space.cost(space.parse("16_16_32_16_32_32_16_16")).params
        356867
    """

    name = family = "resnet-translation"
    smaller: ClassVar[Mapping[str, Any]] = {"image_size": 32}
    distilled_at = ("down_2", "block_3", "block_6", "block_9")
    choice_sets = RESNET_CHOICES
    largest_set = "channels-64-pix2pix"
    published = RESNET_PUBLISHED

    def __init__(
        self,
        *,
        choices: str = "channels-32",
        block: str = "mobile",
        image_size: int = 256,
        draw: str = "uniform",
        ratio: float = 2,
        divisor: int = 1,
    ) -> None:
        self._check_image_size(image_size, 4, 8)
        super().__init__(choices=choices, block=block, image_size=image_size, draw=draw, ratio=ratio, divisor=divisor)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """One RGB image."""
        return ((3, self.image_size, self.image_size),)

    def _eight(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        return expand_six(widths) if len(widths) == 6 else widths

    def network(self, arch: TranslationArch) -> nn.Module:
        """The generator of ``arch``."""
        return resnet.ResNetGenerator(self.narrowed(arch), block=self.block)

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """As published; see ``autogas.spaces.translation.resnet.initialise``."""
        resnet.initialise(model, generator)

    def cost(self, arch: TranslationArch) -> Cost:
        """By the rule of ``autogas.spaces.translation.cost``."""
        return resnet_cost(self.narrowed(arch), block=self.block, pixels=self.image_size**2)


@dataclass(frozen=True)
class Layout:
    """Shape of a data set's label maps.

    Attributes:
        num_labels: published number of classes, "don't care" included.
        aspect: width divided by height.
        upsamplings: of the generator.
    """

    num_labels: int
    aspect: int
    upsamplings: int


LAYOUTS: Mapping[str, Layout] = {
    "cityscapes": Layout(num_labels=35, aspect=2, upsamplings=6),
    "coco": Layout(num_labels=183, aspect=1, upsamplings=5),
}


COCO_UNKNOWN = 255


class SPADETranslation(TranslationSpace):
    """SPADE generators of GauGAN: from a one-hot label map with a channel of instance edges to an image.

    Args:
        choices: "channels-48", "channels-64", "channels-64-coco" or "channels-64-2".
        layout: "cityscapes" (35 classes, twice as wide as high, six up-samplings) or "coco" (183, square, five).
        block: "mobile" makes the convolutions to gamma and beta separable; "dense" does not.
        image_size: height of the images (published: 256), 64 or more: a multiple of 64 ("cityscapes") or 32 ("coco").
        num_labels: number of classes, 2 or more; by default that of the layout.
        draw: see ``TranslationSpace``.
        ratio: see ``TranslationSpace``.
        divisor: see ``TranslationSpace``.

    Examples:
        >>> space = SPADETranslation()
        >>> space.cost(space.parse("gaugan-cityscapes-paper")).params
        20425019
    """

    name = family = "spade-translation"
    smaller: ClassVar[Mapping[str, Any]] = {"image_size": 64}
    scored_samples = 4  # a label map costs ten times an image's work
    distilled_at = ("blocks.head_0", "blocks.G_middle_1", "blocks.up_1")
    choice_sets = SPADE_CHOICES
    largest_set = "channels-64-2"
    published = SPADE_PUBLISHED

    def __init__(
        self,
        *,
        choices: str = "channels-48",
        layout: str = "cityscapes",
        block: str = "mobile",
        image_size: int = 256,
        num_labels: int | None = None,
        draw: str = "uniform",
        ratio: float = 3,
        divisor: int = 1,
    ) -> None:
        self._check_one_of("layout", layout, LAYOUTS)
        self._check_image_size(image_size, 2 ** LAYOUTS[layout].upsamplings, 64)
        super().__init__(choices=choices, block=block, image_size=image_size, draw=draw, ratio=ratio, divisor=divisor)
        self.layout = layout
        if num_labels is None:
            num_labels = LAYOUTS[layout].num_labels
        if not isinstance(num_labels, int) or isinstance(num_labels, bool) or num_labels < 2:
            raise InputError(f"{self.name}: num_labels={num_labels!r}: expected whole numbers of 2 or more")
        self.num_labels = num_labels

    @property
    def settings(self) -> Mapping[str, object]:
        """The constructor arguments."""
        return {**super().settings, "layout": self.layout, "num_labels": self.num_labels}

    @property
    def label_maps(self) -> tuple[int, int | None]:
        """See ``TranslationSpace``; in COCO the label of pixels without one counts as the last class."""
        return self.num_labels, COCO_UNKNOWN if self.layout == "coco" else None

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """One label map."""
        return ((self.num_labels + 1, self.image_size, self.image_size * LAYOUTS[self.layout].aspect),)

    def inputs(self, *, batch_size: int = 16, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """Label maps of random square regions; see ``autogas.spaces.translation.spade.random_label_maps``."""
        (_, height, width), generator = self.input_shapes[0], torch_generator("inputs", seed)
        return (
            spade.random_label_maps(
                batch_size, num_labels=self.num_labels, height=height, width=width, generator=generator
            ),
        )

    def network(self, arch: TranslationArch) -> nn.Module:
        """The generator of ``arch``."""
        return spade.SPADEGenerator(
            self.narrowed(arch),
            labels=self.num_labels + 1,
            upsamplings=LAYOUTS[self.layout].upsamplings,
            block=self.block,
        )

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """As published; see ``autogas.spaces.translation.spade.initialise``."""
        spade.initialise(model, generator)

    def cost(self, arch: TranslationArch) -> Cost:
        """By the rule of ``autogas.spaces.translation.cost``."""
        channels, height, width = self.input_shapes[0]
        return spade_cost(
            self.narrowed(arch),
            labels=channels,
            upsamplings=LAYOUTS[self.layout].upsamplings,
            block=self.block,
            pixels=height * width,
        )
