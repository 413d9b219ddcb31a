"""Evaluate a trained translation on held-out data: distance to the target domain, agreement of pairs, segmentation."""

from __future__ import annotations

from typing import Literal, Unpack

from pydantic import Field

from autogas.datasets.translation import find_layout, load_data
from autogas.metrics import get_extractor
from autogas.metrics.evaluation import reference_statistics
from autogas.metrics.features import Extractor, InceptionWeights
from autogas.metrics.translation import SegmentationSettings, measure_translation, square_of, target_statistics
from autogas.runs import Run
from autogas.settings import Batch, Device, takes
from autogas.training.export import load_translator
from autogas.workflows.keywords import EvaluateTranslationKeywords
from autogas.workflows.opening import open_run, read_settings


class EvaluateTranslationSettings(SegmentationSettings):
    """What determines an evaluation of a translation."""

    images: str = Field(description="a trained generator (.safetensors), or the folder of its training")
    data: str = Field(description="folder of the data set")
    split: Literal["train", "test", "val"] = Field("test", description="which part of it")
    direction: Literal["AtoB", "BtoA"] | None = Field(
        None, description="of paired and unpaired data; None: the one that the generator was trained for, or AtoB"
    )
    reference: str | None = Field(None, description="images or statistics to compare with; None: the target images")
    extractor: Extractor = "cifarnet"
    inception_weights: InceptionWeights = None
    samples: int | None = Field(None, ge=2, description="the first so many inputs; None: all")
    batch_size: Batch = Field(16, description="images at a time")
    device: Device = "cpu"


@takes(EvaluateTranslationSettings)
def evaluate_translation(
    images: str | None = None,
    data: str | None = None,
    *,
    out: str | None = None,
    resume: str | None = None,
    **settings: Unpack[EvaluateTranslationKeywords],
) -> Run:
    """Evaluate a translation; see ``EvaluateTranslationSettings`` for the settings.

    The results are an ``Evaluation``: ``fid`` against the target domain (by Inception;
    ``fid-cifarnet`` by the extractor that ships with the package) and ``kid``, for pairs ``ssim`` and ``psnr``, for
    label maps with a segmentation network ``miou`` and ``pixel-accuracy``.

    Args:
        images: the generator.
        data: what to translate.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        **settings: fields of ``EvaluateTranslationSettings``.

    Raises:
        InputError: data, statistics, generators or networks that cannot be read or do not fit together.
    """
    given = {"images": images, "data": data, **settings}
    s = read_settings("evaluate", EvaluateTranslationSettings, given, resume)
    translator = load_translator(s.images, device=s.device)
    direction = translator.direction(s.direction)
    space, layout = translator.space, find_layout(s.data)
    held_out = load_data(space, s.data, layout, split=s.split, direction=direction)
    extractor = get_extractor(s.extractor, inception_weights=s.inception_weights, device=s.device)
    segmenter = s.fitting_segmenter(held_out, s.device)
    if s.reference is not None:
        known = reference_statistics(s.reference, extractor, size=square_of(space))
    else:
        known = target_statistics(space, held_out, layout, extractor, direction=direction)
    with open_run("evaluate", s, out=out, resume=resume) as run:
        result = measure_translation(
            translator,
            held_out,
            known,
            extractor,
            segmenter=segmenter,
            samples=s.samples,
            batch_size=s.batch_size,
        )
        result.protocol |= {"images": s.images, "direction": direction}
        run.finish(result.model_dump())
    return run
