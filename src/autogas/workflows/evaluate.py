"""Evaluate images: Fréchet distance to reference images and Inception Score, with the protocol that they depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from autogas.datasets import load_images, stream_images
from autogas.datasets.images import count_images
from autogas.errors import InputError
from autogas.metrics import (
    FeatureAccumulator,
    FeatureExtractor,
    FeatureStatistics,
    frechet_distance,
    get_extractor,
    inception_score,
    metric_name,
)
from autogas.runs import Run, progress
from autogas.seeding import torch_generator
from autogas.training.export import GENERATOR_FILE, WEIGHTS_SUFFIX, load_generator
from autogas.workflows.common import open_run, read_settings, versions

STATISTICS_SUFFIX = ".npz"
GENERATED = 50_000
LIBRARIES = ("autogas", "torch", "torch-fidelity")

Generate = Callable[[int, torch.Generator], Tensor]
"""Batch size and random generator (on the CPU) to images ``[batch, 3, H, W]``, uint8 or floats in [0, 1]."""


class EvaluateSettings(BaseModel):
    """What determines an evaluation of images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str = Field(
        description="a folder, a Parquet file or a trained generator (.safetensors, or its run); "
        "cifar10 or stl10 is the test split"
    )
    reference: str = Field(
        description="a folder, a Parquet file, cifar10 or stl10 (train split), or statistics as .npz"
    )
    extractor: Literal["cifarnet", "inception"] = Field("cifarnet", description="what features are compared")
    inception_weights: str | None = Field(None, description="file of Inception's weights; None: downloaded")
    samples: int | None = Field(None, ge=2, description="the first so many images; None: all, or 50,000 generated")
    reference_samples: int | None = Field(None, ge=2, description="the first so many reference images; None: all")
    size: int | None = Field(None, ge=1, description="crop and resize all images to this; None: as they are")
    splits: int = Field(10, ge=1, description="parts of the Inception Score")
    batch_size: int = Field(100, ge=1, description="images at a time")
    seed: int = Field(0, ge=0, description="of the latents of a generator")
    device: str = Field("cpu", description="where networks run")


class Evaluation(BaseModel):
    """Metrics by name, and everything that they depend on.

    A metric without a finite value, such as the PSNR of an exact image, is None; ``protocol["not_finite"]`` has it.
    """

    metrics: dict[str, float | None]
    protocol: dict[str, Any]

    @model_validator(mode="after")
    def _finite(self) -> Evaluation:
        odd = {name: str(value) for name, value in self.metrics.items() if value is not None and not isfinite(value)}
        if odd:
            self.protocol = {**self.protocol, "not_finite": odd}
            self.metrics = {name: None if name in odd else value for name, value in self.metrics.items()}
        return self


def evaluate(
    images: str | None = None,
    reference: str | None = None,
    *,
    save_reference: str | Path | None = None,
    out: str | None = None,
    resume: str | None = None,
    **settings: Any,
) -> Run:
    """Evaluate images or a trained generator; see :class:`EvaluateSettings` for the settings.

    The results are an :class:`Evaluation`.

    Args:
        images: what to evaluate.
        reference: what it should look like.
        save_reference: ``.npz`` to write the reference's statistics to, so that the next evaluation reads them.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        **settings: fields of :class:`EvaluateSettings`.

    Raises:
        InputError: images, statistics or weights that cannot be read or do not fit together, or too few images.
    """
    given = {"images": images, "reference": reference, **settings}
    s = read_settings("evaluate", EvaluateSettings, given, resume)
    if save_reference is not None:
        _check_writable(Path(save_reference))
    extractor = get_extractor(s.extractor, inception_weights=s.inception_weights, device=s.device)
    batches, samples = _batches(s)
    known = reference_statistics(
        s.reference, extractor, size=s.size, samples=s.reference_samples, batch_size=s.batch_size
    )
    if save_reference is not None:
        known.save(save_reference)
    with open_run("evaluate", s, out=out, resume=resume) as run:
        result = _evaluation(batches, s.images, known, extractor, samples, s.splits, s.batch_size)
        result.protocol |= {"size": s.size, "seed": s.seed}
        run.finish(result.model_dump())
    return run


def evaluate_generator(
    generate: Generate,
    *,
    reference: str | Path | FeatureStatistics,
    samples: int = GENERATED,
    extractor: str | FeatureExtractor = "cifarnet",
    splits: int = 10,
    batch_size: int = 100,
    seed: int = 0,
    device: str = "cpu",
) -> Evaluation:
    """Evaluate whatever makes images; deterministic in ``seed`` and ``batch_size`` when ``generate`` is.

    Args:
        generate: see :data:`Generate`; a network must already be in evaluation mode.
        reference: as for :func:`evaluate`, or the statistics, whose root is computed once for all calls.
        samples: images to make; 50,000 in most papers.
        extractor: a name, or the extractor itself.
        splits: parts of the Inception Score.
        batch_size: images at a time.
        seed: of the random generator that ``generate`` gets.
        device: where a named extractor runs.

    Raises:
        InputError: as :func:`evaluate`, and for what ``generate`` returns when it is no batch of images.
    """
    if samples < 2 or batch_size < 1:
        raise InputError(
            f"samples {samples} in batches of {batch_size}: accepted are 2 or more in batches of 1 or more"
        )
    network = get_extractor(extractor, device=device) if isinstance(extractor, str) else extractor
    if not isinstance(reference, FeatureStatistics):
        reference = reference_statistics(str(reference), network, batch_size=batch_size)
    batches = _generated(generate, samples, batch_size, torch_generator("evaluate", seed))
    result = _evaluation(batches, "generator", reference, network, samples, splits, batch_size)
    result.protocol["seed"] = seed
    return result


