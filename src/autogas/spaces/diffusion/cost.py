"""Parameters and MACs of a denoising U-Net from its levels alone: a thousand times faster than running it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from autogas.spaces.cost import Cost
from autogas.spaces.diffusion.network import TIME_FEATURES, Level


class _Count:
    """Sums of what layers cost; biases and normalisations have parameters, and take no MACs."""

    def __init__(self) -> None:
        self.params = 0
        self.macs = 0

    def linear(self, entering: int, leaving: int, places: int = 1) -> None:
        """A linear layer, or a 1x1 convolution at so many places."""
        self.convolution(entering, leaving, 1, places)

    def convolution(self, entering: int, leaving: int, kernel: int, places: int, *, depthwise: bool = False) -> None:
        """A convolution with so many output pixels; of a transposed one they are those of its input."""
        weights = leaving * (1 if depthwise else entering) * kernel**2
        self.params += weights + leaving
        self.macs += weights * places

    def norm(self, width: int) -> None:
        """A normalisation."""
        self.params += 2 * width

    def of_level(self, entering: int, width: int, kernel: str, pixels: int) -> None:
        """``autogas.spaces.diffusion.network.convolution``."""
        if kernel == "dw":
            self.convolution(entering, entering, 3, pixels, depthwise=True)
            self.linear(entering, width, pixels)
        else:
            self.convolution(entering, width, int(kernel), pixels)

    def stage(self, level: Level, entering: int, features: int, pixels: int) -> None:
        """``autogas.spaces.diffusion.network.Stage``."""
        width = level.width
        for before in [entering, *[width] * (level.depth - 1)]:
            self.norm(before)
            self.of_level(before, width, level.kernel, pixels)
            self.linear(features, width)
            self.norm(width)
            self.of_level(width, width, level.kernel, pixels)
            if before != width:
                self.linear(before, width, pixels)
            if level.attention:
                self.norm(width)
                self.linear(width, 3 * width, pixels)
                self.macs += 2 * pixels**2 * width  # queries by keys, and what they see of values
                self.linear(width, width, pixels)


def unet_cost(levels: Sequence[Level], *, down: str, up: str, size: int) -> Cost:
    """Cost of ``autogas.spaces.diffusion.network.UNet`` on one image of so many pixels in height and width."""
    count = _Count()
    pixels = [(size // 2**i) ** 2 for i in range(len(levels))]
    first, last = levels[0].width, levels[-1]
    features = TIME_FEATURES * first
    count.linear(first, features)
    count.linear(features, features)
    count.convolution(3, first, 3, pixels[0])
    for i, level in enumerate(levels):
        count.stage(level, level.width, features, pixels[i])
        count.stage(level, 2 * level.width, features, pixels[i])
    count.stage(Level(last.width, 1, last.kernel, last.attention), last.width, features, pixels[-1])
    for i, (above, below) in enumerate(itertools.pairwise(levels)):
        count.convolution(above.width, below.width, 3 if down == "conv" else 1, pixels[i + 1])
        if up == "conv":
            count.convolution(below.width, above.width, 4, pixels[i + 1])
        else:
            count.convolution(below.width, above.width, 3, pixels[i])
    count.norm(first)
    count.convolution(first, 3, 3, pixels[0])
    return Cost(params=count.params, macs=count.macs)
