"""Data of image-to-image translation, in the folders that the field uses.

| layout | folders | what is translated |
|---|---|---|
| unpaired | `trainA`, `trainB`, `testA`, `testB` | A to B, as in horse2zebra (CycleGAN) |
| paired | `train`, `test` or `val` | the left half of each image to the right (pix2pix) |
| | maybe `test_label` | label maps of the same names and any size, to measure with |
| labels | `train_label`, `train_img`, the same with `test` or `val` | label maps to images of the same names (GauGAN) |
| | maybe `train_inst` | instances, which then make the edges |
| labels | `gtFine`, `leftImg8bit` | the same in Cityscapes, through torchvision |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autogas.datasets.domains import Domain, Frame, ImageFiles, LabelMaps, image_size
from autogas.datasets.pictures import IMAGE_SUFFIXES, find_images
from autogas.errors import InputError
from autogas.spaces.translation import TranslationSpace

Layout = Literal["unpaired", "paired", "labels"]
DIRECTIONS = ("AtoB", "BtoA")
ANY_LABEL = 256
LABEL_SUFFIXES = (".png", ".bmp")
CITYSCAPES = ("leftImg8bit", "gtFine")


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
    layout: Layout,
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
        direction: ``BtoA`` exchanges both sides; label maps are translated to images only.
        num_labels: number of classes of label maps.
        unknown: see ``LabelMaps``.

    Raises:
        InputError: a missing folder, no image, a file that is none, a missing partner, partners of different sizes,
            instances in one split but not in the other.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"data {str(source)!r}: not a folder")
    if direction not in DIRECTIONS:
        raise InputError(f"direction {direction!r}: expected {', '.join(DIRECTIONS)}")
    if layout == "labels":
        if direction != "AtoB":
            raise InputError(f"direction {direction!r}: label maps are translated to images, so expected AtoB")
        return _labels(folder, split, frame, num_labels, unknown)
    labels: LabelMaps | None = None
    if layout == "paired":
        split, (side,) = _folders(folder, layout, split, ("",))
        files = _files(side, IMAGE_SUFFIXES)
        for file in files:
            width, height = image_size(file)
            if width % 2:
                raise InputError(f"pair {str(file)!r}: of size {width}x{height}, expected two halves of equal size")
        sides = [ImageFiles(files, frame, half) for half in (0, 1)]
        shown = folder / f"{split}_label"
        if shown.is_dir():
            labels = LabelMaps(_partners(files, _files(shown, LABEL_SUFFIXES), shown), frame, ANY_LABEL)
    else:
        split, folders = _folders(folder, layout, split, ("A", "B"))
        sides = [ImageFiles(_files(side, IMAGE_SUFFIXES), frame) for side in folders]
        for file in (file for side in sides for file in side.files):
            image_size(file)
    inputs, targets = sides if direction == "AtoB" else reversed(sides)
    return TranslationData(inputs, targets, layout == "paired", str(source), split, labels)


def load_data(
    space: TranslationSpace,
    source: str,
    layout: Layout,
    *,
    split: str,
    direction: str = "AtoB",
    enlarge: float = 1.0,
    flip: bool = False,
) -> TranslationData:
    """Data at the size of a space; see ``load_translation``.

    Raises:
        InputError: as there, and for label maps where the space takes images, or images where it takes label maps.
    """
    if (space.label_maps is not None) != (layout == "labels"):
        given, takes = ("label maps", "images") if layout == "labels" else ("images", "label maps")
        raise InputError(f"data {source!r}: {given}; {space.name} translates {takes}")
    _, height, width = space.input_shapes[0]
    classes, unknown = space.label_maps or (None, None)
    frame = Frame(height, width, enlarge, flip)
    data = load_translation(
        source,
        layout=layout,
        frame=frame,
        split=split,
        direction=direction,
        num_labels=classes,
        unknown=unknown,
    )
    if split != "train" and min(len(data.inputs), len(data.targets)) < 2:
        raise InputError(f"data {source!r}: fewer than 2 images in the split {data.split}, expected 2 or more")
    return data


def find_layout(source: str | Path) -> Layout:
    """The layout of a folder that has one; raises ``InputError`` for one that has none."""
    folder = Path(source)
    names = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    ends_of: dict[Layout, tuple[str, ...]] = {"unpaired": ("A", "B"), "labels": ("_label", "_img"), "paired": ("",)}
    for layout, ends in ends_of.items():
        if any({split + end for end in ends} <= names for split in ("train", "test", "val")):
            return layout
    if set(CITYSCAPES) <= names:
        return "labels"
    raise InputError(
        f"data {str(source)!r}: expected a folder with trainA and trainB, with train, with train_label and "
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
        elif any(folder.glob("*_inst")):
            raise InputError(
                f"data {str(folder)!r}: no folder {instance_folder.name!r}, but other splits have instances"
            )
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


def _folders(folder: Path, layout: Layout, split: str, ends: Sequence[str]) -> tuple[str, list[Path]]:
    """The split that is there, and its folders."""
    for name in (split, "val") if split == "test" else (split,):
        paths = [folder / f"{name}{end}" for end in ends]
        if all(path.is_dir() for path in paths):
            return name, paths
    missing = next(path for path in (folder / f"{split}{end}" for end in ends) if not path.is_dir())
    accepted = " and ".join(f"{split}{end}" for end in ends)
    there = sorted(path.name for path in folder.iterdir() if path.is_dir())
    raise InputError(
        f"data {str(folder)!r}: no folder {missing.name!r}; {layout} data has {accepted}, this has "
        f"{', '.join(there) or 'none'}"
    )


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    files = [file for file in find_images(folder, deep=False) if file.suffix.lower() in suffixes]
    if not files:
        raise InputError(f"data {str(folder)!r}: no {', '.join(suffixes)} file in this folder")
    return files


def _partners(files: Sequence[Path], others: Sequence[Path], folder: Path) -> list[Path]:
    """For each file the one of the same name without suffix; raises ``InputError`` when one of either has none."""
    own, partners = _by_name(files), _by_name(others)
    for name, file in own.items():
        if name not in partners:
            raise InputError(f"pair {str(file)!r}: no partner in {str(folder)!r}")
    alone = sorted(partners.keys() - own.keys())
    if alone:
        raise InputError(f"pair {str(partners[alone[0]])!r}: no partner in {str(files[0].parent)!r}")
    return [partners[name] for name in own]


def _by_name(files: Sequence[Path]) -> dict[str, Path]:
    by_name: dict[str, Path] = {}
    for file in files:
        if file.stem in by_name:
            raise InputError(f"pair {str(file)!r}: {by_name[file.stem].name!r} has the same name without suffix")
        by_name[file.stem] = file
    return by_name


def _check_sizes(first: Path, second: Path) -> None:
    sizes = [image_size(file) for file in (first, second)]
    if sizes[0] != sizes[1]:
        given = " and ".join(f"{width}x{height}" for width, height in sizes)
        raise InputError(f"pair {str(first)!r}, {str(second)!r}: of sizes {given}, expected equal sizes")
