"""Data of image-to-image translation, in the folders that the field uses; files are read when a batch needs them.

===========  =====================================================  ==================================================
layout       folders                                                what is translated
===========  =====================================================  ==================================================
unpaired     ``trainA``, ``trainB``, ``testA``, ``testB``           A to B, as in horse2zebra (CycleGAN)
paired       ``train``, ``test`` or ``val``; maybe ``test_label``,  the left half of each image to the right (pix2pix);
             of any size                                            label maps of the same names, to measure with
labels       ``train_label``, ``train_img``, maybe ``train_inst``;  label maps to images, of the same names (GauGAN);
             the same with ``test`` or ``val``                      instances, if given, make the edges
labels       ``gtFine`` and ``leftImg8bit``                         the same in Cityscapes, through torchvision
===========  =====================================================  ==================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from autogas.datasets.images import IMAGE_SUFFIXES
from autogas.errors import InputError
from autogas.spaces.translation.label_map import encode_labels

R = TypeVar("R")

LAYOUTS = ("unpaired", "paired", "labels")
DIRECTIONS = ("AtoB", "BtoA")
ANY_LABEL = 256
LABEL_SUFFIXES = (".png", ".bmp")
CITYSCAPES = ("leftImg8bit", "gtFine")


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
        """The image at this size; ``view`` is a row of :func:`draw_views`, or None for the whole image."""
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
            views: of :func:`draw_views`; None for whole images.

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
        """The chosen images, ``[n, 3, height, width]``; see :meth:`Domain.batch`."""
        return torch.stack([self._image(self.files[i], view) for i, view in _rows(index, views)])

    def _image(self, file: Path, view: Sequence[float] | None) -> Tensor:
        image = _read(file, lambda opened: opened.convert("RGB"))
        if self.half is not None:
            middle = image.width // 2
            image = image.crop((self.half * middle, 0, (self.half + 1) * middle, image.height))
        pixels = np.array(self.frame.place(image, view, Image.Resampling.BICUBIC))
        return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(127.5).sub_(1)


class LabelMaps:
    """Label maps with instance edges, by :func:`autogas.spaces.translation.label_map.encode_labels`.

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
        """The chosen label maps, ``[n, num_labels + 1, height, width]``; see :meth:`Domain.batch`."""
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
                f"label map {str(self.files[i])!r}: label {outside[0]}, accepted are 0 to {self.num_labels - 1}"
            )
        return labels

    def _placed(self, numbers: np.ndarray, view: Sequence[float] | None) -> Tensor:
        placed = self.frame.place(Image.fromarray(numbers), view, Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(placed))


@dataclass(frozen=True)
class TranslationData:
    """What is translated into what.

    Attributes:
        inputs: what a generator takes.
        targets: what it should give.
        paired: whether the n-th input belongs to the n-th target.
        source: the folder, as the user named it.
        split: ``train``, ``test`` or ``val``.
        labels: what targets show, where it is known: the inputs themselves, or label maps beside pairs.
    """

    inputs: Domain
    targets: Domain
    paired: bool
    source: str
    split: str
    labels: LabelMaps | None = None


