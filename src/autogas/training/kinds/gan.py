"""Training of GANs in EAGAN's spaces: a searched generator, or a searched discriminator that teaches one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from autogas.datasets import Images, load_images
from autogas.errors import InputError
from autogas.metrics import FeatureStatistics
from autogas.metrics.evaluation import Evaluation, Generate, evaluate_generator, reference_statistics
from autogas.seeding import torch_generator
from autogas.settings import on_command_line, over
from autogas.spaces.eagan import EAGANArch, EAGANDiscriminator, EAGANGenerator
from autogas.spaces.eagan.space import EAGANSpace
from autogas.training.export import load_generator
from autogas.training.gan import (
    PUBLISHED_RECIPES,
    AdversarialRecipe,
    GANRecipe,
    GANTask,
    gan_task,
    outputs_of,
)
from autogas.training.kinds.base import ComparedSettings, ComparedTraining
from autogas.training.pictures import sample_grid

GRID_SAMPLES = 64
OF_THE_SPACE = ("dataset", "width")


class AdversarialSettings(ComparedSettings):
    """What determines the training of a GAN, whichever of its two networks is searched."""

    images: str = Field("cifar10", description="training images: cifar10, stl10-unlabeled, a folder, a Parquet file")
    train_images: int | None = Field(None, ge=1, description="the first so many images; None: all")
    recipe: AdversarialRecipe = Field(
        description="how to train; the data set's published one where nothing else is said",
        json_schema_extra=on_command_line(always=True),
    )
    checkpoint_samples: int = Field(5000, ge=2, description="images that metrics are measured on meanwhile")
    samples: int = Field(50_000, ge=2, description="images that metrics are measured on at the end")


class GeneratorSettings(AdversarialSettings):
    """What determines the training of a generator from latents."""

    recipe: GANRecipe = Field(
        description="how to train; the data set's published one where nothing else is said",
        json_schema_extra=on_command_line(always=True),
    )


class DiscriminatorSettings(AdversarialSettings):
    """What determines the training of a discriminator."""

    generator: str = Field("eagan-best", description="architecture of the generator that it teaches")
    generator_width: int = Field(256, ge=1, description="channels of that generator")


A = TypeVar("A", bound=AdversarialSettings)


class AdversarialTraining(ComparedTraining[A, GANTask]):
    """A generator from latents against a discriminator; the Fréchet distance to real images is quality."""

    recipe_class: ClassVar[type[AdversarialRecipe]] = AdversarialRecipe
    short: ClassVar[Mapping[str, Any]] = {"samples": 5000}
    space: EAGANSpace

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the recipe leaves open is as published for the data set.

        ``dataset`` and ``width``, settings of the space, may stand beside the others.
        """
        beside = {name: given[name] for name in OF_THE_SPACE if given.get(name) is not None}
        space_settings = {**over({}, given), **beside}
        dataset = space_settings.get("dataset", "cifar10")
        published = PUBLISHED_RECIPES.get(dataset, GANRecipe()).model_dump(include=set(cls.recipe_class.model_fields))
        recipe = {**published, **given.get("recipe", {})}
        images = "stl10-unlabeled" if dataset == "stl10" else dataset
        rest = {name: value for name, value in given.items() if name not in OF_THE_SPACE}
        return {"images": images, **rest, "space_settings": space_settings, "recipe": recipe}

    @property
    def steps(self) -> int:
        """Updates of the generator."""
        return self.settings.recipe.steps

    def check_devices(self, devices: int) -> None:
        """The MMD loss compares images with others, so every device needs two."""
        super().check_devices(devices)
        if self.settings.recipe.loss == "mmd" and min(self.batches) < 2 * devices:
            raise InputError(
                f"loss mmd with a batch of {min(self.batches)} on {devices} devices: expected 2 images a device"
            )

    @property
    def batches(self) -> tuple[int, ...]:
        """Of the generator and of the discriminator."""
        return (self.settings.recipe.generator_batch, self.settings.recipe.discriminator_batch)

    @cached_property
    def images(self) -> Images:
        """Training images."""
        return load_images(self.settings.images, size=self.space.image_size, limit=self.settings.train_images)

    @property
    def size(self) -> int:
        """See ``ComparedTraining.size``."""
        return self.space.image_size

    def real_statistics(self) -> FeatureStatistics:
        """Of the training images."""
        s = self.settings
        return reference_statistics(s.images, self.extractor, size=self.size, samples=s.train_images)

    def prepare(self) -> None:
        """See ``Training.prepare``."""
        _ = self.known

    def picture(self, task: GANTask) -> bytes:
        """Samples of the same latents every time."""
        return sample_grid(task.samples(GRID_SAMPLES, torch_generator("grid", self.settings.seed)))

    def measure(self, task: GANTask, *, final: bool = True) -> Evaluation:
        """See ``Training.measure``."""
        return self._evaluation(task.samples, self.settings.samples if final else self.settings.checkpoint_samples)

    def evaluate(self, path: Path) -> Evaluation:
        """See ``Training.evaluate``."""
        return self._evaluation(load_generator(path, device=self.settings.device), self.settings.samples)

    def _evaluation(self, generate: Generate, samples: int) -> Evaluation:
        return evaluate_generator(
            generate, reference=self.known, samples=samples, extractor=self.extractor, splits=min(10, samples)
        )


class GeneratorTraining(AdversarialTraining[GeneratorSettings]):
    """A searched generator against a discriminator that the recipe names."""

    own_settings = GeneratorSettings
    recipe_class = GANRecipe
    space: EAGANGenerator

    def prepare(self) -> None:
        """See ``Training.prepare``."""
        recipe = self.settings.recipe
        EAGANDiscriminator(dataset=self.space.dataset, width=recipe.discriminator_width).parse(recipe.discriminator)
        super().prepare()

    def task(self, arch: Any) -> GANTask:
        """See ``Training.task``."""
        return gan_task(self.space, arch, self.images, self.settings.recipe, seed=self.settings.seed)


class DiscriminatorTraining(AdversarialTraining[DiscriminatorSettings]):
    """A searched discriminator, by the generator that learns from it: that one is measured and kept."""

    own_settings = DiscriminatorSettings
    space: EAGANDiscriminator

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The loss says how many outputs the discriminator has."""
        whole = super().completed(given)
        needed = outputs_of(whole["recipe"].get("loss", "hinge"))
        asked = whole["space_settings"].get("outputs", needed)
        if asked != needed:
            raise InputError(f"outputs={asked!r} of a discriminator with this loss: expected {needed}")
        own = {} if needed == 1 else {"outputs": needed}
        return {**whole, "space_settings": {**whole["space_settings"], **own}}

    def kept(self, arch: Any) -> tuple[EAGANGenerator, EAGANArch]:  # noqa: ARG002 - the generator is the same for all
        """The generator."""
        generators = EAGANGenerator(dataset=self.space.dataset, width=self.settings.generator_width)
        return generators, generators.parse(self.settings.generator)

    def prepare(self) -> None:
        """See ``Training.prepare``."""
        self.kept(None)
        super().prepare()

    def task(self, arch: Any) -> GANTask:
        """See ``Training.task``."""
        s = self.settings
        against = {"discriminator": str(arch), "discriminator_width": self.space.width}
        recipe = GANRecipe.model_validate(s.recipe.model_dump() | against)
        return gan_task(*self.kept(arch), self.images, recipe, seed=s.seed)
