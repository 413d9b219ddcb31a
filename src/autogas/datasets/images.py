"""Image sources: torchvision's CIFAR-10 and STL-10, a folder of images, a Parquet of encoded images."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from autogas.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
IMAGE_COLUMNS = ("image", "img", "bytes", "jpeg", "png")


@dataclass(frozen=True)
class Images:
    """Images in memory.

    Attributes:
        pixels: ``uint8 [n, 3, size, size]``.
        source: where they came from, as the user named it.
    """

    pixels: torch.Tensor
    source: str

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        """The chosen images as floats in [-1, 1], ``[len(index), 3, size, size]``."""
        return self.pixels[index].float().div_(127.5).sub_(1)


def _decode(encoded: object, size: int, where: str) -> np.ndarray:
    if isinstance(encoded, dict):  # Hugging Face files hold {"bytes": …, "path": …} where plain ones hold the bytes
        encoded = encoded.get("bytes")
    if not isinstance(encoded, bytes | Path):
        raise InputError(f"images {where}: a {type(encoded).__name__} where the bytes of an image are expected")
    try:
        with Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
            return _square(image, size)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"images {where}: not a readable image ({error})") from None


def _square(image: Image.Image, size: int) -> np.ndarray:
    """Centre-cropped to a square, then resized."""
    rgb = image.convert("RGB")
    side = min(rgb.size)
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    rgb = rgb.crop((left, top, left + side, top + side))
    return np.asarray(rgb if side == size else rgb.resize((size, size), Image.Resampling.BILINEAR))


def _from_parquet(path: Path, size: int, limit: int) -> list[np.ndarray]:
    try:
        table = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"images {str(path)!r}: not a readable Parquet file ({error})") from None
    columns = [name for name in IMAGE_COLUMNS if name in table.schema_arrow.names]
    if not columns:
        raise InputError(
            f"images {str(path)!r}: no column of encoded images; has {', '.join(table.schema_arrow.names)}, "
            f"accepted are {', '.join(IMAGE_COLUMNS)}"
        )
    decoded: list[np.ndarray] = []
    for group in table.iter_batches(batch_size=1024, columns=[columns[0]]):
        for value in group.column(0).to_pylist():
            if len(decoded) >= limit:
                return decoded
            decoded.append(_decode(value, size, f"{str(path)!r}, row {len(decoded)}"))
    return decoded


def _from_folder(path: Path, size: int, limit: int) -> list[np.ndarray]:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise InputError(f"images {str(path)!r}: no {', '.join(IMAGE_SUFFIXES)} file in this folder")
    return [_decode(file, size, f"{str(path)!r}, {file.name}") for file in files[:limit]]


def _from_torchvision(name: str, root: Path, train: bool, size: int, limit: int) -> list[np.ndarray]:
    from torchvision import datasets

    try:
        if name == "cifar10":
            source = datasets.CIFAR10(root, train=train, download=True)
        else:
            source = datasets.STL10(root, split="train" if train else "test", download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"images {name!r}: could not load or download to {str(root)!r} ({error})") from None
    return [_square(source[i][0], size) for i in range(min(limit, len(source)))]


def load_images(source: str | Path, *, size: int, limit: int, train: bool = True, root: str | Path = "data") -> Images:
    """Read up to ``limit`` images, centre-cropped to a square and resized (bilinear) to ``size``.

    Args:
        source: ``cifar10`` or ``stl10`` (torchvision; downloaded to ``root``), a ``.parquet`` file with a column of
            encoded images, or a folder that is searched for image files.
        size: height and width in pixels.
        limit: at most so many images, in the order of the source.
        train: which split of a torchvision data set.
        root: folder of torchvision data sets.

    Raises:
        InputError: a source that does not exist, cannot be read, or holds no image.
    """
    if str(source) in ("cifar10", "stl10"):
        arrays = _from_torchvision(str(source), Path(root), train, size, limit)
    else:
        path = Path(source)
        if path.is_dir():
            arrays = _from_folder(path, size, limit)
        elif path.is_file():
            arrays = _from_parquet(path, size, limit)
        else:
            raise InputError(
                f"images {str(source)!r}: accepted are cifar10, stl10, a folder of images or a Parquet file"
            )
    if not arrays:
        raise InputError(f"images {str(source)!r}: holds no image")
    pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    return Images(pixels, str(source))
