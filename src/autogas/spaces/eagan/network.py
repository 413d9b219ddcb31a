"""The stand-alone generators and discriminators of EAGAN (Ying et al., ECCV 2022): three searched cells each.

All channels have one width, which is a knob, so that the same architectures exist in small versions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.spaces.eagan.genotype import DOWN_OPS, KEEP, NORMAL_OPS, UP_OPS, EAGANArch, Genes
from autogas.spaces.layers import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Linear,
    UpsampleTwice,
    default_bias,
    default_weight,
    resized,
)
from autogas.spaces.spectral import SpectralConv2d, SpectralLinear

LATENT_PARTS = 3
LATENT_PART_SIZE = 40
# Kernel and dilation of each convolution.
CONVOLUTIONS = {
    "conv 1x1": (1, 1),
    "conv 3x3": (3, 1),
    "conv 5x5": (5, 1),
    "dilated 3x3": (3, 2),
    "dilated 5x5": (5, 2),
}
# (from node, to node) of each edge gene, in genotype order.
GENERATOR_EDGES = ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
DISCRIMINATOR_EDGES = ((0, 1), (0, 2), (1, 2), (1, 3), (0, 3))
# How each generator cell resizes what it gets from earlier ones; the first gets nothing.
SKIP_MODES = ("nearest", "bilinear", "nearest")


def convolution(layer: type[nn.Conv2d], name: str, width: int, stride: int = 1) -> nn.Conv2d:
    """A convolution with bias and same padding, of a name in ``CONVOLUTIONS``."""
    kernel, dilation = CONVOLUTIONS[name]
    return layer(width, width, kernel, stride, padding=dilation * (kernel // 2), dilation=dilation)


def up_sampling(op: int, width: int) -> nn.Module:
    """``[N, width, H, W]`` to ``[N, width, 2H, 2W]``: resize-ReLU-conv1x1 or ReLU-depthwise-conv1x1."""
    mode = UP_OPS[op]
    if mode == "transposed":
        depthwise = ConvTranspose2d(width, width, 3, 2, padding=1, output_padding=1, groups=width, bias=False)
        return nn.Sequential(nn.ReLU(), depthwise, Conv2d(width, width, 1, bias=False))
    return nn.Sequential(UpsampleTwice(mode), nn.ReLU(), Conv2d(width, width, 1))


def down_sampling(op: int, width: int) -> nn.Module:
    """``[N, width, H, W]`` to ``[N, width, H/2, W/2]``: 2x2 pooling or ReLU and a convolution of stride 2."""
    name = DOWN_OPS[op]
    if name == "avg pool":
        return nn.AvgPool2d(2)
    if name == "max pool":
        return nn.MaxPool2d(2)
    return nn.Sequential(nn.ReLU(), convolution(SpectralConv2d, name, width, stride=2))


def normal(op: int, layer: type[nn.Conv2d], width: int, *, relu: bool) -> nn.Module:
    """Operation of one edge that is there: identity, or a convolution, usually with a ReLU before it."""
    name = NORMAL_OPS[op]
    if name == "skip":
        return nn.Identity()
    conv = convolution(layer, name, width)
    return nn.Sequential(nn.ReLU(), conv) if relu else conv


class Edges(nn.ModuleList):
    """The edges of a cell that are there; a node is the sum of those that lead to it.

    Args:
        edges: (from node, to node) of each gene.
        ops: the genes.
        layer: class of the convolutions.
        width: channels.
        bare: an edge whose convolution has no ReLU before it.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        ops: Genes,
        layer: type[nn.Conv2d],
        width: int,
        bare: tuple[int, int] | None = None,
    ) -> None:
        there = [(edge, op) for edge, op in zip(edges, ops, strict=True) if op]
        super().__init__(normal(op, layer, width, relu=edge != bare) for edge, op in there)
        self.ends = [edge for edge, _ in there]

    def into(self, target: int, nodes: Sequence[Tensor]) -> Tensor:
        """Node ``target`` from those before it."""
        terms = [edge(nodes[source]) for edge, (source, to) in zip(self, self.ends, strict=True) if to == target]
        node: Tensor = sum(terms[1:], terms[0])
        return node


