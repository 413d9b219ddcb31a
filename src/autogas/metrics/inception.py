"""The Inception network of FID and IS, by torch-fidelity."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from autogas.errors import InputError
from autogas.metrics.pixels import as_uint8

FILE_NAME = str(URL_INCEPTION_V3).rsplit("/", 1)[-1]
READING_ERRORS = (OSError, RuntimeError, ValueError, TypeError, AttributeError, EOFError, pickle.UnpicklingError)
PUBLISHED_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class InceptionExtractor:
    """Inception-v3 of December 2015: 2,048 pooled features for FID, 1,008 logits without bias for IS.

    Attributes:
        name: ``inception`` with the published weights; with others, ``inception-`` and the first digits of their
            SHA-256, so that a number by other weights is never called FID or IS.
        version: the first digits of the weights' SHA-256.
    """

    dim = 2048
    resizing = "299x299 bilinear as TensorFlow 1 does, without antialiasing"

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        """Read the weights from a file, or else from torch's cache, where torch-fidelity downloads them.

        Raises:
            InputError: weights that cannot be downloaded or read, or are of another network.
        """
        path = weights or _downloaded()
        try:
            torch.load(path, weights_only=True, map_location="cpu")  # torch-fidelity would run the code in a pickle
            network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(path))
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        except READING_ERRORS as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"--inception-weights {str(path)!r}: expected {FILE_NAME} ({reason})") from None
        self.device = torch.device(device)
        self.network = network.to(self.device)
        self.name = "inception" if sha256 == PUBLISHED_SHA256 else f"inception-{sha256[:8]}"
        self.version = f"weights sha256 {sha256[:8]}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``[N, 3, H, W]``, uint8 or in [0, 1], to features ``[N, 2048]`` and logits ``[N, 1008]``, float32."""
        features, logits = self.network(as_uint8(images).to(self.device))
        return features, logits


def _downloaded() -> Path:
    """The published weights in torch's cache, where torch-fidelity looks for them; fetched and checked when absent."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), PUBLISHED_SHA256)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"extractor inception: {URL_INCEPTION_V3} could not be downloaded ({error}); "
                "give the file by --inception-weights PATH, or use the extractor cifarnet"
            ) from None
    return path
