"""Measure images: Fréchet and kernel distance to others, Inception Score, and the protocol that they depend on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, model_validator
from torch import Tensor

from autogas.datasets import stream_images
from autogas.errors import InputError, must_be_whole
from autogas.metrics.features import FeatureExtractor, get_extractor, metric_name
from autogas.metrics.frechet import FeatureAccumulator, FeatureStatistics, frechet_distance
from autogas.metrics.inception_score import inception_score
from autogas.metrics.kernel import kernel_distance
from autogas.runs.parallel import progress
from autogas.seeding import torch_generator
from autogas.versions import versions

STATISTICS_SUFFIX = ".npz"
GENERATED = 50_000
LIBRARIES = ("autogas", "torch", "torch-fidelity")

Generate = Callable[[int, torch.Generator], Tensor]
"""Batch size and random generator (on the CPU) to images ``[batch, 3, H, W]``, uint8 or floats in [0, 1]."""


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
        generate: see ``Generate``; a network must already be in evaluation mode.
        reference: as for ``autogas.evaluate``, brought to the size of what is made where that is square; or the
            statistics, whose root is computed once for all calls.
        samples: images to make; 50,000 in most papers.
        extractor: a name, or the extractor itself.
        splits: parts of the Inception Score.
        batch_size: images at a time.
        seed: of the random generator that ``generate`` gets.
        device: where a named extractor runs.

    Raises:
        InputError: as ``autogas.evaluate``, and for what ``generate`` returns when it is no batch of images.
    """
    must_be_whole(2, samples=samples)
    must_be_whole(1, splits=splits, batch_size=batch_size)
    must_be_whole(0, seed=seed)
    if not callable(generate):
        raise InputError(f"generate {generate!r}: expected a function of a batch size and a random generator")
    if not isinstance(extractor, str) and not callable(extractor):
        raise InputError(f"extractor {extractor!r}: expected a name, or what get_extractor gives")
    network = get_extractor(extractor, device=device) if isinstance(extractor, str) else extractor
    if not isinstance(reference, str | Path | FeatureStatistics):
        raise InputError(f"reference of type {type(reference).__name__}: expected a path, a name or statistics")
    first, batches = _peeked(generated(generate, samples, batch_size, torch_generator("evaluate", seed)))
    if not isinstance(reference, FeatureStatistics):
        height, width = first.shape[2:]
        size = height if height == width else None
        reference = reference_statistics(str(reference), network, size=size, batch_size=batch_size)
    result = evaluation_of(batches, "generator", reference, network, samples, splits, batch_size)
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
    """Statistics of reference images, read from a ``.npz`` or measured; see ``autogas.evaluate``."""
    if not source.endswith(STATISTICS_SUFFIX):
        batches = stream_images(source, batch_size=batch_size, size=size, limit=samples)
        return measure_images(batches, source, extractor, samples, batch_size)[0]
    if samples is not None:
        raise InputError(f"reference {source!r}: statistics have their samples; accepted for images")
    known = FeatureStatistics.load(source)
    if size is not None:
        _must_be_of_one_size((size, size), "images", known, source)
    if len(known.mu) != extractor.dim or known.extractor not in (None, identity(extractor)):
        raise InputError(
            f"reference {source!r}: {len(known.mu)} features by {known.extractor or 'an unknown extractor'}, "
            f"expected {extractor.dim} by {identity(extractor)}"
        )
    return known


def _must_be_of_one_size(size: tuple[int, int], images: str, reference: FeatureStatistics, where: str) -> None:
    """Refuse images of another size than those of the reference, where that is known."""
    if reference.size not in (None, size):
        own, other = (f"{height}x{width}" for height, width in (size, reference.size))
        raise InputError(
            f"{images} of size {own} against {where!r} of size {other}: expected equal sizes (--size SIZE "
            "brings images to one)"
        )


def _peeked(batches: Iterable[Tensor]) -> tuple[Tensor, Iterator[Tensor]]:
    """The first batch, and all of them."""
    rest = iter(batches)
    first = next(rest)
    return first, itertools.chain([first], rest)