class GeneratorCell(nn.Module):
    """Two up-samplings of the input (nodes 0, 1), their sum through edges (node 2), and the output from all three.

    Node 2 also takes node 2 of every earlier cell (``num_skips`` of them) through a resize by ``mode`` and a conv 1x1.
    """

    def __init__(self, genes: Genes, width: int, num_skips: int, mode: str) -> None:
        super().__init__()
        self.ups = nn.ModuleList(up_sampling(op, width) for op in genes[:2])
        self.edges = Edges(GENERATOR_EDGES, genes[2:], Conv2d, width)
        self.skips = nn.ModuleList(Conv2d(width, width, 1) for _ in range(num_skips))
        self.mode = mode

    def forward(self, x: Tensor, earlier: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """``[N, width, H, W]`` and node 2 of earlier cells to node 2 and the output, both ``[N, width, 2H, 2W]``."""
        nodes = [up(x) for up in self.ups]
        inner = self.edges.into(2, nodes)
        for skip, node in zip(self.skips, earlier, strict=True):
            inner = inner + skip(resized(node, (inner.shape[2], inner.shape[3]), self.mode))
        return inner, self.edges.into(3, [*nodes, inner])


class Generator(nn.Module):
    """Latents ``[N, 120]`` to images ``[N, 3, 8b, 8b]`` in (-1, 1), ``b`` being the bottom width.

    The latent's three parts of 40 enter through a linear layer before each cell.
    """

    def __init__(self, arch: EAGANArch, *, width: int, bottom_width: int) -> None:
        super().__init__()
        self.width = width
        self.sizes = [bottom_width << cell for cell in range(LATENT_PARTS)]
        self.linears = nn.ModuleList(Linear(LATENT_PART_SIZE, size**2 * width) for size in self.sizes)
        self.cells = nn.ModuleList(
            GeneratorCell(genes, width, num_skips, mode)
            for num_skips, (genes, mode) in enumerate(zip(arch.cells, SKIP_MODES, strict=True))
        )
        self.to_rgb = nn.Sequential(BatchNorm2d(width), nn.ReLU(), Conv2d(width, 3, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """``[N, 120]`` to ``[N, 3, 8b, 8b]``."""
        earlier: list[Tensor] = []
        x: Tensor | None = None
        parts = z.split(LATENT_PART_SIZE, dim=1)
        for linear, cell, part, size in zip(self.linears, self.cells, parts, self.sizes, strict=True):
            latent = linear(part).view(-1, self.width, size, size)
            if latent.is_cuda:  # else resizing the first one bilinearly takes a GPU a hundred times as long
                latent = latent.contiguous(memory_format=torch.channels_last)
            inner, x = cell(latent if x is None else x + latent, earlier)
            earlier.append(inner)
        image: Tensor = self.to_rgb(x)
        return image


class InputBlock(nn.Module):
    """The fixed first block: conv-ReLU-conv-pool beside pool-conv1x1, as in SN-GAN (Miyato et al., ICLR 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            SpectralConv2d(3, width, 3, padding=1),
            nn.ReLU(),
            SpectralConv2d(width, width, 3, padding=1),
            nn.AvgPool2d(2),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), SpectralConv2d(3, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, 3, H, W]`` to ``[N, width, H/2, W/2]``."""
        out: Tensor = self.residual(x) + self.shortcut(x)
        return out


class DiscriminatorCell(nn.Module):
    """Node 1 from the input (node 0), nodes 2 and 3 from nodes 0 and 1; 2 and 3, both halved or not, sum to the output.

    The convolution from the input to node 3 has no ReLU before it.
    """

    def __init__(self, genes: Genes, width: int) -> None:
        super().__init__()
        self.edges = Edges(DISCRIMINATOR_EDGES, genes[:5], SpectralConv2d, width, bare=(0, 3))
        self.downs = nn.ModuleList(nn.Identity() if op == KEEP else down_sampling(op, width) for op in genes[5:])

    def forward(self, x: Tensor) -> Tensor:
        """``[N, width, H, W]`` to ``[N, width, H/2, W/2]``, or of the same shape when the cell keeps it."""
        nodes = [x]
        for target in (1, 2, 3):
            nodes.append(self.edges.into(target, nodes))
        out: Tensor = self.downs[0](nodes[2]) + self.downs[1](nodes[3])
        return out


class Discriminator(nn.Module):
    """Images ``[N, 3, S, S]`` in [-1, 1] to one logit each, or more numbers; every layer is spectrally normalised."""

    def __init__(self, arch: EAGANArch, *, width: int, outputs: int = 1) -> None:
        super().__init__()
        self.cells = nn.Sequential(InputBlock(width), *(DiscriminatorCell(genes, width) for genes in arch.cells))
        self.head = SpectralLinear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, 3, S, S]`` to ``[N, outputs]``."""
        logit: Tensor = self.head(F.relu(self.cells(x)).sum((2, 3)))
        return logit


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Convolutions Xavier-uniform, BN weight N(1, 0.02) and bias 0, anything else torch's default, as EAGAN's training.

    Spectral-norm vectors come last, since they are those of the weight.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.BatchNorm2d.reset_parameters(module)
            nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
            else:
                default_weight(module, generator)
            default_bias(module, generator)
        if isinstance(module, SpectralConv2d | SpectralLinear):
            module.reset_vectors(generator)
