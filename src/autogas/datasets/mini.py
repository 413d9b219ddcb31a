"""Small translation data made of CIFAR-10, or of any images, in the folders of ``autogas.datasets.translation``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional as F

from autogas.datasets.images import TORCHVISION, load_images, load_labels
from autogas.errors import InputError, unknown
from autogas.seeding import numpy_generator

DEER, HORSE = 4, 7  # labels of CIFAR-10
GREY = (0.299, 0.587, 0.114)
EDGE = 0.15
"""Length of the gradient of brightness, of 1 a pixel, from which on a pixel is an edge."""
CLASSES = 6
FITTED_IMAGES, FITTED_PIXELS = 500, 50_000
SMOOTHING = 5
"""Side of the square that colours are averaged over before they are assigned to clusters."""
SPLITS = ("train", "test")
WITH_SPLITS = (*TORCHVISION, "dead-leaves")
"""Sources whose held-out images differ from those for training."""


def make_translation(
    kind: str,
    folder: str | Path,
    *,
    images: str = "cifar10",
    held_out: str | None = None,
    count: int | None = None,
    held_out_count: int | None = None,
    size: int = 32,
) -> dict[str, int]:
    """Write a data set; returns the number of files in each of its folders.

    ``horse2deer`` is unpaired; ``edges2photo`` is paired, black Sobel edges on white beside their photograph;
    ``labels2photo`` has label maps, of six clusters of smoothed colour.

    Args:
        kind: which.
        folder: where to write it; must not hold such data yet.
        images: training images, as for ``load_images``; with labels for horse2deer.
        held_out: images for the test split, of a source with splits those of its own; None: that source, if it is one.
        count: training images; None takes all. Of horse2deer, images among which horses and deer are chosen.
        held_out_count: the same of the test split.
        size: height and width.

    Raises:
        InputError: an unknown kind, images that cannot be read, lack labels or are the same for both splits, a part
            that would hold no image, a folder that holds such data already.
    """
    if not str(folder):
        raise InputError("folder '': expected the name of a folder")
    folder = Path(folder)
    held_out = _checked_held_out(kind, folder, images, held_out)
    parts: dict[str, Tensor] = {}
    reference: Tensor | None = None
    for split, source, limit in zip(SPLITS, (images, held_out), (count, held_out_count), strict=True):
        train = split == "train"
        pixels = load_images(source, size=size, limit=limit, train=train).pixels
        reference = pixels if reference is None else reference
        labels = load_labels(source, limit=limit, train=train) if kind == "horse2deer" else None
        parts |= {split + name: part for name, part in MAKERS[kind](pixels, labels, reference).items()}
    for name, part in parts.items():
        if not len(part):
            raise InputError(f"{name} of {kind} would hold no image: expected more images")
    try:
        return {name: write_images(folder / name, part) for name, part in parts.items()}
    except BaseException:  # half a data set would be taken for a whole one
        for name in parts:
            shutil.rmtree(folder / name, ignore_errors=True)
        raise


def _checked_held_out(kind: str, folder: Path, images: str, held_out: str | None) -> str:
    """Images for the test split; raises ``InputError`` as ``make_translation`` says."""
    if kind not in MAKERS:
        raise unknown("data set", kind, MAKERS)
    if held_out is None:
        if images not in WITH_SPLITS:
            raise InputError(f"images {images!r} without --held-out: expected other images for the test split")
        held_out = images
    if images not in WITH_SPLITS and Path(images).resolve() == Path(held_out).resolve():
        raise InputError(f"images {images!r} for both splits: expected others for the test split")
    for source in {images, held_out} - {*WITH_SPLITS}:
        if Path(source).is_dir() and folder.resolve().is_relative_to(Path(source).resolve()):
            raise InputError(
                f"folder {str(folder)!r}: lies in {source!r}, of which it is made; expected another folder"
            )
    if any(path.is_dir() for split in SPLITS for path in folder.glob(f"{split}*")):
        raise InputError(f"folder {str(folder)!r}: holds data already, expected another folder")
    return held_out


def write_images(folder: Path, images: Tensor) -> int:
    """Write ``uint8 [n, 3, h, w]`` as PNG, or label maps ``[n, h, w]``, numbered; returns how many."""
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        pixels = image.permute(1, 2, 0) if image.dim() == 3 else image
        Image.fromarray(pixels.contiguous().numpy()).save(folder / f"{i:06}.png")
    return len(images)


def edges(pixels: Tensor) -> Tensor:
    """Edges of ``uint8 [n, 3, h, w]``, black on white, of the same shape: where Sobel's gradient is long."""
    grey = (pixels.float() / 255 * torch.tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True)
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    gradient = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), torch.stack([sobel, sobel.T])[:, None])
    drawn = gradient.norm(dim=1, keepdim=True) >= EDGE
    return torch.where(drawn, 0, 255).to(torch.uint8).expand(-1, 3, -1, -1)


def colour_clusters(pixels: Tensor, reference: Tensor) -> Tensor:
    """Label maps ``uint8 [n, h, w]``: the nearest of the clusters of colour in the first reference images.

    Clusters are those of k-means on smoothed colours, numbered by brightness, dark first.
    """
    colours = _smoothed(reference[:FITTED_IMAGES]).flatten(0, 2).numpy()
    rng = numpy_generator("colour clusters")
    fitted = colours[rng.permutation(len(colours))[:FITTED_PIXELS]]
    distinct = np.unique((255 * fitted).round(), axis=0) / 255
    if len(distinct) < CLASSES:
        raise InputError(f"images of {len(distinct)} colours: expected {CLASSES} or more to make label maps of")
    start = distinct[rng.choice(len(distinct), CLASSES, replace=False)]
    centres = torch.from_numpy(kmeans2(fitted, start, minit="matrix")[0])
    centres = centres[(centres * torch.tensor(GREY)).sum(1).argsort()]
    distances = torch.cat([torch.cdist(part.flatten(1, 2), centres) for part in _smoothed(pixels).split(500)])
    return distances.argmin(2).view(-1, *pixels.shape[2:]).to(torch.uint8)


def _smoothed(pixels: Tensor) -> Tensor:
    """Colours averaged over their surroundings, ``[n, h, w, 3]`` in [0, 1]."""
    side = SMOOTHING // 2
    padded = F.pad(pixels.float() / 255, (side,) * 4, mode="replicate")
    return F.avg_pool2d(padded, SMOOTHING, 1).permute(0, 2, 3, 1)


def _horse2deer(pixels: Tensor, labels: Tensor | None, _reference: Tensor) -> dict[str, Tensor]:
    assert labels is not None
    return {"A": pixels[labels == HORSE], "B": pixels[labels == DEER]}


def _edges2photo(pixels: Tensor, _labels: Tensor | None, _reference: Tensor) -> dict[str, Tensor]:
    return {"": torch.cat([edges(pixels), pixels], dim=3)}


def _labels2photo(pixels: Tensor, _labels: Tensor | None, reference: Tensor) -> dict[str, Tensor]:
    return {"_label": colour_clusters(pixels, reference), "_img": pixels}


MAKERS: Mapping[str, Callable[[Tensor, Tensor | None, Tensor], dict[str, Tensor]]] = {
    "horse2deer": _horse2deer,
    "edges2photo": _edges2photo,
    "labels2photo": _labels2photo,
}
"""Images, labels if needed and training images to the images of each folder, by the end of the folder's name."""
