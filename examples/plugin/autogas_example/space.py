"""A search space in thirty lines: small networks that take the noise out of an image."""

from __future__ import annotations

from torch import Tensor, nn

from autogas import ChoiceSpace


class Denoiser(nn.Module):
    """Convolutions that say what to take away from an image."""

    def __init__(self, width: int, depth: int, *, skip: bool) -> None:
        super().__init__()
        middle = [nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()) for _ in range(depth)]
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), *middle, nn.Conv2d(width, 3, 1))
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """Images to images ``[N, 3, H, W]``."""
        noise: Tensor = self.layers(x)
        return x - noise if self.skip else noise


denoisers = ChoiceSpace(
    "denoisers",
    {"width": [8, 16, 32], "depth": range(1, 5), "skip": [True, False]},
    lambda width, depth, skip: Denoiser(width, depth, skip=skip),
    inputs=[(3, 16, 16)],
    constraint=lambda width, depth, skip: width * depth <= 64,  # noqa: ARG005 - every choice is passed
    traits=lambda width, depth, skip: {"num_skips": float(skip)},  # noqa: ARG005
)
