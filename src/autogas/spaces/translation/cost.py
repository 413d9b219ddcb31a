"""Cost of the generators in closed form, by the rule of GAN Compression, on which its published budgets hang.

MACs are what its tool (torchprofile) counts: a convolution has output pixels x output channels x weights of one output
channel, *also a transposed one*, whose true work is a quarter of that at stride 2; every output element of an instance
normalisation is one more; bias, batch normalisation and activations are none. So ``32_32_48_32_48_48_16_16`` has the
4,993,843,200 of its tutorial; ``autogas.spaces.cost.count_cost`` says less of the same network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from autogas.spaces.cost import Cost
from autogas.spaces.translation.genotype import TranslationArch
from autogas.spaces.translation.resnet import BLOCKS_PER_WIDTH
from autogas.spaces.translation.spade import BLOCKS, learns_shortcut, upsampled_before


def resnet_cost(arch: TranslationArch, *, block: str, pixels: int) -> Cost:
    """Parameters and MACs of a ``ResNetGenerator`` for one image."""
    return _sum(_resnet_layers(arch, block, pixels))


def spade_cost(arch: TranslationArch, *, labels: int, upsamplings: int, block: str, pixels: int) -> Cost:
    """Parameters and MACs of a ``SPADEGenerator`` for one label map."""
    return _sum(_spade_layers(arch, labels, upsamplings, block, pixels))


def _sum(layers: Iterable[Cost]) -> Cost:
    params = macs = 0
    for layer in layers:
        params += layer.params
        macs += layer.macs
    return Cost(params, macs)


def _convolution(c_in: int, c_out: int, kernel: int, pixels: int, *, bias: bool = True) -> Cost:
    weights = kernel**2 * c_in * c_out
    return Cost(weights + bias * c_out, weights * pixels)


def _norm(channels: int, pixels: int) -> Cost:
    return Cost(0, channels * pixels)


def _conv3x3(c_in: int, c_out: int, pixels: int, block: str) -> Iterator[Cost]:
    if block == "mobile":
        yield Cost(10 * c_in, 9 * c_in * pixels)  # depthwise
        yield _norm(c_in, pixels)
        yield _convolution(c_in, c_out, 1, pixels)
    else:
        yield _convolution(c_in, c_out, 3, pixels)


def _resnet_layers(arch: TranslationArch, block: str, pixels: int) -> Iterator[Cost]:
    c = arch.widths
    half, quarter = pixels // 4, pixels // 16  # pixels at a half and a quarter of the resolution
    trunk = 4 * c[2]
    for c_in, c_out, kernel, size in (
        (3, c[0], 7, pixels),
        (c[0], 2 * c[1], 3, half),
        (2 * c[1], trunk, 3, quarter),
        (trunk, 2 * c[6], 3, half),
        (2 * c[6], c[7], 3, pixels),
    ):
        yield _convolution(c_in, c_out, kernel, size)
        yield _norm(c_out, size)
    for width in c[3:6]:
        for c_in, c_out in ((trunk, 4 * width), (4 * width, trunk)) * BLOCKS_PER_WIDTH:
            yield from _conv3x3(c_in, c_out, quarter, block)
            yield _norm(c_out, quarter)
    yield _convolution(c[7], 3, 7, pixels)


def _spade_layers(arch: TranslationArch, labels: int, upsamplings: int, block: str, pixels: int) -> Iterator[Cost]:
    c = arch.widths
    trunk = 16 * c[0]
    size = pixels // 4**upsamplings
    yield _convolution(labels, trunk, 3, size)
    c_in = trunk
    for (name, multiple), width in zip(BLOCKS.items(), c[1:], strict=True):
        if upsampled_before(name, upsamplings):
            size *= 4
        shortcut = learns_shortcut(name)
        inner = multiple * width
        c_out = inner if shortcut else trunk
        for normalised in (c_in, inner, c_in)[: 3 if shortcut else 2]:
            yield _convolution(labels, 2 * width, 3, size)
            for _ in ("gamma", "beta"):
                yield from _conv3x3(2 * width, normalised, size, block)
        yield _convolution(c_in, inner, 3, size)
        yield _convolution(inner, c_out, 3, size)
        if shortcut:
            yield _convolution(c_in, c_out, 1, size, bias=False)
        c_in = c_out
    yield _convolution(c_in, 3, 3, size)