def reference_statistics(
    source: str,
    extractor: FeatureExtractor,
    *,
    size: int | None = None,
    samples: int | None = None,
    batch_size: int = 100,
) -> FeatureStatistics:
    """Statistics of reference images, read from a ``.npz`` or measured; see :class:`EvaluateSettings`."""
    if not source.endswith(STATISTICS_SUFFIX):
        batches = stream_images(source, batch_size=batch_size, size=size, limit=samples)
        return _measure(batches, source, extractor, samples, batch_size)[0]
    if size is not None or samples is not None:
        raise InputError(f"reference {source!r}: statistics have their size and samples; accepted for images")
    known = FeatureStatistics.load(source)
    if len(known.mu) != extractor.dim or known.extractor not in (None, identity(extractor)):
        raise InputError(
            f"reference {source!r}: {len(known.mu)} features by {known.extractor or 'an unknown extractor'}, "
            f"accepted are {extractor.dim} by {identity(extractor)}"
        )
    return known


def _batches(s: EvaluateSettings) -> tuple[Iterator[Tensor], int | None]:
    """Images in batches, and how many there are if that is known; a bad source is said at once."""
    trained = Path(s.images) / GENERATOR_FILE
    file = str(trained) if trained.is_file() else s.images
    if not file.endswith(WEIGHTS_SUFFIX):
        load_images(file, size=1, limit=1, train=False)
        _check_count(count_images(file), s)
        return stream_images(file, batch_size=s.batch_size, size=s.size, limit=s.samples, train=False), s.samples
    generator, samples = load_generator(file, device=s.device), s.samples or GENERATED
    if s.size not in (None, generator.space.image_size):
        raise InputError(f"--size {s.size} of {s.images!r}: accepted is its own, {generator.space.image_size}")
    _check_count(samples, s)
    return _generated(generator, samples, s.batch_size, torch_generator("evaluate", s.seed)), samples


def _check_count(there: int | None, s: EvaluateSettings) -> None:
    """Whether so many images are enough, where that is known before they are read."""
    if there is None:
        return
    if s.samples is not None and s.samples > there:
        raise InputError(f"{s.samples} samples asked of {s.images!r}, which holds {there}")
    count = s.samples or there
    if count < 2:
        raise InputError(f"images {s.images!r}: {count} image; a distance needs 2 or more")
    if count < s.splits:
        raise InputError(f"--splits {s.splits}: {count} images; accepted are 1 to {count} splits")


def _check_writable(path: Path) -> None:
    if path.suffix != STATISTICS_SUFFIX or not path.parent.is_dir():
        raise InputError(
            f"--save-reference {str(path)!r}: accepted is a {STATISTICS_SUFFIX} file in a folder that exists"
        )


def _generated(generate: Generate, samples: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    for start in range(0, samples, batch_size):
        count = min(batch_size, samples - start)
        with torch.no_grad():
            images = generate(count, generator)
        if not isinstance(images, Tensor) or images.dim() != 4 or len(images) != count:
            got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise InputError(f"the generator made {got}: accepted is a tensor [{count}, 3, H, W]")
        yield images


def _measure(
    batches: Iterable[Tensor], source: str, extractor: FeatureExtractor, samples: int | None, batch_size: int
) -> tuple[FeatureStatistics, Tensor, list[int]]:
    """Statistics of features, logits ``[n, classes]``, and height and width of the images as they came."""
    accumulator, logits, shape = FeatureAccumulator(), [], [0, 0]
    total = None if samples is None else -(-samples // batch_size)
    for batch in progress(batches, total, f"{extractor.name} on {source}"):
        shape = list(batch.shape[2:])
        features, scores = extractor(batch)
        accumulator.update(features)
        logits.append(scores.cpu())
    if samples is not None and accumulator.count < samples:
        raise InputError(f"{samples} samples asked of {source!r}, which holds {accumulator.count}")
    statistics = accumulator.statistics(extractor=identity(extractor), source=source)
    return statistics, torch.cat(logits), shape


def _evaluation(
    batches: Iterable[Tensor],
    source: str,
    reference: FeatureStatistics,
    extractor: FeatureExtractor,
    samples: int | None,
    splits: int,
    batch_size: int,
) -> Evaluation:
    statistics, logits, shape = _measure(batches, source, extractor, samples, batch_size)
    score = inception_score(logits, splits=splits)
    return Evaluation(
        metrics={
            metric_name("fid", extractor): frechet_distance(statistics, reference),
            metric_name("is", extractor): score.mean,
            metric_name("is-std", extractor): score.std,
        },
        protocol={
            "extractor": extractor.name,
            "extractor_version": extractor.version,
            "features": extractor.dim,
            "resizing": extractor.resizing,
            "images": source,
            "image_size": shape,
            "samples": statistics.count,
            "batch_size": batch_size,
            "splits": splits,
            "reference": reference.source,
            "reference_samples": reference.count,
            "versions": versions(LIBRARIES),
        },
    )


def identity(extractor: FeatureExtractor) -> str:
    """What statistics by this extractor are marked with: only those of equal mark can be compared."""
    return f"{extractor.name}, {extractor.version}"
