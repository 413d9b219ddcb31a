"""What the trainings of image-to-image translation share: recipe, schedule, held-out samples, and a step one way."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.datasets.domains import draw_views
from autogas.datasets.translation import TranslationData
from autogas.errors import InputError
from autogas.seeding import torch_generator
from autogas.settings import LARGEST, Settings
from autogas.spaces.spectral import SpectralConv2d
from autogas.spaces.translation import TranslationSpace
from autogas.training.distill import Teacher, captured
from autogas.training.graph import Update
from autogas.training.layout import memory_layout
from autogas.training.losses import Scales, discriminator_loss, generator_loss
from autogas.training.machine import Machine, set_learning_rate
from autogas.training.patchgan import MultiScalePatchGAN

SAMPLE_BATCH = 16
ENLARGED = 286 / 256
LARGEST_ENLARGED = 4

R = TypeVar("R", bound="TranslationRecipe")
Terms = dict[str, tuple[float, Tensor]]
"""Weight and value of each part of a generator's loss, by name."""


class TranslationRecipe(Settings):
    """How a translation is trained: Adam, at a constant learning rate that then falls linearly to 0."""

    steps: int | None = Field(None, ge=1, description="updates of the generator; None: those of the passes")
    passes: float = Field(200, gt=0, description="over the training images, of the larger domain")
    constant: float = Field(0.5, ge=0, le=1, description="part of the steps before learning rates start to fall")
    batch: int = Field(1, ge=1, description="images an update")
    loss: Literal["hinge", "bce", "lsgan"] = Field("hinge", description="adversarial loss")
    generator_lr: float = Field(2e-4, gt=0, le=LARGEST, description="learning rate of the generator")
    discriminator_lr: float = Field(2e-4, gt=0, le=LARGEST, description="learning rate of the discriminator")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first momentum")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second momentum")
    discriminator_width: int = Field(64, ge=1, description="channels of the discriminator's first layer")
    discriminator_layers: int = Field(3, ge=1, description="its layers of stride 2")
    distill_weight: float = Field(1.0, ge=0, description="of the features of a teacher")
    enlarge: float = Field(
        ENLARGED, ge=1, le=LARGEST_ENLARGED, description="images are resized to so many times their size and cropped"
    )
    flip: bool = Field(True, description="mirror one image in two")

    def with_steps(self: R, data: TranslationData) -> R:
        """The recipe with the number of steps that its passes over the data take."""
        if self.steps is not None:
            return self
        images = max(len(data.inputs), len(data.targets))
        return self.model_copy(update={"steps": max(1, round(self.passes * images / self.batch))})


