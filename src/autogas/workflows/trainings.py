"""What is trained for a benchmark: for each kind of network its settings, its images, and how one is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autogas.datasets import Images, load_images
from autogas.datasets.images import DEAD_LEAVES, TORCHVISION
from autogas.errors import InputError
from autogas.metrics import FeatureAccumulator, FeatureExtractor, FeatureStatistics, get_extractor
from autogas.spaces import get_space, list_spaces
from autogas.spaces.eagan import EAGANGenerator
from autogas.training.autoencoder import AutoencoderRecipe, AutoencoderResult, fit_autoencoder
from autogas.training.gan import GANRecipe, gan_task
from autogas.training.loop import CollapseError, train
from autogas.training.machine import launch
from autogas.workflows.evaluate import evaluate_generator


class BuildSettings(BaseModel):
    """What determines a built benchmark, whatever is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str = Field(description="search space to sample from")
    space_settings: dict[str, Any] = Field(default_factory=dict, description="settings of the space that differ")
    count: int = Field(300, ge=1, description="architectures, sampled uniformly")
    repeats: int = Field(30, ge=0, description="how many of them are trained with several seeds, for the noise ceiling")
    repeat_space: str | None = Field(None, description="a space within: its architectures are all repeated")
    seeds: int = Field(3, ge=2, description="seeds that repeated architectures are trained with")
    images: str = Field("cifar10", description="training images: cifar10, stl10, a folder, or a Parquet file")
    train_images: int = Field(50_000, ge=1, description="at most so many images to train on")
    seed: int = Field(0, ge=0, description="of the sample of architectures")
    device: str = Field("cpu", description="where networks are trained")


class AutoencoderBuildSettings(BuildSettings):
    """What determines a benchmark of autoencoders."""

    space: str = Field("transnas", description="search space to sample from")
    held_out: str | None = Field(None, description="measured images; None: the test split, or the same source's tail")
    held_out_images: int = Field(512, ge=2, description="at most so many images to measure on")
    recipe: AutoencoderRecipe = Field(AutoencoderRecipe(), description="how each is trained")


class GANBuildSettings(BuildSettings):
    """What determines a benchmark of GAN generators."""

    samples: int = Field(5000, ge=2, description="generated images that are compared with the training images")
    recipe: GANRecipe = Field(GANRecipe(), description="how each is trained")


class GANResult(BaseModel):
    """What training a generator reached.

    Fréchet distance and Inception Score are those of the classifier that ships with the package, on samples of the
    averaged generator; the distance is to the training images.
    """

    fid_cifarnet: float
    is_cifarnet: float
    params: int
    macs: int
    discriminator_loss: float | None = Field(description="mean over the last tenth of the steps")
    generator_loss: float | None = Field(description="mean over the last tenth of the steps")
    train_seconds: float
    evaluate_seconds: float
    reason: str | None = Field(description="why training ended early; None when it did not")


@dataclass(frozen=True)
class Training:
    """How the networks of one family of spaces are trained and measured.

    Attributes:
        settings: class of the settings of a build.
        metric: column that is quality.
        higher_is_better: its direction.
        measured: what the metric is, in words.
        load: settings to the images that all trainings share.
        fit: settings, those images, architecture and seed to a row of the benchmark.
    """

    settings: type[BuildSettings]
    metric: str
    higher_is_better: bool
    measured: str
    load: Callable[[Any], Any]
    fit: Callable[[Any, Any, str, int], BaseModel]


def training_of(space: str) -> Training:
    """How networks of a space are trained; raises ``InputError`` for a space without a training or an unknown one."""
    family = get_space(space).family
    if family not in TRAININGS:
        accepted = ", ".join(name for name in list_spaces() if get_space(name).family in TRAININGS)
        raise InputError(f"space {space!r}: benchmarks can be built of {accepted}")
    return TRAININGS[family]


def load_autoencoder_images(s: AutoencoderBuildSettings) -> tuple[Images, Images]:
    """Training and held-out images."""
    size = get_space(s.space, **s.space_settings).image_size
    held_out = s.held_out or (s.images if s.images in (*TORCHVISION, DEAD_LEAVES) else None)
    if held_out is not None:
        measured = load_images(held_out, size=size, limit=s.held_out_images, train=False)
        return load_images(s.images, size=size, limit=s.train_images), measured
    both = load_images(s.images, size=size, limit=s.train_images + s.held_out_images)
    if len(both) < 2 * s.held_out_images:
        raise InputError(f"images {s.images!r}: {len(both)} images are too few to hold out {s.held_out_images}")
    cut = len(both) - s.held_out_images
    return Images(both.pixels[:cut], both.source), Images(both.pixels[cut:], both.source)


def train_autoencoder(
    s: AutoencoderBuildSettings, images: tuple[Images, Images], text: str, seed: int
) -> AutoencoderResult:
    """Train one autoencoder and measure it on held-out images."""
    space = get_space(s.space, **s.space_settings)
    model = space.build(space.parse(text), seed=seed)
    return fit_autoencoder(model, *images, s.recipe, seed=seed, device=s.device)


@dataclass(frozen=True)
class RealImages:
    """Training images, and their statistics by an extractor."""

    images: Images
    extractor: FeatureExtractor
    statistics: FeatureStatistics


def load_real_images(s: GANBuildSettings) -> RealImages:
    """Training images, measured once for all generators."""
    images = load_images(s.images, size=get_space(s.space, **s.space_settings).image_size, limit=s.train_images)
    extractor = get_extractor("cifarnet", device=s.device)
    accumulator = FeatureAccumulator()
    for batch in images.pixels.split(500):
        accumulator.update(extractor(batch)[0])
    return RealImages(images, extractor, accumulator.statistics())


def train_generator(s: GANBuildSettings, real: RealImages, text: str, seed: int) -> GANResult:
    """Train one generator and compare its samples with the training images.

    One that collapses is measured as it is then; one that diverges raises ``DivergenceError``.
    """
    space = EAGANGenerator(**s.space_settings)
    arch = space.parse(text)
    task = gan_task(space, arch, real.images, s.recipe, seed=seed)
    every = max(1, s.recipe.steps // 10)
    losses: dict[str, float] = {}
    reason = None
    start = time.perf_counter()
    try:
        losses = launch(
            lambda machine: train(task, machine, steps=s.recipe.steps, seed=seed, log_every=every)[-1],
            device=s.device,
        )
    except CollapseError as error:
        reason = str(error)
    trained = time.perf_counter()
    metrics = evaluate_generator(
        task.samples,
        reference=real.statistics,
        samples=s.samples,
        extractor=real.extractor,
        splits=min(10, s.samples),
    ).metrics
    cost = space.cost(arch)
    return GANResult(
        fid_cifarnet=metrics["fid-cifarnet"],
        is_cifarnet=metrics["is-cifarnet"],
        params=cost.params,
        macs=cost.macs,
        discriminator_loss=losses.get("discriminator_loss"),
        generator_loss=losses.get("generator_loss"),
        train_seconds=trained - start,
        evaluate_seconds=time.perf_counter() - trained,
        reason=reason,
    )


TRAININGS = {
    "transnas": Training(
        AutoencoderBuildSettings, "ssim", True, "SSIM on held-out images", load_autoencoder_images, train_autoencoder
    ),
    "eagan-generator": Training(
        GANBuildSettings,
        "fid_cifarnet",
        False,
        "Fréchet distance by cifarnet to the training images",
        load_real_images,
        train_generator,
    ),
}
"""By family of spaces."""
