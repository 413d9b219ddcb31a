"""Evaluate images: Fréchet distance to reference images and Inception Score, with the protocol that they depend on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

from pydantic import Field
from torch import Tensor

from autogas.datasets import load_images, stream_images
from autogas.datasets.images import count_images
from autogas.errors import InputError
from autogas.metrics import get_extractor
from autogas.metrics.evaluation import (
    GENERATED,
    STATISTICS_SUFFIX,
    evaluation_of,
    generated,
    reference_statistics,
)
from autogas.metrics.features import Extractor, InceptionWeights
from autogas.runs import Run
from autogas.seeding import torch_generator
from autogas.settings import Batch, Device, Settings, takes
from autogas.spaces.base import LARGEST_IMAGE
from autogas.training.export import GENERATOR_FILE, WEIGHTS_SUFFIX, load_generator
from autogas.workflows.keywords import EvaluateKeywords
from autogas.workflows.opening import open_run, read_settings


class EvaluateSettings(Settings):
    """What determines an evaluation of images."""

    images: str = Field(
        description="a folder, a Parquet file or a trained generator (.safetensors, or its run); "
        "cifar10 or stl10 is the test split"
    )
    reference: str = Field(
        description="a folder, a Parquet file, cifar10 or stl10 (train split), or statistics as .npz"
    )
    extractor: Extractor = "cifarnet"
    inception_weights: InceptionWeights = None
    samples: int | None = Field(None, ge=2, description="the first so many images; None: all, or 50,000 generated")
    reference_samples: int | None = Field(None, ge=2, description="the first so many reference images; None: all")
    size: int | None = Field(
        None,
        ge=1,
        le=LARGEST_IMAGE,
        description="crop and resize all images to this; None: as they are, or to the size of a generator",
    )
    splits: int = Field(10, ge=1, description="parts of the Inception Score")
    batch_size: Batch = Field(100, description="images at a time")
    seed: int = Field(0, ge=0, description="of the latents of a generator")
    device: Device = "cpu"


@takes(EvaluateSettings)
def evaluate(
    images: str | None = None,
    reference: str | None = None,
    *,
    save_reference: str | Path | None = None,
    out: str | None = None,
    resume: str | None = None,
    **settings: Unpack[EvaluateKeywords],
) -> Run:
    """Evaluate images or a trained generator; see ``EvaluateSettings`` for the settings.

    The results are an ``Evaluation``.

    Args:
        images: what to evaluate.
        reference: what it should look like.
        save_reference: ``.npz`` to write the reference's statistics to, so that the next evaluation reads them.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        **settings: fields of ``EvaluateSettings``.

    Raises:
        InputError: images, statistics or weights that cannot be read or do not fit together, or too few images.
    """
    given = {"images": images, "reference": reference, **settings}
    s = read_settings("evaluate", EvaluateSettings, given, resume)
    if save_reference is not None:
        _check_writable(Path(save_reference))
    extractor = get_extractor(s.extractor, inception_weights=s.inception_weights, device=s.device)
    batches, samples, size = _batches(s)
    known = reference_statistics(
        s.reference, extractor, size=size, samples=s.reference_samples, batch_size=s.batch_size
    )
    with open_run("evaluate", s, out=out, resume=resume) as run:
        if save_reference is not None:
            known.save(save_reference)
        result = evaluation_of(batches, s.images, known, extractor, samples, s.splits, s.batch_size)
        result.protocol |= {"size": s.size, "seed": s.seed}
        run.finish(result.model_dump())
    return run


def _batches(s: EvaluateSettings) -> tuple[Iterator[Tensor], int | None, int | None]:
    """Images in batches, how many there are and their size if these are known; a bad source is said at once."""
    trained = Path(s.images) / GENERATOR_FILE
    file = str(trained) if trained.is_file() else s.images
    if not file.endswith(WEIGHTS_SUFFIX):
        load_images(file, size=1, limit=1, train=False)
        _check_count(count_images(file), s)
        return (
            stream_images(file, batch_size=s.batch_size, size=s.size, limit=s.samples, train=False),
            s.samples,
            s.size,
        )
    generator, samples = load_generator(file, device=s.device), s.samples or GENERATED
    if s.size not in (None, generator.space.image_size):
        raise InputError(f"--size {s.size} of {s.images!r}: expected its own, {generator.space.image_size}")
    _check_count(samples, s)
    batches = generated(generator, samples, s.batch_size, torch_generator("evaluate", s.seed))
    return batches, samples, generator.space.image_size


def _check_count(there: int | None, s: EvaluateSettings) -> None:
    """Whether so many images are enough, where that is known before they are read."""
    if there is not None and s.samples is not None and s.samples > there:
        raise InputError(f"{s.samples} samples asked of {s.images!r}, which holds {there}")
    count = s.samples or there
    if count is None:
        return
    if count < 2:
        raise InputError(f"images {s.images!r}: {count} image; a distance needs 2 or more")
    if count < s.splits:
        raise InputError(f"--splits {s.splits}: {count} images; expected 1 to {count} splits")


def _check_writable(path: Path) -> None:
    if path.suffix != STATISTICS_SUFFIX or not path.parent.is_dir() or path.is_dir():
        raise InputError(f"--save-reference {str(path)!r}: expected a {STATISTICS_SUFFIX} file in a folder that exists")