def generated(generate: Generate, samples: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of images, each checked; the last one may be smaller."""
    for start in range(0, samples, batch_size):
        count = min(batch_size, samples - start)
        with torch.no_grad():
            images = generate(count, generator)
        if not isinstance(images, Tensor) or images.dim() != 4 or len(images) != count:
            got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise InputError(f"the generator made {got}: expected a tensor [{count}, 3, H, W]")
        yield images


def measure_images(
    batches: Iterable[Tensor], source: str, extractor: FeatureExtractor, samples: int | None, batch_size: int
) -> tuple[FeatureStatistics, Tensor, list[int]]:
    """Statistics of features, logits ``[n, classes]``, and height and width of the images as they came."""
    accumulator, logits, shape = FeatureAccumulator(), [], (0, 0)
    total = None if samples is None else -(-samples // batch_size)
    for batch in progress(batches, total, f"{extractor.name} on {source}"):
        shape = (batch.shape[2], batch.shape[3])
        features, scores = extractor(batch)
        accumulator.update(features)
        logits.append(scores.cpu())
    if samples is not None and accumulator.count < samples:
        raise InputError(f"{samples} samples asked of {source!r}, which holds {accumulator.count}")
    statistics = accumulator.statistics(extractor=identity(extractor), source=source, size=shape)
    return statistics, torch.cat(logits), list(shape)


def evaluation_of(
    batches: Iterable[Tensor],
    source: str,
    reference: FeatureStatistics,
    extractor: FeatureExtractor,
    samples: int | None,
    splits: int,
    batch_size: int,
) -> Evaluation:
    """Metrics of images that come in batches, and their protocol."""
    first, batches = _peeked(batches)
    _must_be_of_one_size((first.shape[2], first.shape[3]), f"images {source!r}", reference, str(reference.source))
    statistics, logits, shape = measure_images(batches, source, extractor, samples, batch_size)
    score = inception_score(logits, splits=splits)
    return Evaluation(
        metrics={
            **distances(statistics, reference, extractor),
            metric_name("is", extractor): score.mean,
            metric_name("is-std", extractor): score.std,
        },
        protocol={
            **protocol_of(statistics, reference, extractor, shape, batch_size),
            "images": source,
            "splits": splits,
        },
    )


def protocol_of(
    statistics: FeatureStatistics,
    reference: FeatureStatistics,
    extractor: FeatureExtractor,
    shape: list[int],
    batch_size: int,
) -> dict[str, Any]:
    """How distances between the statistics of images of one shape and those of a reference came to be."""
    return {
        "extractor": extractor.name,
        "extractor_version": extractor.version,
        "features": extractor.dim,
        "resizing": extractor.resizing,
        "image_size": shape,
        "samples": statistics.count,
        "batch_size": batch_size,
        "reference": reference.source,
        "reference_samples": reference.count,
        "kid_samples": [sampled(statistics), sampled(reference)],
        "versions": versions(LIBRARIES),
    }


def sampled(statistics: FeatureStatistics) -> int | None:
    """Images whose features the kernel distance compares; None where there are none."""
    return None if statistics.sample is None else len(statistics.sample)


def distances(
    statistics: FeatureStatistics, reference: FeatureStatistics, extractor: FeatureExtractor
) -> dict[str, float]:
    """``fid``, and ``kid`` with its standard error ``kid-error`` where the reference has a sample of its features.

    Raises:
        InputError: the images are of another size than those of the reference, where both are known.
    """
    if statistics.size is not None:
        _must_be_of_one_size(statistics.size, f"images {statistics.source!r}", reference, str(reference.source))
    found = {"fid": frechet_distance(statistics, reference)}
    if statistics.sample is not None and reference.sample is not None:
        kernel = kernel_distance(statistics.sample, reference.sample)
        found |= {"kid": kernel.value, "kid-error": kernel.error}
    return {metric_name(name, extractor): value for name, value in found.items()}


def identity(extractor: FeatureExtractor) -> str:
    """What statistics by this extractor are marked with: only those of equal mark can be compared."""
    return f"{extractor.name}, {extractor.version}"
