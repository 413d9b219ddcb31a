"""A denoising U-Net in the manner of DDPM (Ho et al., 2020): time embedding, GroupNorm, SiLU, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 4
TIME_FEATURES = 4
"""Features of a time for each channel of the first level."""
HEAD = 8
"""Channels of a head of attention."""
TIMES = 1000.0
"""What a time in [0, 1] is multiplied by before it is embedded, as if there were so many steps."""


@dataclass(frozen=True)
class Level:
    """What the network does at one resolution.

    Attributes:
        width: channels, a multiple of 8.
        depth: residual blocks on the way down, and as many on the way up.
        kernel: of their convolutions: 3, 5, or 3 with depthwise ones ("dw").
        attention: whether attention follows each block.
    """

    width: int
    depth: int
    kernel: Literal["3", "5", "dw"]
    attention: bool


class UNet(nn.Module):
    """Noisy images and times to the noise in them.

    Args:
        levels: from full resolution down, each half as large.
        down: how resolution is halved: by a strided convolution or an average.
        up: how it is doubled: by a transposed convolution, or the nearest pixels and a convolution.
    """

    def __init__(self, levels: Sequence[Level], *, down: Literal["conv", "mean"], up: Literal["conv", "near"]) -> None:
        super().__init__()
        self.embedding = TimeEmbedding(levels[0].width)
        features = self.embedding.features
        self.enter = nn.Conv2d(3, levels[0].width, 3, padding=1)
        self.downward, self.shrink = nn.ModuleList(), nn.ModuleList()
        for level, below in zip(levels, [*levels[1:], None], strict=True):
            self.downward.append(Stage(level, level.width, features))
            if below is not None:
                self.shrink.append(halved(level.width, below.width, down))
        last = levels[-1]
        self.middle = Stage(Level(last.width, 1, last.kernel, last.attention), last.width, features)
        self.upward, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, above in zip(reversed(levels), [*reversed(levels[:-1]), None], strict=True):
            self.upward.append(Stage(level, 2 * level.width, features))
            if above is not None:
                self.grow.append(doubled(level.width, above.width, up))
        self.leave = nn.Sequential(
            nn.GroupNorm(GROUPS, levels[0].width), nn.SiLU(), nn.Conv2d(levels[0].width, 3, 3, padding=1)
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Noise ``[N, 3, H, W]`` in images ``[N, 3, H, W]`` at times ``[N, 1]`` from 0, no noise, to 1, only noise."""
        embedded = self.embedding(time)
        x = self.enter(x)
        kept = []
        for i, stage in enumerate(self.downward):
            x = stage(x, embedded)
            kept.append(x)
            if i < len(self.shrink):
                x = self.shrink[i](x)
        x = self.middle(x, embedded)
        for i, stage in enumerate(self.upward):
            x = stage(torch.cat([x, kept.pop()], dim=1), embedded)
            if i < len(self.grow):
                x = self.grow[i](x)
        noise: Tensor = self.leave(x)
        return noise


class TimeEmbedding(nn.Module):
    """Sines and cosines of a time, through two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.features = TIME_FEATURES * width
        self.layers = nn.Sequential(
            nn.Linear(width, self.features), nn.SiLU(), nn.Linear(self.features, self.features), nn.SiLU()
        )

    def forward(self, time: Tensor) -> Tensor:
        """Times ``[N, 1]`` to features ``[N, F]``."""
        half = self.width // 2
        rates = torch.exp(torch.arange(half, device=time.device, dtype=time.dtype) * (-math.log(1e4) / half))
        angles = TIMES * time * rates
        features: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))
        return features


class Stage(nn.Module):
    """Residual blocks, each with attention if the level has it."""

    def __init__(self, level: Level, entering: int, features: int) -> None:
        super().__init__()
        widths = [entering, *[level.width] * (level.depth - 1)]
        self.blocks = nn.ModuleList(ResidualBlock(width, level.width, level.kernel, features) for width in widths)
        self.attention = nn.ModuleList(Attention(level.width) for _ in widths if level.attention)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """Feature maps to feature maps of the level's width."""
        for i, block in enumerate(self.blocks):
            x = block(x, embedded)
            if self.attention:
                x = self.attention[i](x)
        return x


class ResidualBlock(nn.Module):
    """Two convolutions, the time between them."""

    def __init__(self, entering: int, width: int, kernel: str, features: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, entering), nn.SiLU(), convolution(entering, width, kernel))
        self.time = nn.Linear(features, width)
        self.second = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), convolution(width, width, kernel))
        self.around = nn.Conv2d(entering, width, 1) if entering != width else nn.Identity()

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """Feature maps ``[N, entering, H, W]`` to ``[N, width, H, W]``."""
        inner = self.first(x) + self.time(embedded)[:, :, None, None]
        out: Tensor = self.around(x) + self.second(inner)
        return out


class Attention(nn.Module):
    """Every pixel sees all others, added to what was there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.norm = nn.GroupNorm(GROUPS, width)
        self.queries = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps to feature maps of the same shape."""
        n, width, height, across = x.shape
        parts = self.queries(self.norm(x)).reshape(n, 3, self.heads, width // self.heads, height * across)
        query, key, value = parts.transpose(3, 4).unbind(1)
        seen = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = x + self.out(seen.transpose(2, 3).reshape(n, width, height, across))
        return out


def convolution(entering: int, width: int, kernel: str) -> nn.Module:
    """That of a level's kernel; a depthwise one is followed by one of 1x1."""
    if kernel == "dw":
        return nn.Sequential(
            nn.Conv2d(entering, entering, 3, padding=1, groups=entering), nn.Conv2d(entering, width, 1)
        )
    return nn.Conv2d(entering, width, int(kernel), padding=int(kernel) // 2)


def halved(width: int, below: int, how: str) -> nn.Module:
    """To half the resolution."""
    if how == "conv":
        return nn.Conv2d(width, below, 3, stride=2, padding=1)
    return nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(width, below, 1))


def doubled(width: int, above: int, how: str) -> nn.Module:
    """To double the resolution."""
    if how == "conv":
        return nn.ConvTranspose2d(width, above, 4, stride=2, padding=1)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(width, above, 3, padding=1))
