"""What is translated and into what: images and label maps, read from their files when a batch needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from autogas.datasets.pictures import rgb, upright, upright_size
from autogas.errors import InputError
from autogas.spaces.translation.label_map import encode_labels

R = TypeVar("R")


@dataclass(frozen=True)
class Frame:
    """How images are brought to the size that networks take.

    Attributes:
        height: in pixels.
        width: in pixels.
        enlarge: in training, images are resized to so many times this size and then cropped at random (pix2pix and
            CycleGAN: 286 / 256).
        flip: in training, one image in two is mirrored.
    """

    height: int
    width: int
    enlarge: float = 1.0
    flip: bool = False

    def place(self, image: Image.Image, view: Sequence[float] | None, resample: Image.Resampling) -> Image.Image:
        """The image at this size; ``view`` is a row of ``draw_views``, or None for the whole image."""
        if view is None:
            return image.resize((self.width, self.height), resample)
        width, height = round(self.enlarge * self.width), round(self.enlarge * self.height)
        left, top = int(view[0] * (width - self.width + 1)), int(view[1] * (height - self.height + 1))
        image = image.resize((width, height), resample).crop((left, top, left + self.width, top + self.height))
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.flip and view[2] < 0.5 else image


def draw_views(count: int, generator: torch.Generator) -> Tensor:
    """How images of a batch are cropped and mirrored, ``[count, 3]`` in [0, 1), the same for both of a pair."""
    return torch.rand(count, 3, generator=generator)


class Domain(Protocol):
    """One side of a translation."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor, views: Tensor | None = None) -> Tensor:
        """What networks take or give, ``[n, C, height, width]``.

        Args:
            index: which ones, ``[n]``.
            views: of ``draw_views``; None for whole images.

        Raises:
            InputError: a file that cannot be read or does not fit.
        """
        ...


class ImageFiles:
    """Images in [-1, 1].

    Args:
        files: in their order.
        frame: the size to bring them to.
        half: 0 or 1 takes the left or right half of each only.
    """

    def __init__(self, files: Sequence[Path], frame: Frame, half: int | None = None) -> None:
        self.files = files
        self.frame = frame
        self.half = half

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, index: Tensor, views: Tensor | None = None) -> Tensor:
        """The chosen images, ``[n, 3, height, width]``; see ``Domain.batch``."""
        return torch.stack([self._image(self.files[i], view) for i, view in _rows(index, views)])

    def _image(self, file: Path, view: Sequence[float] | None) -> Tensor:
        image = _read(file, rgb)
        if self.half is not None:
            middle = image.width // 2
            image = image.crop((self.half * middle, 0, (self.half + 1) * middle, image.height))
        pixels = np.array(self.frame.place(image, view, Image.Resampling.BICUBIC))
        return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(127.5).sub_(1)


class LabelMaps:
    """Label maps with instance edges, by ``autogas.spaces.translation.label_map.encode_labels``.

    Args:
        files: images of one channel, whose values are labels.
        frame: the size to bring them to, by the nearest pixel.
        num_labels: number of classes.
        instances: images of one channel whose values are numbers of instances; None takes the labels.
        unknown: value that stands for the last class (COCO: 255).
    """

    def __init__(
        self,
        files: Sequence[Path],
        frame: Frame,
        num_labels: int,
        *,
        instances: Sequence[Path] | None = None,
        unknown: int | None = None,
    ) -> None:
        self.files = files
        self.frame = frame
        self.num_labels = num_labels
        self.instances = instances
        self.unknown = unknown

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, index: Tensor, views: Tensor | None = None) -> Tensor:
        """The chosen label maps, ``[n, num_labels + 1, height, width]``; see ``Domain.batch``."""
        rows = _rows(index, views)
        labels = torch.stack([self._placed(self.labels(i), view) for i, view in rows])
        instances = None
        if self.instances is not None:
            instances = torch.stack([self._placed(_numbers(self.instances[i]), view) for i, view in rows])
        return encode_labels(labels, num_labels=self.num_labels, instances=instances)

    def labels(self, i: int) -> np.ndarray:
        """Label map ``i`` at its own size, ``int32 [h, w]``; raises ``InputError`` for a label outside the classes."""
        labels = _numbers(self.files[i])
        if self.unknown is not None:
            labels = np.where(labels == self.unknown, self.num_labels - 1, labels)
        outside = labels[(labels < 0) | (labels >= self.num_labels)]
        if outside.size:
            raise InputError(
                f"label map {str(self.files[i])!r}: label {outside[0]}, expected 0 to {self.num_labels - 1}"
            )
        return labels

    def _placed(self, numbers: np.ndarray, view: Sequence[float] | None) -> Tensor:
        placed = self.frame.place(Image.fromarray(numbers), view, Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(placed))


ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
"""What files of these formats end with, ``TAIL`` bytes before their end at most."""
TAIL = 1024


def image_size(file: Path) -> tuple[int, int]:
    """Width and height, from the header; raises ``InputError`` also for a JPEG or PNG that ends too early."""

    def size(image: Image.Image) -> tuple[int, int]:
        end = ENDS.get(image.format or "", b"")
        with file.open("rb") as opened:
            opened.seek(max(file.stat().st_size - TAIL, 0))
            if end not in opened.read():
                image.load()  # says so, unless there is something else behind the image
        return upright_size(image)

    return _read(file, size)


def _rows(index: Tensor, views: Tensor | None) -> list[tuple[int, list[float] | None]]:
    rows = [None] * len(index) if views is None else views.tolist()
    return list(zip(index.tolist(), rows, strict=True))


def _numbers(file: Path) -> np.ndarray:
    """The values of an image of one channel, ``int32 [h, w]``."""
    values = _read(file, lambda opened: np.array(upright(opened)))
    if values.ndim != 2:
        raise InputError(f"label map {str(file)!r}: of {values.shape[-1]} channels, expected 1")
    return values.astype(np.int32)


def _read(file: Path, read: Callable[[Image.Image], R]) -> R:
    try:
        with Image.open(file) as opened:
            return read(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"image {str(file)!r}: not readable ({error})") from None
