"""Segmentation networks that the user names: what they see in generated images is held against the label maps."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.errors import InputError, unknown
from autogas.metrics.weights import read_weights
from autogas.settings import Settings

IGNORED = -1
"""Class of pixels that do not count."""
VOID = 255
"""The same as published tables of classes write it."""
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
LAST_LAYERS = ("classifier.4.weight", "classifier.low_classifier.weight")
"""Of torchvision's segmentation networks: as long as there are classes."""
TORCHSCRIPT_SUFFIXES = (".pt", ".ts", ".torchscript")


class SegmentationMap(Settings):
    """What a segmentation network takes, and how labels of the data are its classes; a JSON file."""

    mean: tuple[float, float, float] = Field((0.0, 0.0, 0.0), description="subtracted from images in [0, 1]")
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (1.0, 1.0, 1.0), description="by which they are divided after that"
    )
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="height and width to resize images to; None: as they are"
    )
    classes: dict[NonNegativeInt, int] | None = Field(
        None,
        min_length=1,
        description="class of the network for each label that counts (255 or below 0: it does not); None: every label "
        "is its own",
    )


class Segmenter:
    """A network from images to class scores, with what its numbers depend on.

    Args:
        network: normalised images ``[N, 3, H, W]`` to scores ``[N, classes, h, w]``.
        about: how to call it.
        name: as the user named it.
        version: digits of the SHA-256 of its file, or where its weights are from.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], about: SegmentationMap, *, name: str, version: str, device: str
    ) -> None:
        self.network = network
        self.about = about
        self.name = name
        self.version = version
        self.device = device

    @torch.no_grad()
    def __call__(self, images: Tensor, size: tuple[int, int]) -> tuple[Tensor, int]:
        """Classes ``int64 [N, *size]`` that images ``[N, 3, H, W]`` in [0, 1] show, and the number of classes.

        Scores are resized (bilinear) to the size of the label maps, then the highest counts.
        """
        x = images.to(self.device).float()
        if self.about.size is not None:
            x = F.interpolate(x, self.about.size, mode="bilinear", antialias=True)
        mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (self.about.mean, self.about.std))
        try:
            scores = self.network((x - mean) / std)
        except Exception as error:  # noqa: BLE001 - whatever the user's network raises
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise InputError(f"segmentation {self.name!r} fails on {tuple(x.shape)}: {reason[0]}") from None
        if not isinstance(scores, Tensor) or scores.dim() != 4 or len(scores) != len(images):
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise InputError(f"segmentation {self.name!r} gave {got}: expected scores [{len(images)}, classes, h, w]")
        if scores.shape[2:] != size:
            scores = F.interpolate(scores.float(), size, mode="bilinear")
        return scores.argmax(1).cpu(), scores.shape[1]

    def truth(self, labels: np.ndarray) -> Tensor:
        """The network's classes of a label map ``[h, w]``, -1 where a pixel does not count."""
        if self.about.classes is None:
            return torch.from_numpy(labels.astype(np.int64))
        table = np.full(max(int(labels.max()), *self.about.classes) + 1, IGNORED, dtype=np.int64)
        for label, of_network in self.about.classes.items():
            table[label] = IGNORED if of_network < 0 or of_network == VOID else of_network
        return torch.from_numpy(table[labels])

    @property
    def protocol(self) -> dict[str, Any]:
        """What results say of it."""
        return {"name": self.name, "version": self.version, **self.about.model_dump(mode="json")}


def load_segmenter(
    name: str, *, weights: str | None = None, about: str | Path | None = None, device: str = "cpu"
) -> Segmenter:
    """A segmentation network by name or file.

    Args:
        name: a TorchScript file (``.pt``, ``.ts``), an ``.onnx`` file (needs onnxruntime), or the name of a
            segmentation model of torchvision.
        weights: file of a torchvision model's weights; None downloads its own.
        about: JSON file of a ``SegmentationMap``; None takes images in [0, 1] and every label as its own class,
            for torchvision models with the mean and std of ImageNet.
        device: where it runs.

    Raises:
        InputError: an unknown name, a file that cannot be read.
    """
    path = Path(name)
    scripted, onnx = path.suffix in TORCHSCRIPT_SUFFIXES, path.suffix == ".onnx"
    described = read_map(None if about is None else Path(about), {} if scripted or onnx else IMAGENET)
    if scripted or onnx:
        if not path.is_file():
            raise InputError(f"segmentation {name!r}: no such file")
        if weights is not None:
            raise InputError(f"segmentation weights {weights!r} with {name!r}: accepted with a model of torchvision")
        network = _from_torchscript(path, device) if scripted else _from_onnx(path)
        version = f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    else:
        network, version = _from_torchvision(name, weights, device)
    return Segmenter(network, described, name=name, version=version, device=device)


def read_map(path: Path | None, defaults: dict[str, Any]) -> SegmentationMap:
    """Read a ``SegmentationMap``; raises ``InputError`` for a file that is none."""
    try:
        given = {} if path is None else json.loads(path.read_text())
        return SegmentationMap.model_validate({**defaults, **given})
    except (OSError, ValueError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InputError(f"segmentation map {str(path)!r}: expected JSON of {_fields()} ({reason})") from None


def _fields() -> str:
    return ", ".join(SegmentationMap.model_fields)


def _from_torchscript(path: Path, device: str) -> Callable[[Tensor], Tensor]:
    try:
        with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # torch prefers its newer format
            network: nn.Module = torch.jit.load(path, map_location=device)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"segmentation {str(path)!r}: expected a TorchScript file ({reason})") from None
    return network.eval()


def _from_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            f"segmentation {str(path)!r}: needs the package onnxruntime; pip install onnxruntime"
        ) from None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime's own errors have no common public class
        reason = str(error).splitlines()[0]
        raise InputError(f"segmentation {str(path)!r}: expected an ONNX file ({reason})") from None
    taken = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {taken: x.cpu().numpy()})[0])


def _from_torchvision(name: str, weights: str | None, device: str) -> tuple[Callable[[Tensor], Tensor], str]:
    from torchvision import models

    known = models.list_models(module=models.segmentation)
    if name not in known:
        raise unknown("segmentation network", name, [*known, "a .pt file", "an .onnx file"])
    try:
        if weights is None:
            model, version = models.get_model(name, weights="DEFAULT", progress=False), "torchvision's weights"
        else:
            path = Path(weights)
            tensors = {key: value for key, value in read_weights(path).items() if not key.startswith("aux_classifier")}
            classes = next((len(tensors[key]) for key in LAST_LAYERS if key in tensors), None)
            model = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)
            model.load_state_dict(tensors)
            version = f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    except (OSError, RuntimeError) as error:
        raise InputError(f"segmentation {name!r}: {str(error).splitlines()[-1].strip()}") from None
    model.eval().to(device)
    return lambda x: model(x)["out"], version