def load_translation(
    source: str | Path,
    *,
    layout: str,
    frame: Frame,
    split: str = "train",
    direction: str = "AtoB",
    num_labels: int | None = None,
    unknown: int | None = None,
) -> TranslationData:
    """Find the files of a data set and check that they belong together.

    Args:
        source: its folder.
        layout: ``unpaired``, ``paired`` or ``labels``; see the module.
        frame: the size to bring images to.
        split: ``train``, ``test`` or ``val``; ``test`` is ``val`` where there is no ``test``.
        direction: ``BtoA`` exchanges both sides; label maps are always translated to images.
        num_labels: number of classes of label maps.
        unknown: see :class:`LabelMaps`.

    Raises:
        InputError: a missing folder, no image, a missing partner, partners of different sizes.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"data {str(source)!r}: not a folder")
    if direction not in DIRECTIONS:
        raise InputError(f"direction {direction!r}: accepted are {', '.join(DIRECTIONS)}")
    if layout == "labels":
        return _labels(folder, split, frame, num_labels, unknown)
    labels: LabelMaps | None = None
    if layout == "paired":
        split, (side,) = _folders(folder, layout, split, ("",))
        files = _files(side, IMAGE_SUFFIXES)
        for file in files:
            width, height = _size(file)
            if width % 2:
                raise InputError(f"pair {str(file)!r}: of size {width}x{height}, accepted are two halves of equal size")
        sides = [ImageFiles(files, frame, half) for half in (0, 1)]
        shown = folder / f"{split}_label"
        if shown.is_dir():
            labels = LabelMaps(_partners(files, _files(shown, LABEL_SUFFIXES), shown), frame, ANY_LABEL)
    else:
        split, folders = _folders(folder, layout, split, ("A", "B"))
        sides = [ImageFiles(_files(side, IMAGE_SUFFIXES), frame) for side in folders]
    inputs, targets = sides if direction == "AtoB" else reversed(sides)
    return TranslationData(inputs, targets, layout == "paired", str(source), split, labels)


def find_layout(source: str | Path) -> str:
    """The layout of a folder that has one; raises ``InputError`` for one that has none."""
    folder = Path(source)
    names = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    for layout, ends in (("unpaired", ("A", "B")), ("labels", ("_label", "_img")), ("paired", ("",))):
        if any({split + end for end in ends} <= names for split in ("train", "test", "val")):
            return layout
    if set(CITYSCAPES) <= names:
        return "labels"
    raise InputError(
        f"data {str(source)!r}: accepted is a folder with trainA and trainB, with train, with train_label and "
        f"train_img, or with {' and '.join(CITYSCAPES)}"
    )


def _labels(folder: Path, split: str, frame: Frame, num_labels: int | None, unknown: int | None) -> TranslationData:
    if num_labels is None:
        raise InputError(f"data {str(folder)!r}: the number of classes is needed for label maps")
    if all((folder / name).is_dir() for name in CITYSCAPES):
        split, labels, images, instances = _cityscapes(folder, split)
    else:
        split, (label_folder, image_folder) = _folders(folder, "labels", split, ("_label", "_img"))
        labels, images = _files(label_folder, LABEL_SUFFIXES), _files(image_folder, IMAGE_SUFFIXES)
        images = _partners(labels, images, image_folder)
        instance_folder = folder / f"{split}_inst"
        instances = None
        if instance_folder.is_dir():
            instances = _partners(labels, _files(instance_folder, LABEL_SUFFIXES), instance_folder)
    for partners in filter(None, (images, instances)):
        for label, partner in zip(labels, partners, strict=True):
            _check_sizes(label, partner)
    inputs = LabelMaps(labels, frame, num_labels, instances=instances, unknown=unknown)
    return TranslationData(inputs, ImageFiles(images, frame), True, str(folder), split, inputs)


def _cityscapes(folder: Path, split: str) -> tuple[str, list[Path], list[Path], list[Path]]:
    """The split, and files of labels, images and instances; only ``train`` and ``val`` have labels."""
    from torchvision.datasets import Cityscapes

    split = "val" if split == "test" else split
    try:
        found = Cityscapes(str(folder), split=split, mode="fine", target_type=["semantic", "instance"])
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"data {str(folder)!r}: no Cityscapes ({str(error).splitlines()[0]})") from None
    images = [Path(image) for image in found.images]
    if not images:
        raise InputError(f"data {str(folder)!r}: no image in the split {split}")
    labels, instances = ([Path(target[i]) for target in found.targets] for i in range(2))
    return split, labels, images, instances


def _folders(folder: Path, layout: str, split: str, ends: Sequence[str]) -> tuple[str, list[Path]]:
    """The split that is there, and its folders."""
    for name in (split, "val") if split == "test" else (split,):
        paths = [folder / f"{name}{end}" for end in ends]
        if all(path.is_dir() for path in paths):
            return name, paths
    missing = next(path for path in (folder / f"{split}{end}" for end in ends) if not path.is_dir())
    accepted = " and ".join(f"{split}{end}" for end in ends)
    raise InputError(f"data {str(folder)!r}: no folder {missing.name!r}; {layout} data has {accepted}")


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes)
    if not files:
        raise InputError(f"data {str(folder)!r}: no {', '.join(suffixes)} file in this folder")
    return files


def _partners(files: Sequence[Path], others: Sequence[Path], folder: Path) -> list[Path]:
    """For each file the one of the same name without suffix; raises ``InputError`` when one of either has none."""
    by_name = {other.stem: other for other in others}
    for file in files:
        if file.stem not in by_name:
            raise InputError(f"pair {str(file)!r}: no partner in {str(folder)!r}")
    alone = sorted(by_name.keys() - {file.stem for file in files})
    if alone:
        raise InputError(f"pair {str(by_name[alone[0]])!r}: no partner in {str(files[0].parent)!r}")
    return [by_name[file.stem] for file in files]


def _check_sizes(first: Path, second: Path) -> None:
    sizes = [_size(file) for file in (first, second)]
    if sizes[0] != sizes[1]:
        given = " and ".join(f"{width}x{height}" for width, height in sizes)
        raise InputError(f"pair {str(first)!r}, {str(second)!r}: of sizes {given}, accepted are equal sizes")


def _rows(index: Tensor, views: Tensor | None) -> list[tuple[int, list[float] | None]]:
    rows = [None] * len(index) if views is None else views.tolist()
    return list(zip(index.tolist(), rows, strict=True))


def _size(file: Path) -> tuple[int, int]:
    """Width and height, from the header."""
    size: tuple[int, int] = _read(file, lambda opened: opened.size)
    return size


def _numbers(file: Path) -> np.ndarray:
    """The values of an image of one channel, ``int32 [h, w]``."""
    values = _read(file, np.array)
    if values.ndim != 2:
        raise InputError(f"label map {str(file)!r}: of {values.shape[-1]} channels, accepted is 1")
    return values.astype(np.int32)


def _read(file: Path, read: Callable[[Image.Image], R]) -> R:
    try:
        with Image.open(file) as opened:
            return read(opened)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"image {str(file)!r}: not readable ({error})") from None
