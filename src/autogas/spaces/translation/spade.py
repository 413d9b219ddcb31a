"""The SPADE generator of GauGAN (Park et al., CVPR 2019) with the widths of GAN Compression (Li et al., CVPR 2020).

The first convolution sees the shrunk label map; every later normalisation is modulated by the label map at its own
resolution.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from autogas.spaces.layers import BatchNorm2d, Conv2d
from autogas.spaces.translation import layers
from autogas.spaces.translation.genotype import TranslationArch
from autogas.spaces.translation.label_map import encode_labels

NEGATIVE_SLOPE = 0.2
BLOCKS: Mapping[str, int] = {
    "head_0": 16,
    "G_middle_0": 16,
    "G_middle_1": 16,
    "up_0": 8,
    "up_1": 4,
    "up_2": 2,
    "up_3": 1,
}
"""Blocks in order, and what multiple of its own base width each has inside."""


def upsampled_before(name: str, upsamplings: int) -> bool:
    """Whether the resolution doubles in front of a block: never the first, ``G_middle_1`` only with 6 up-samplings."""
    return name != "head_0" and (name != "G_middle_1" or upsamplings == 6)


def learns_shortcut(name: str) -> bool:
    """Whether a block changes the number of channels and so has a shortcut of its own."""
    return name.startswith("up")


class SPADE(nn.Module):
    """Batch normalisation without parameters, times 1 + gamma, plus beta: both maps computed from the label map.

    Args:
        width: channels that are normalised.
        labels: channels of the label map.
        hidden: channels between the label map and gamma and beta.
        block: "mobile" makes the convolutions to gamma and beta separable.
    """

    def __init__(self, width: int, labels: int, hidden: int, block: str) -> None:
        super().__init__()
        self.norm = BatchNorm2d(width, affine=False)
        self.shared = nn.Sequential(Conv2d(labels, hidden, 3, padding=1), nn.ReLU())
        self.gamma = layers.conv3x3(hidden, width, padding=1, block=block)
        self.beta = layers.conv3x3(hidden, width, padding=1, block=block)

    def forward(self, x: torch.Tensor, label_map: torch.Tensor) -> torch.Tensor:
        """``[N, width, H, W]`` and ``[N, labels, H, W]`` to ``[N, width, H, W]``."""
        shared = self.shared(label_map)
        out: torch.Tensor = self.norm(x) * (1 + self.gamma(shared)) + self.beta(shared)
        return out


class SPADEBlock(nn.Module):
    """Residual block: twice SPADE, LeakyReLU, conv3x3; the ``shortcut`` is the input or SPADE and conv1x1."""

    def __init__(
        self, c_in: int, inner: int, c_out: int, *, labels: int, hidden: int, shortcut: bool, block: str
    ) -> None:
        super().__init__()
        self.norm_0 = SPADE(c_in, labels, hidden, block)
        self.conv_0 = Conv2d(c_in, inner, 3, padding=1)
        self.norm_1 = SPADE(inner, labels, hidden, block)
        self.conv_1 = Conv2d(inner, c_out, 3, padding=1)
        self.norm_s = SPADE(c_in, labels, hidden, block) if shortcut else None
        self.conv_s = Conv2d(c_in, c_out, 1, bias=False) if shortcut else None

    def forward(self, x: torch.Tensor, label_map: torch.Tensor) -> torch.Tensor:
        """``[N, c_in, H, W]`` and ``[N, labels, H, W]`` to ``[N, c_out, H, W]``."""
        out = self.conv_0(F.leaky_relu(self.norm_0(x, label_map), NEGATIVE_SLOPE))
        out = self.conv_1(F.leaky_relu(self.norm_1(out, label_map), NEGATIVE_SLOPE))
        if self.norm_s is not None and self.conv_s is not None:
            x = self.conv_s(self.norm_s(x, label_map))
        total: torch.Tensor = x + out
        return total


class SPADEGenerator(nn.Module):
    """Label maps ``[N, labels, H, W]`` to images ``[N, 3, H, W]`` in (-1, 1); H and W multiples of 2^upsamplings.

    Args:
        arch: 16 c0 is the width of the trunk; c1 to c7, times ``BLOCKS``, are the inner widths of the blocks, and
            of the last four also their output. SPADE in block i has 2 ci hidden channels.
        labels: channels of the label map, instance edges included.
        upsamplings: 5, or 6 with one more before ``G_middle_1``.
        block: "mobile" or "dense"; see ``SPADE``.
    """

    def __init__(self, arch: TranslationArch, *, labels: int, upsamplings: int, block: str) -> None:
        super().__init__()
        self.upsamplings = upsamplings
        c_in = trunk = 16 * arch.widths[0]
        self.fc = Conv2d(labels, trunk, 3, padding=1)
        self.blocks = nn.ModuleDict()
        for (name, multiple), c in zip(BLOCKS.items(), arch.widths[1:], strict=True):
            shortcut = learns_shortcut(name)
            c_out = multiple * c if shortcut else trunk
            self.blocks[name] = SPADEBlock(
                c_in, multiple * c, c_out, labels=labels, hidden=2 * c, shortcut=shortcut, block=block
            )
            c_in = c_out
        self.conv_img = Conv2d(c_in, 3, 3, padding=1)

    def forward(self, label_map: torch.Tensor) -> torch.Tensor:
        """``[N, labels, H, W]`` to ``[N, 3, H, W]``."""
        height, width = (size // 2**self.upsamplings for size in label_map.shape[-2:])
        x: torch.Tensor = self.fc(F.interpolate(label_map, size=(height, width)))
        for name, block in self.blocks.items():
            if upsampled_before(name, self.upsamplings):
                x = F.interpolate(x, scale_factor=2)
            x = block(x, F.interpolate(label_map, size=x.shape[-2:]))
        return torch.tanh(self.conv_img(F.leaky_relu(x, NEGATIVE_SLOPE)))


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Weights Xavier-normal with gain 0.02, biases zero: what GAN Compression and GauGAN use."""
    layers.initialise(model, lambda weight: nn.init.xavier_normal_(weight, gain=0.02, generator=generator))


def random_label_maps(
    count: int, *, num_labels: int, height: int, width: int, generator: torch.Generator
) -> torch.Tensor:
    """Label maps ``[count, num_labels + 1, height, width]`` of square regions, eight to the height.

    Labels are uniform in each region, edges those of ``encode_labels``. Height and width are multiples of
    height / 8.
    """
    side = height // 8
    regions = torch.randint(num_labels, (count, height // side, width // side), generator=generator)
    labels = regions.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)
    return encode_labels(labels, num_labels=num_labels)
