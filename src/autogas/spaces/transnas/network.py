"""The autoencoders of TransNAS-Bench-101: searched encoder, fixed 14-layer decoder (Duan et al., CVPR 2021).

Widths, stem stride and decoder width are knobs, so that the same architectures exist in small versions.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from autogas.spaces.layers import BatchNorm2d, Conv2d, ConvTranspose2d, default_bias, default_weight
from autogas.spaces.transnas.genotype import CELL_EDGES, TransNASArch

BLOCKS_PER_MODULE = 2
# (published output channels, place in the order in which layers turn into x2 transposed convolutions) of decoder
# layers 1 to 13; None never up-samples. With U up-samplings the layers of place 1 to U up-sample.
DECODER_LAYERS: tuple[tuple[int, int | None], ...] = (
    (1024, None),
    (1024, None),
    (512, 6),
    (512, None),
    (256, 5),
    (128, None),
    (64, 4),
    (64, None),
    (32, 3),
    (32, None),
    (16, 2),
    (32, None),
    (16, 1),
)


class ReLUConvBN(nn.Sequential):
    """Pre-activation convolution: ReLU, convolution without bias, batch normalisation."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int) -> None:
        super().__init__(
            nn.ReLU(),
            Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False),
            BatchNorm2d(c_out),
        )


class BasicBlock(nn.Module):
    """Residual block of two ReLU-conv3x3-BN, no activation after the sum."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(c_in, c_out, 3, stride)
        self.conv_b = ReLUConvBN(c_out, c_out, 3, 1)
        if stride == 1 and c_in == c_out:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = nn.Sequential(Conv2d(c_in, c_out, 1, stride, bias=False), BatchNorm2d(c_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, c_in, H, W]`` to ``[N, c_out, H/stride, W/stride]``."""
        out: torch.Tensor = self.shortcut(x) + self.conv_b(self.conv_a(x))
        return out


class FactorizedReduce(nn.Module):
    """Skip connection that changes shape: two 1x1 convolutions, the second one pixel off, concatenated, BN."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.convs = nn.ModuleList(Conv2d(c_in, c_out // 2, 1, stride, bias=False) for _ in range(2))
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.norm = BatchNorm2d(c_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, c_in, H, W]`` to ``[N, c_out, H/stride, W/stride]``."""
        x = self.relu(x)
        shifted = self.pad(x)[:, :, 1:, 1:]
        out: torch.Tensor = self.norm(torch.cat([self.convs[0](x), self.convs[1](shifted)], dim=1))
        return out


class Zero(nn.Module):
    """The absent edge: zeros of the right shape."""

    def __init__(self, c_out: int, stride: int) -> None:
        super().__init__()
        self.c_out = c_out
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, C, H, W]`` to zeros ``[N, c_out, ceil(H/stride), ceil(W/stride)]``."""
        height, width = (math.ceil(size / self.stride) for size in x.shape[-2:])
        return x.new_zeros(x.shape[0], self.c_out, height, width)


def edge_operation(op: int, c_in: int, c_out: int, stride: int) -> nn.Module:
    """Operation of one cell edge: 0 zero, 1 skip, 2 conv 1x1, 3 conv 3x3."""
    if op == 0:
        return Zero(c_out, stride)
    if op == 1:
        return nn.Identity() if stride == 1 and c_in == c_out else FactorizedReduce(c_in, c_out, stride)
    return ReLUConvBN(c_in, c_out, 1 if op == 2 else 3, stride)


class Cell(nn.Module):
    """Four nodes; node j sums its edges, node 3 is the output. Edges from node 0 carry the stride."""

    def __init__(self, ops: tuple[int, ...], c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(
            edge_operation(op, c_in, c_out, stride) if source == 0 else edge_operation(op, c_out, c_out, 1)
            for op, (source, _) in zip(ops, CELL_EDGES, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, c_in, H, W]`` to ``[N, c_out, H/stride, W/stride]``."""
        nodes = [x]
        for target in (1, 2, 3):
            incoming = [
                edge(nodes[source]) for edge, (source, to) in zip(self.edges, CELL_EDGES, strict=True) if to == target
            ]
            nodes.append(sum(incoming[1:], incoming[0]))
        return nodes[-1]


class Encoder(nn.Sequential):
    """Stem of total stride 1, 2 or 4, then two blocks a module; no head, no final activation."""

    def __init__(self, arch: TransNASArch, base_width: int, stem_stride: int) -> None:
        first, second = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[stem_stride]
        width = base_width
        stem = nn.Sequential(
            Conv2d(3, base_width // 2, 3, first, padding=1, bias=False),
            BatchNorm2d(base_width // 2),
            ReLUConvBN(base_width // 2, base_width, 3, second),
        )
        modules: list[nn.Module] = [stem]
        for digit in arch.modules:
            c_out = width * 2 if digit in (2, 4) else width
            stride = 2 if digit > 2 else 1
            for block in range(BLOCKS_PER_MODULE):
                shape = (width, c_out, stride) if block == 0 else (c_out, c_out, 1)
                modules.append(BasicBlock(*shape) if arch.cell is None else Cell(arch.cell, *shape))
            width = c_out
        super().__init__(*modules)
        self.width = width


class Decoder(nn.Sequential):
    """Fourteen (de)convolutions; ``upsamples`` of them double the resolution, the last ends in tanh."""

    def __init__(self, c_in: int, upsamples: int, divisor: int) -> None:
        layers: list[nn.Module] = []
        for published, place in DECODER_LAYERS:
            c_out = max(published // divisor, 4)
            if place is not None and place <= upsamples:
                layers.append(ConvTranspose2d(c_in, c_out, 3, 2, padding=1, output_padding=1))
            else:
                layers.append(Conv2d(c_in, c_out, 3, padding=1))
            layers += [BatchNorm2d(c_out), nn.LeakyReLU(0.2)]
            c_in = c_out
        super().__init__(*layers, Conv2d(c_in, 3, 3, padding=1), nn.Tanh())


class Autoencoder(nn.Sequential):
    """Encoder and decoder: ``[N, 3, S, S]`` in [-1, 1] (or noise) to a reconstruction of the same shape in (-1, 1)."""

    def __init__(self, arch: TransNASArch, *, base_width: int, decoder_divisor: int, stem_stride: int) -> None:
        encoder = Encoder(arch, base_width, stem_stride)
        upsamples = arch.num_downsamples + int(math.log2(stem_stride))
        super().__init__(encoder, Decoder(encoder.width, upsamples, decoder_divisor))


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Encoder convolutions Kaiming-normal (fan-out, ReLU), decoder layers torch's default, BN fresh."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.BatchNorm2d.reset_parameters(module)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            else:
                default_weight(module, generator)
                default_bias(module, generator)
