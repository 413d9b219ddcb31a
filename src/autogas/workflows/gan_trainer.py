"""Training of EAGAN's generators from latents, for :func:`autogas.train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from autogas.datasets import load_images
from autogas.metrics import FeatureExtractor, FeatureStatistics
from autogas.seeding import torch_generator
from autogas.spaces.eagan import EAGANDiscriminator, EAGANGenerator
from autogas.training.export import load_generator
from autogas.training.gan import PUBLISHED_RECIPES, GANRecipe, GANTask, gan_task, of_any_version
from autogas.training.pictures import sample_grid
from autogas.workflows.evaluate import Evaluation, Generate, evaluate_generator, reference_statistics
from autogas.workflows.trainer import Trainer, TrainSettings

GRID_SAMPLES = 64


class GANTrainSettings(TrainSettings):
    """What determines the training of a generator from latents."""

    space: Literal["eagan-generator"] = Field("eagan-generator", description="search space")
    dataset: Literal["cifar10", "stl10"] = Field("cifar10", description="image size and published recipe")
    width: int = Field(256, ge=1, description="channels of the generator")
    images: str = Field("cifar10", description="training images: cifar10, stl10-unlabeled, a folder, a Parquet file")
    train_images: int | None = Field(None, ge=1, description="the first so many images; None: all")
    recipe: GANRecipe = Field(description="how to train; the data set's published one where nothing else is said")
    checkpoint_samples: int = Field(5000, ge=2, description="images that metrics are measured on meanwhile")
    samples: int = Field(50_000, ge=2, description="images that metrics are measured on at the end")
    reference: str | None = Field(None, description="images or statistics to compare with; None: the training images")


class GANTrainer(Trainer[GANTrainSettings]):
    """A generator from latents against a discriminator."""

    space: EAGANGenerator

    def __init__(self, settings: GANTrainSettings) -> None:
        self.settings = settings
        self.space = EAGANGenerator(dataset=settings.dataset, width=settings.width)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> GANTrainer:
        """See :meth:`Trainer.read`; what the recipe leaves open is as published for the data set.

        Settings of the space may come together, as those of a search do.
        """
        given = {**given.get("space_settings", {}), **given}
        given.pop("space_settings", None)
        dataset = given.get("dataset", "cifar10")
        published = PUBLISHED_RECIPES.get(dataset, GANRecipe()).model_dump()
        images = "stl10-unlabeled" if dataset == "stl10" else dataset
        recipe = {**published, **of_any_version(given.get("recipe", {}))}
        return cls(GANTrainSettings.model_validate({"images": images, **given, "recipe": recipe}))

    @property
    def steps(self) -> int:
        """Updates of the generator."""
        return self.settings.recipe.steps

    def check(self, known: Path | None) -> FeatureStatistics:
        """See :meth:`Trainer.check`."""
        s = self.settings
        self.space.parse(s.arch)
        EAGANDiscriminator(dataset=s.dataset, width=s.recipe.discriminator_width).parse(s.recipe.discriminator)
        self.check_batches(s.recipe.generator_batch, s.recipe.discriminator_batch)
        extractor = self.extractor()
        if known is not None:
            return reference_statistics(str(known), extractor)
        if s.reference is not None:
            return reference_statistics(s.reference, extractor)
        return reference_statistics(s.images, extractor, size=self.space.image_size, samples=s.train_images)

    def task(self) -> GANTask:
        """See :meth:`Trainer.task`."""
        s = self.settings
        images = load_images(s.images, size=self.space.image_size, limit=s.train_images)
        return gan_task(self.space, self.space.parse(s.arch), images, s.recipe, seed=s.seed)

    def picture(self, task: GANTask) -> bytes:
        """Samples of the same latents every time."""
        return sample_grid(task.samples(GRID_SAMPLES, torch_generator("grid", self.settings.seed)))

    def measure(self, task: GANTask, known: FeatureStatistics, extractor: FeatureExtractor) -> Evaluation:
        """See :meth:`Trainer.measure`."""
        return self._evaluation(task.samples, known, extractor, self.settings.checkpoint_samples)

    def evaluate(self, path: Path, known: FeatureStatistics, extractor: FeatureExtractor) -> Evaluation:
        """See :meth:`Trainer.evaluate`."""
        generate = load_generator(path, device=self.settings.device)
        return self._evaluation(generate, known, extractor, self.settings.samples)

    def _evaluation(
        self, generate: Generate, known: FeatureStatistics, extractor: FeatureExtractor, samples: int
    ) -> Evaluation:
        return evaluate_generator(
            generate, reference=known, samples=samples, extractor=extractor, splits=min(10, samples)
        )
