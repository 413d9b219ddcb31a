"""Metrics of label maps: what a segmentation network sees in generated images against what should be there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autogas.errors import InputError


@dataclass(frozen=True)
class SegmentationScores:
    """How well label maps agree, each in [0, 1], higher is better.

    Attributes:
        miou: intersection over union, averaged over the classes that occur in prediction or truth.
        pixel_accuracy: share of pixels with the right class.
    """

    miou: float
    pixel_accuracy: float


def confusion_matrix(predicted: Tensor, true: Tensor, *, classes: int, ignore_index: int | None = 255) -> Tensor:
    """Pixels of true class (row) that were predicted as class (column), ``int64 [classes, classes]``.

    The matrix of many images is the sum of theirs.

    Args:
        predicted: whole numbers from 0 to ``classes - 1``, any shape.
        true: of the same shape; pixels of ``ignore_index`` do not count.
        classes: number of classes.
        ignore_index: label of pixels without truth; None when there are none.

    Raises:
        InputError: different shapes, or labels out of range.

    Examples:
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 255]), classes=2).tolist()
        [[1, 1], [0, 0]]
    """
    if predicted.shape != true.shape:
        raise InputError(
            f"label maps of shapes {tuple(predicted.shape)} and {tuple(true.shape)}: expected equal shapes"
        )
    if predicted.is_floating_point() or true.is_floating_point():
        raise InputError(f"label maps of types {predicted.dtype} and {true.dtype}: expected whole numbers")
    predicted, true = predicted.flatten().long(), true.flatten().long()
    if ignore_index is not None:
        known = true != ignore_index
        predicted, true = predicted[known], true[known]
    for name, labels in (("predicted", predicted), ("true", true)):
        outside = labels[(labels < 0) | (labels >= classes)]
        if len(outside):
            raise InputError(f"{name} label {int(outside[0])}: expected 0 to {classes - 1}")
    return torch.bincount(true * classes + predicted, minlength=classes**2).view(classes, classes)


def segmentation_scores(confusion: Tensor) -> SegmentationScores:
    """Mean intersection over union and pixel accuracy of a confusion matrix ``[classes, classes]``.

    A class that is absent from both prediction and truth has no intersection over union and is left out of the mean.

    Raises:
        InputError: a matrix without a pixel.
    """
    matrix = confusion.double()
    pixels = float(matrix.sum())
    if pixels == 0:
        raise InputError("a confusion matrix without pixels: expected label maps with some that are not ignored")
    right = matrix.diagonal()
    union = matrix.sum(0) + matrix.sum(1) - right
    present = union > 0
    return SegmentationScores(
        miou=float((right[present] / union[present]).mean()), pixel_accuracy=float(right.sum()) / pixels
    )
