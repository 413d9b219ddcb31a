"""The perceptual distance of GauGAN: features of VGG19 (Johnson et al., ECCV 2016; Wang et al., CVPR 2018)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.metrics.weights import read_weights

ENDS = (2, 7, 12, 21, 30)
"""So many layers of torchvision's VGG19 end with relu1_1, relu2_1, … relu5_1."""
WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


class PerceptualDistance(nn.Module):
    """``sum_i w_i mean |phi_i(x) - phi_i(y)|`` over five layers of VGG19, of images in [-1, 1] as they are.

    Args:
        path: torchvision's ``vgg19`` weights, ``.pth`` or ``.safetensors``.

    Raises:
        InputError: weights that cannot be read or of another network.
    """

    def __init__(self, path: str | Path) -> None:
        from torchvision.models import vgg19

        super().__init__()
        with torch.device("meta"):
            features = vgg19().features[: ENDS[-1]]
        weights = {name.removeprefix("features."): value for name, value in read_weights(Path(path)).items()}
        wanted = features.state_dict()
        if any(name not in weights or weights[name].shape != value.shape for name, value in wanted.items()):
            raise InputError(f"weights {str(path)!r}: expected those of torchvision's vgg19")
        features.load_state_dict({name: weights[name].float() for name in wanted}, assign=True)
        self.slices = nn.ModuleList(features[a:b] for a, b in zip((0, *ENDS), ENDS, strict=False))
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """``[N, 3, H, W]`` both, to a scalar; no gradient flows to the targets."""
        terms = []
        x, y = images, targets.detach()
        for weight, part in zip(WEIGHTS, self.slices, strict=True):
            x, y = part(x), part(y)
            terms.append(weight * F.l1_loss(x.float(), y.float()))
        return torch.stack(terms).sum()
