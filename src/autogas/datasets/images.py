"""Image sources: torchvision's CIFAR-10 and STL-10, a folder of images, a Parquet of encoded images."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from autogas.datasets.pictures import IMAGE_SUFFIXES, find_images, rgb
from autogas.datasets.synthetic import dead_leaves
from autogas.errors import InputError, must_be_whole
from autogas.files import record_batches
from autogas.spaces.base import LARGEST_IMAGE

IMAGE_COLUMNS = ("image", "img", "bytes", "jpeg", "png")
LABEL_COLUMN = "label"
TORCHVISION = ("cifar10", "stl10", "stl10-unlabeled")
LABELLED = ("cifar10", "stl10")
DEAD_LEAVES = "dead-leaves"


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

    def to(self, device: torch.device) -> Images:
        """These images in the memory of a device."""
        return Images(self.pixels.to(device), self.source)

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        """The chosen images as floats in [-1, 1], ``[len(index), 3, size, size]``."""
        return self.pixels[index].float().div_(127.5).sub_(1)


def _decode(encoded: object, size: int | None, where: str) -> np.ndarray:
    if isinstance(encoded, dict):  # Hugging Face files hold {"bytes": …, "path": …} where plain ones hold the bytes
        encoded = encoded.get("bytes")
    if not isinstance(encoded, bytes | Path):
        raise InputError(f"images {where}: a {type(encoded).__name__} where the bytes of an image are expected")
    try:
        with Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
            return _pixels(image, size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"images {where}: not a readable image ({error})") from None


def _pixels(image: Image.Image, size: int | None) -> np.ndarray:
    """As it is, or centre-cropped to a square and resized."""
    image = rgb(image)
    if size is None:
        return np.asarray(image)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    return np.asarray(image if side == size else image.resize((size, size), Image.Resampling.BILINEAR))


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"images {str(path)!r}: not a readable Parquet file ({error})") from None


def _from_parquet(path: Path, size: int | None) -> Iterator[np.ndarray]:
    table = _open_parquet(path)
    columns = [name for name in IMAGE_COLUMNS if name in table.schema_arrow.names]
    if not columns:
        raise InputError(
            f"images {str(path)!r}: no column of encoded images; has {', '.join(table.schema_arrow.names)}, "
            f"expected {', '.join(IMAGE_COLUMNS)}"
        )
    row = itertools.count()
    for group in record_batches(path, table, [columns[0]]):
        for value in group.column(0).to_pylist():
            yield _decode(value, size, f"{str(path)!r}, row {next(row)}")


def _from_folder(path: Path, size: int | None) -> Iterator[np.ndarray]:
    for file in find_images(path):
        yield _decode(file, size, f"{str(path)!r}, {file.relative_to(path)}")


def _open_torchvision(name: str, root: Path, train: bool) -> Any:
    from torchvision import datasets

    try:
        if name == "cifar10":
            return datasets.CIFAR10(root, train=train, download=True)
        split = "train" if name == "stl10" else "train+unlabeled"
        return datasets.STL10(root, split=split if train else "test", download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"images {name!r}: could not load or download to {str(root)!r} ({error})") from None


def _from_torchvision(name: str, root: Path, train: bool, size: int | None) -> Iterator[np.ndarray]:
    source = _open_torchvision(name, root, train)
    for i in range(len(source)):
        yield _pixels(source[i][0], size)


def _check_arguments(source: object, size: object, limit: object) -> None:
    if not isinstance(source, str | Path):
        raise InputError(f"images of type {type(source).__name__}: expected a path or the name of a data set")
    if size is not None:
        must_be_whole(1, LARGEST_IMAGE, size=size)
    if limit is not None:
        must_be_whole(1, limit=limit)


def _is_named(source: str | Path, names: Sequence[str]) -> bool:
    """Whether a data set is meant, and no path of its name, which in Python may be written as one."""
    return str(source) in names and not (isinstance(source, Path) and source.exists())


def _arrays(
    source: str | Path, size: int | None, limit: int | None, train: bool, root: str | Path
) -> Iterator[np.ndarray]:
    """Images one by one, ``uint8 [height, width, 3]``; raises ``InputError`` as ``load_images`` says."""
    _check_arguments(source, size, limit)
    path = Path(source)
    if _is_named(source, (DEAD_LEAVES,)):
        arrays = dead_leaves(size=size or 32, seed=0 if train else 1)
    elif _is_named(source, TORCHVISION):
        arrays = _from_torchvision(str(source), Path(root), train, size)
    elif path.is_dir() and str(source):  # nothing is no name of the working folder
        arrays = _from_folder(path, size)
    elif path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"images {str(source)!r}: a single image; expected a folder of images or a Parquet file")
    elif path.is_file():
        arrays = _from_parquet(path, size)
    else:
        gone = "there is no such file or folder (any more?); " if len(path.parts) > 1 else ""
        raise InputError(
            f"images {str(source)!r}: {gone}expected {', '.join(TORCHVISION)}, dead-leaves, "
            "a folder of images or a Parquet file"
        )
    empty = True
    for array in itertools.islice(arrays, limit):
        yield array
        empty = False
    if empty:
        raise InputError(f"images {str(source)!r}: holds no image")


def count_images(source: str | Path) -> int | None:
    """How many images a folder or file has, without reading them; None where only reading tells."""
    path = Path(source)
    if str(source) in (*TORCHVISION, DEAD_LEAVES):
        return None
    if path.is_dir():
        return len(find_images(path))
    return int(_open_parquet(path).metadata.num_rows) if path.is_file() else None


def _stack(arrays: list[np.ndarray]) -> torch.Tensor:
    """``[n, 3, height, width]`` of equally large images."""
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def load_images(
    source: str | Path, *, size: int, limit: int | None = None, train: bool = True, root: str | Path = "data"
) -> Images:
    """Read images, centre-cropped to a square and resized (bilinear) to ``size``.

    Args:
        source: ``cifar10``, ``stl10`` or ``stl10-unlabeled``, which adds its unlabeled images to the 5,000 of training
            (torchvision; downloaded to ``root``), a ``.parquet`` file with a column of encoded images, a folder that is
            searched for image files, or ``dead-leaves`` (``autogas.datasets.synthetic.dead_leaves``), which needs
            no file.
        size: height and width in pixels.
        limit: at most so many images, in the order of the source; None reads all.
        train: which split of a torchvision data set.
        root: folder of torchvision data sets.

    Raises:
        InputError: a source that does not exist, cannot be read, or holds no image.
    """
    return Images(_stack(list(_arrays(source, size, limit, train, root))), str(source))


def stream_images(
    source: str | Path,
    *,
    batch_size: int,
    size: int | None = None,
    limit: int | None = None,
    train: bool = True,
    root: str | Path = "data",
) -> Iterator[torch.Tensor]:
    """The images of ``load_images`` in batches ``uint8 [n, 3, height, width]``, never all in memory.

    Args:
        source: as for ``load_images``.
        batch_size: images a batch; the last one may be smaller.
        size: as for ``load_images``; None leaves images as they are, and they must then be equally large.
        limit: at most so many images; None reads all.
        train: which split of a torchvision data set.
        root: folder of torchvision data sets.

    Raises:
        InputError: as ``load_images``, and for images of different sizes when no ``size`` is given.
    """
    must_be_whole(1, batch_size=batch_size)
    arrays = _arrays(source, size, limit, train, root)
    shape: tuple[int, ...] | None = None
    while batch := list(itertools.islice(arrays, batch_size)):
        for array in batch:
            shape = shape or array.shape
            if array.shape != shape:
                sizes = " and ".join(f"{width}x{height}" for height, width, _ in (shape, array.shape))
                raise InputError(f"images {str(source)!r}: of sizes {sizes}; expected equal sizes, or say a size")
        yield _stack(batch)


def load_labels(
    source: str | Path, *, limit: int | None = None, train: bool = True, root: str | Path = "data"
) -> torch.Tensor:
    """Class labels ``int64 [n]`` of the images of ``load_images``, in the same order.

    Args:
        source: ``cifar10`` or ``stl10``, or a ``.parquet`` file with a column ``label``.
        limit: at most so many; None reads all.
        train: which split of a torchvision data set.
        root: folder of torchvision data sets.

    Raises:
        InputError: a source without labels, or that cannot be read.
    """
    if str(source) in LABELLED:
        data = _open_torchvision(str(source), Path(root), train)
        labels = data.targets if str(source) == "cifar10" else data.labels
        return torch.as_tensor(labels[:limit], dtype=torch.int64)
    path = Path(source)
    if not path.is_file():
        raise InputError(f"labels {str(source)!r}: expected cifar10, stl10 or a Parquet file")
    table = _open_parquet(path)
    if LABEL_COLUMN not in table.schema_arrow.names:
        raise InputError(f"labels {str(source)!r}: has {', '.join(table.schema_arrow.names)}, expected {LABEL_COLUMN}")
    kind = table.schema_arrow.field(LABEL_COLUMN).type
    column = pa.chunked_array([batch.column(0) for batch in record_batches(path, table, [LABEL_COLUMN])], type=kind)
    if not pa.types.is_integer(column.type) or column.null_count:
        raise InputError(f"labels {str(source)!r}: of type {column.type}, expected whole numbers without gaps")
    return torch.from_numpy(column.to_numpy().astype(np.int64))[:limit]
