"""Image files as they are meant: upright, of eight bits, and only those that somebody put there to be seen."""

from __future__ import annotations

import os
import struct
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from autogas.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
OTHER_IMAGES = (
    ".tif",
    ".tiff",
    ".gif",
    ".avif",
    ".heic",
    ".heif",
    ".jp2",
    ".jfif",
    ".jpe",
    ".svg",
    ".ppm",
    ".pgm",
    ".tga",
    ".npy",
)
RUN_FILES = {"settings.json", "record.sqlite"}
SHEETS = ("samples", "figures")
"""Folders of a run whose pictures are sheets of many samples, and drawings."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag that says which side is up, and its values for a quarter turn."""
TURNS: dict[object, Image.Transpose] = dict(
    zip(
        range(2, 9),
        (
            *(Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM),
            *(Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE),
            Image.Transpose.ROTATE_90,
        ),
        strict=True,
    )
)
"""What turns an image of each orientation upright."""


def rgb(image: Image.Image) -> Image.Image:
    """An image upright, in RGB of eight bits; transparency is left out, of an animation the first picture counts.

    Raises:
        ValueError: values beyond 16 bits, or floats.
    """
    image = upright(image)
    if image.mode == "F":
        raise ValueError("of floats; expected whole numbers of 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError(f"values from {values.min()} to {values.max()}; expected 8 or 16 bits")
        if image.mode == "I" and values.size and 0 < values.max() <= 255:
            raise ValueError(f"32-bit numbers up to {values.max()}, of 8 bits or dark ones of 16; expected either")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA")  # at once, Pillow warns of the transparency that is left out
    return image.convert("RGB")


def upright(image: Image.Image) -> Image.Image:
    """An image as it is meant to be looked at, whatever its other EXIF tags hold."""
    image.load()  # which says whether it is damaged; Pillow reads some tags behind the pixels
    turn = TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height once it is upright."""
    width, height = image.size
    return (height, width) if _orientation(image) in SIDEWAYS else (width, height)


def _orientation(image: Image.Image) -> object:
    """1 to 8, or anything else where a file says nothing, or is damaged, which reading its pixels will say."""
    try:
        return image.getexif().get(ORIENTATION)
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):
        return None


def find_images(folder: Path, *, deep: bool = True) -> list[Path]:
    """Image files of a folder (``deep``: and of those in it, also linked ones), sorted.

    What is hidden is left out: names that begin with a dot, and what macOS and network drives put beside. A warning
    says how many images of formats that are not read are left out.

    Raises:
        InputError: there is none, or a folder that a run made, whose pictures are of no one kind.
    """
    found, left_out = [], Counter[str]()
    files = list(files_of(folder, deep=deep))
    _check_no_run(folder, files)
    for file in files:
        suffix = file.suffix.lower()
        if suffix in IMAGE_SUFFIXES and (file.is_file() or not file.exists()):  # no pipe; a dead link is said later
            found.append(file)
        elif suffix in OTHER_IMAGES:
            left_out[suffix] += 1
    formats = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left_out.items()))
    if not found:
        others = f" (but {formats})" if formats else ""
        raise InputError(f"images {str(folder)!r}: no {', '.join(IMAGE_SUFFIXES)} file in this folder{others}")
    if formats:
        warnings.warn(f"images {str(folder)!r}: {formats} left out; read are {', '.join(IMAGE_SUFFIXES)}", stacklevel=2)
    return sorted(found)


def files_of(folder: Path, *, deep: bool = True) -> Iterator[Path]:
    """Files of a folder (``deep``: and of those in it, also linked ones) that are not hidden."""
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        again = real in seen  # a link to where we were
        seen.add(real)
        folders[:] = [] if again or not deep else sorted(name for name in folders if not _hidden(name))
        if not again:
            yield from (Path(here, name) for name in files if not _hidden(name))


def _check_no_run(folder: Path, files: Sequence[Path]) -> None:
    """Raise ``InputError`` for folders that a run made."""
    above = folder.resolve().parent
    if folder.resolve().name in SHEETS and all((above / name).exists() for name in RUN_FILES):
        raise InputError(
            f"images {str(folder)!r}: a folder of the run {above.name!r}, whose pictures are sheets of samples: "
            "name its generator.safetensors, or a folder of images alone"
        )
    names: dict[Path, set[str]] = {}
    for file in files:
        names.setdefault(file.parent, set()).add(file.name)
    for here, found in names.items():
        if found >= RUN_FILES:
            raise InputError(
                f"images {str(folder)!r}: {str(here)!r} is the folder of a run: name its generator.safetensors, "
                "or a folder of images alone"
            )


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")
