"""Measure a translation: distance to the target domain, agreement with pairs, segmentation of what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from pydantic import Field
from torch import Tensor

from autogas.datasets.domains import Domain, LabelMaps
from autogas.datasets.translation import Layout, TranslationData, load_data
from autogas.errors import InputError
from autogas.metrics.evaluation import Evaluation, distances, identity, protocol_of
from autogas.metrics.features import FeatureExtractor
from autogas.metrics.frechet import FeatureAccumulator, FeatureStatistics
from autogas.metrics.paired import psnr, ssim
from autogas.metrics.pixels import as_uint8
from autogas.metrics.segmentation import confusion_matrix, segmentation_scores
from autogas.metrics.segmenter import IGNORED, Segmenter, load_segmenter
from autogas.runs.parallel import progress
from autogas.settings import Settings
from autogas.spaces.translation import TranslationSpace

Translate = Callable[[Tensor], Tensor]
"""Inputs of a space to images ``[N, 3, H, W]`` in [0, 1]."""


class SegmentationSettings(Settings):
    """Which network says what is seen in translated images."""

    segmentation: str | None = Field(
        None,
        description="for mean IoU where there are label maps: a TorchScript or ONNX file or a model of torchvision",
    )
    segmentation_weights: str | None = Field(None, description="weights of a model of torchvision; None: downloaded")
    segmentation_map: str | None = Field(None, description="JSON file of what that network takes and its classes")

    def segmenter(self, device: str) -> Segmenter | None:
        """The network, if one is named."""
        if self.segmentation is None:
            return None
        return load_segmenter(
            self.segmentation, weights=self.segmentation_weights, about=self.segmentation_map, device=device
        )

    def fitting_segmenter(self, data: TranslationData, device: str) -> Segmenter | None:
        """The same, once it has run on one target and knows the classes of every label map.

        Raises:
            InputError: data without label maps, a network that fails, or a class that it does not know.
        """
        if self.segmentation is not None and data.labels is None:
            raise InputError(f"data {data.source!r}: no label maps; expected some with --segmentation")
        segmenter = self.segmenter(device)
        if segmenter is not None:
            check_segmenter(segmenter, data)
        return segmenter


def square_of(space: TranslationSpace) -> int | None:
    """Height and width of its images where they are equal, which those of a reference are brought to."""
    _, height, width = space.input_shapes[0]
    return height if height == width else None


def target_statistics(
    space: TranslationSpace,
    held_out: TranslationData,
    layout: Layout,
    extractor: FeatureExtractor,
    *,
    direction: str = "AtoB",
) -> FeatureStatistics:
    """Statistics of the target domain: the targets of the split, of unpaired data all of train and test (CycleGAN)."""
    parts, splits = [held_out.targets], held_out.split
    if layout == "unpaired" and held_out.split != "train":
        train = load_data(space, held_out.source, layout, split="train", direction=direction)
        parts, splits = [train.targets, *parts], f"train+{held_out.split}"
    accumulator = FeatureAccumulator()
    total = sum(map(len, parts))
    batches = (batch for part in parts for batch in _batches(part, len(part), 100))
    for batch in progress(batches, None, f"{extractor.name} on {total} targets of {held_out.source}"):
        accumulator.update(extractor(as_uint8((batch + 1) / 2))[0])
    source, (_, height, width) = f"{held_out.source}, targets of {splits}", space.input_shapes[0]
    return accumulator.statistics(extractor=identity(extractor), source=source, size=(height, width))


def measure_translation(
    translate: Translate,
    data: TranslationData,
    reference: FeatureStatistics,
    extractor: FeatureExtractor,
    *,
    segmenter: Segmenter | None = None,
    samples: int | None = None,
    batch_size: int = 16,
) -> Evaluation:
    """Metrics of the translations of the first inputs of ``data``, rounded to 256 levels as a saved image is.

    Args:
        translate: see ``Translate``; a network must already be in evaluation mode.
        data: inputs, and targets if they are paired.
        reference: statistics of the target domain.
        extractor: whose features are compared.
        segmenter: what it sees is compared with the label maps.
        samples: how many inputs; None takes all.
        batch_size: images at a time.

    Raises:
        InputError: more samples than there are inputs.
    """
    count = len(data.inputs) if samples is None else samples
    if count > len(data.inputs):
        raise InputError(f"{count} samples asked of {data.source!r}, whose split {data.split} holds {len(data.inputs)}")
    accumulator, sums, confusion = FeatureAccumulator(), {"ssim": 0.0, "psnr": 0.0}, torch.zeros(1, dtype=torch.int64)
    shape = (0, 0)
    total = -(-count // batch_size)
    for index in progress(torch.arange(count).split(batch_size), total, f"translating {data.source}"):
        pixels = as_uint8(translate(data.inputs.batch(index)).cpu())
        shape = (pixels.shape[2], pixels.shape[3])
        accumulator.update(extractor(pixels)[0])
        images = pixels.float() / 255
        if data.paired:
            targets = as_uint8((data.targets.batch(index) + 1) / 2).float() / 255
            sums["ssim"] += ssim(images, targets) * len(index)
            sums["psnr"] += psnr(images, targets) * len(index)
        if segmenter is not None and data.labels is not None:
            confusion = confusion + _confusion(segmenter, images, data.labels, index)
    statistics = accumulator.statistics(extractor=identity(extractor), source=data.source, size=shape)
    metrics = distances(statistics, reference, extractor)
    if data.paired:
        metrics |= {name: value / count for name, value in sums.items()}
    if segmenter is not None:
        scores = segmentation_scores(confusion)
        metrics |= {"miou": scores.miou, "pixel-accuracy": scores.pixel_accuracy}
    return Evaluation(
        metrics=metrics,
        protocol={
            **protocol_of(statistics, reference, extractor, list(shape), batch_size),
            "segmentation": None if segmenter is None else segmenter.protocol,
            "data": data.source,
            "split": data.split,
        },
    )


def check_segmenter(segmenter: Segmenter, data: TranslationData) -> None:
    """Run a segmentation network on one target and compare its classes with those of every label map.

    Raises:
        InputError: it fails, or a label map has a class that it does not know.
    """
    assert data.labels is not None
    target = (data.targets.batch(torch.tensor([0])) + 1) / 2
    _, classes = segmenter(target, (target.shape[2], target.shape[3]))
    for i in range(len(data.labels)):
        highest = int(segmenter.truth(data.labels.labels(i)).max())
        if highest >= classes:
            raise InputError(
                f"label map {str(data.labels.files[i])!r} has class {highest} for segmentation {segmenter.name!r}: "
                f"expected 0 to {classes - 1}, others by a segmentation map"
            )


def _confusion(segmenter: Segmenter, images: Tensor, labels: LabelMaps, index: Tensor) -> Tensor:
    """Confusion of what is seen in images with their label maps, at the size of the latter."""
    matrices = []
    for image, i in zip(images, index.tolist(), strict=True):
        truth = segmenter.truth(labels.labels(i))
        seen, classes = segmenter(image[None], (truth.shape[0], truth.shape[1]))
        matrices.append(confusion_matrix(seen[0], truth, classes=classes, ignore_index=IGNORED))
    return torch.stack(matrices).sum(0)


def _batches(domain: Domain, count: int, batch_size: int) -> Iterator[Tensor]:
    for index in torch.arange(count).split(batch_size):
        yield domain.batch(index)
