"""The small CIFAR-10 classifier that ships with the package, as a feature extractor that needs no download.

Its distances and scores are named ``fid-cifarnet`` and ``is-cifarnet``: they rank generators of small images, and are
not comparable with those of the Inception network. ``cifarnet-robust`` is the same network, trained on images with
noise and blur too, so that these alone hardly move its features.
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.metrics.pixels import as_uint8

WEIGHTS = Path(__file__).parent / "data" / "cifarnet.safetensors"
ROBUST_WEIGHTS = WEIGHTS.with_name("cifarnet-robust.safetensors")
"""Of the same network, trained on images with noise and blur too."""
SIZE = 32
CLASSES = 10
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10
WIDTHS = (32, 96, 192)
WHITENED = 24  # the 12 eigenvectors of 2x2 RGB patches, and their negatives
LOGIT_SCALE = 1 / 8  # keeps the first gradients of a wide classifier small


class CifarNet(nn.Module):
    """Convolutional classifier in the shape of Jordan's airbench (arXiv:2404.00498), narrow: 0.6 M parameters.

    A frozen 2x2 whitening layer, then three blocks of two convolutions that each halve the image, and global pooling.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, WHITENED, 2, bias=False).requires_grad_(False)
        self.blocks = nn.Sequential(*(_block(a, b) for a, b in itertools.pairwise((WHITENED, *WIDTHS))))
        self.classifier = nn.Linear(WIDTHS[-1], CLASSES, bias=False)
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD).view(3, 1, 1), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """``uint8 [N, 3, 32, 32]`` to floats of mean 0 and variance 1, channels last."""
        normalised: Tensor = (images - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """``uint8 [N, 3, 32, 32]`` to penultimate features ``[N, WIDTHS[-1]]``."""
        maps = self.blocks(F.gelu(self.whiten(self.normalise(images))))
        pooled: Tensor = maps.amax(dim=(2, 3))
        return pooled

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``uint8 [N, 3, 32, 32]`` to features ``[N, WIDTHS[-1]]`` and logits ``[N, 10]``."""
        features = self.features(images)
        return features, LOGIT_SCALE * self.classifier(features)


def _block(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(c_out),
        nn.GELU(),
        nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.GELU(),
    )


def read_cifarnet(path: Path = WEIGHTS) -> tuple[CifarNet, str]:
    """The trained network in evaluation mode and float32, and the SHA-256 of its file.

    Raises:
        InputError: the file cannot be read or holds other weights.
    """
    model = CifarNet()
    try:
        content = path.read_bytes()
        model.load_state_dict(load_safetensors(content))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"weights {str(path)!r}: expected those of cifarnet ({str(error).splitlines()[0]})") from None
    return model.eval().requires_grad_(False), hashlib.sha256(content).hexdigest()


class CifarNetExtractor:
    """Features of dimension 192 and 10 logits; images of another size are resized to 32x32.

    Attributes:
        name: ``cifarnet``, or ``cifarnet-robust`` with those weights.
        version: the first digits of the weights' SHA-256.
    """

    dim = WIDTHS[-1]
    resizing = "32x32 bilinear with antialiasing"

    def __init__(self, device: str = "cpu", weights: Path = WEIGHTS) -> None:
        self.name = weights.stem
        model, sha256 = read_cifarnet(weights)
        self.model = model.to(device)
        self.version = f"weights sha256 {sha256[:8]}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``[N, 3, H, W]``, uint8 or in [0, 1], to features ``[N, 192]`` and logits ``[N, 10]``, float32."""
        pixels = as_uint8(images).to(self.model.mean.device)
        if pixels.shape[2:] != (SIZE, SIZE):
            resized = F.interpolate(pixels.float(), (SIZE, SIZE), mode="bilinear", antialias=True)
            pixels = resized.round_().clamp_(0, 255).to(torch.uint8)
        features, logits = self.model(pixels)
        return features, logits