def learning_rate_share(step: int, steps: int, constant: float) -> float:
    """What is left of a learning rate after ``step`` of ``steps`` steps: 1, then on a straight line to 0.

    Examples:
        >>> [learning_rate_share(step, 8, 0.5) for step in range(8)]
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    falling = steps * (1 - constant)
    return min(1.0, (steps - step) / falling) if falling else 1.0


def build_discriminator(
    space: TranslationSpace,
    channels: int,
    recipe: TranslationRecipe,
    *,
    seed: int = 0,
    name: str = "discriminator",
    **settings: Any,
) -> MultiScalePatchGAN:
    """A ``MultiScalePatchGAN``, initialised as the generators of a space are.

    Raises:
        InputError: too many layers for the images of the space.
    """
    discriminator = MultiScalePatchGAN(
        channels, width=recipe.discriminator_width, strided=recipe.discriminator_layers, **settings
    )
    generator = torch_generator(name, seed)
    with torch.no_grad():
        space.initialise(discriminator, generator)
        for layer in discriminator.modules():
            if isinstance(layer, SpectralConv2d):
                layer.reset_vectors(generator)
        _, height, width = space.input_shapes[0]
        try:
            discriminator.eval()(torch.zeros(1, channels, height, width))
        except (RuntimeError, ValueError):
            raise InputError(
                f"recipe.discriminator_layers={recipe.discriminator_layers}: images of {width}x{height} are too small"
            ) from None
    return discriminator


def in_training(module: nn.Module) -> nn.Module:
    """The module in training mode and in its fastest memory layout."""
    return module.train().to(memory_format=memory_layout(module))


class TranslationTask(ABC):
    """A generator of images from images or label maps, trained in place.

    Args:
        generator: inputs to images in [-1, 1].
        data: training images.
        held_out: images whose translations are looked at meanwhile.
        recipe: how to train, its steps known.
    """

    optimizers: dict[str, torch.optim.Optimizer]

    def __init__(
        self, generator: nn.Module, data: TranslationData, held_out: TranslationData, recipe: TranslationRecipe
    ) -> None:
        self.generator = in_training(generator)
        self.data = data
        self.held_out = held_out
        assert recipe.steps is not None
        self.steps = recipe.steps
        self.recipe = recipe

    @property
    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """See ``autogas.training.loop.Task``."""

    @abstractmethod
    def step(self, step: int, generator: torch.Generator, machine: Machine) -> Mapping[str, Tensor]:
        """See ``autogas.training.loop.Task``."""

    @property
    def exported(self) -> nn.Module:
        """The network to keep when training ends."""
        return self.generator

    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """Translations ``[count, 3, H, W]`` in [0, 1] of random held-out inputs, each once if there are enough."""
        order = torch.randperm(len(self.held_out.inputs), generator=generator)
        index = order.repeat(-(-count // len(order)))[:count]
        return torch.cat([self.translate(self.held_out.inputs.batch(part)) for part in index.split(SAMPLE_BATCH)])

    @torch.no_grad()
    def translate(self, inputs: Tensor) -> Tensor:
        """Images ``[N, 3, H, W]`` in [0, 1] by the generator in evaluation mode."""
        self.generator.eval()
        images: Tensor = (self.generator(inputs.to(next(self.generator.parameters()).device)) + 1) / 2
        self.generator.train()
        return images

    def adam(self, *modules: nn.Module, rate: float) -> torch.optim.Adam:
        """The recipe's optimiser of these modules."""
        weights = [weight for module in modules for weight in module.parameters()]
        return torch.optim.Adam(weights, lr=rate, betas=(self.recipe.beta1, self.recipe.beta2))

    def set_learning_rates(self, step: int) -> None:
        """Those of the schedule after ``step`` steps."""
        share = learning_rate_share(step, self.steps, self.recipe.constant)
        rates = {"generator": self.recipe.generator_lr, "discriminator": self.recipe.discriminator_lr}
        for name, optimizer in self.optimizers.items():
            set_learning_rate(optimizer, rates[name] * share)

    def draw(self, generator: torch.Generator, machine: Machine) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step, drawn with replacement; of one pair each where data is paired."""
        count = self.recipe.batch
        index = torch.randint(len(self.data.inputs), (count,), generator=generator)
        views = draw_views(count, generator)
        inputs = self.data.inputs.batch(machine.share(index), machine.share(views))
        if not self.data.paired:
            index = torch.randint(len(self.data.targets), (count,), generator=generator)
            views = draw_views(count, generator)
        targets = self.data.targets.batch(machine.share(index), machine.share(views))
        return machine.put(inputs), machine.put(targets)


@dataclass(frozen=True)
class Translated:
    """A batch on its way to the generator's loss.

    Attributes:
        inputs: of the generator.
        targets: real images.
        fake: generated images.
        seen: what the discriminator says of them.
        taught: the images of the teacher, if there is one.
    """

    inputs: Tensor
    targets: Tensor
    fake: Tensor
    seen: Scales
    taught: Tensor | None


class OneWayTask(TranslationTask):
    """A generator against one discriminator: each step updates the discriminator and then the generator.

    Args:
        generator: see ``TranslationTask``.
        discriminator: of images, or of inputs and images where data is paired.
        data: see ``TranslationTask``.
        held_out: see ``TranslationTask``.
        recipe: see ``TranslationTask``.
        teacher: whose features, and images if there are no pairs, the generator learns from.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        data: TranslationData,
        held_out: TranslationData,
        recipe: TranslationRecipe,
        *,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(generator, data, held_out, recipe)
        self.discriminator = in_training(discriminator)
        self.teacher = teacher
        self._captured: Update | None = None
        learned = [self.generator] if teacher is None else [self.generator, teacher.connectors]
        self.optimizers = {
            "generator": self.adam(*learned, rate=recipe.generator_lr),
            "discriminator": self.adam(self.discriminator, rate=recipe.discriminator_lr),
        }

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Both networks, and what maps a student's features to its teacher's."""
        modules = {"generator": self.generator, "discriminator": self.discriminator}
        return modules if self.teacher is None else {**modules, "connectors": self.teacher.connectors}

    @abstractmethod
    def content(self, batch: Translated) -> Terms:
        """The parts of the generator's loss that say what its images should show."""

    def judged(self, inputs: Tensor, images: Tensor) -> Scales:
        """What the discriminator says of images, beside their inputs where data is paired."""
        scales: Scales = self.discriminator(torch.cat([inputs, images], dim=1) if self.data.paired else images)
        return scales

    def step(self, step: int, generator: torch.Generator, machine: Machine) -> Mapping[str, Tensor]:
        """One update of each network; returns the losses, their parts unweighted."""
        self.set_learning_rates(step)
        if self._captured is None:
            self._captured = machine.captured(functools.partial(self._update, machine), usual=False)
        return self._captured(*self.draw(generator, machine))

    def _update(self, machine: Machine, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        name, points = self.recipe.loss, () if self.teacher is None else self.teacher.points
        with machine.autocast():
            taught, expected = (None, []) if self.teacher is None else self.teacher.to(machine.device)(inputs)
            with captured(self.generator, points) as features:
                fake = self.generator(inputs)
            real_logits, fake_logits = self.judged(inputs, targets), self.judged(inputs, fake.detach())
            against = discriminator_loss(name, real_logits, fake_logits)
        machine.minimise(against, self.optimizers["discriminator"])
        with machine.autocast():
            seen = self.judged(inputs, fake)
            terms = {"generator_loss": (1.0, generator_loss(name, seen))}
            terms |= self.content(Translated(inputs, targets, fake, seen, taught))
            if self.teacher is not None:
                terms["distill_loss"] = (self.recipe.distill_weight, self.teacher.loss(features, expected))
        total = torch.stack([weight * value for weight, value in terms.values()]).sum()
        machine.minimise(total, self.optimizers["generator"])
        return {"discriminator_loss": against.detach(), **{key: value.detach() for key, (_, value) in terms.items()}}


def l1(images: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference, in full precision."""
    return F.l1_loss(images.float(), targets.float())
