import pytest
import torch
from torch import nn

from autogas.spaces.spectral import SpectralConv2d
from autogas.training.patchgan import MultiScalePatchGAN, PatchGAN


def filled(discriminator, std=0.02):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in discriminator.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.normal_(0, std, generator=generator)
                if layer.bias is not None:
                    layer.bias.normal_(0, std, generator=generator)
            if isinstance(layer, SpectralConv2d):
                layer.reset_vectors(generator)
    return discriminator


def test_published_size_and_patches():
    """pix2pix's discriminator: 70x70 patches, 30x30 of them on 256x256."""
    discriminator = filled(PatchGAN(6))
    pairs = [(6, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert sum(p.numel() for p in discriminator.parameters()) == sum(16 * a * b + b for a, b in pairs)
    for module in discriminator.modules():
        for name, layer in module.named_children():
            if isinstance(layer, nn.InstanceNorm2d):  # sees the whole image
                setattr(module, name, nn.Identity())
    x = torch.rand(1, 6, 256, 256, requires_grad=True)
    logits = discriminator(x)[-1]
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    seen = x.grad[0].abs().sum(0) > 0
    assert seen.any(0).sum() == seen.any(1).sum() == 70


def test_gaugan_layers():
    outputs = filled(PatchGAN(7, width=2, padding=2, spectral=True))(torch.rand(1, 7, 256, 512))
    assert [tuple(x.shape[1:]) for x in outputs] == [
        (2, 129, 257),
        (4, 65, 129),
        (8, 33, 65),
        (16, 34, 66),
        (1, 35, 67),
    ]


def test_widths_stop_at_eight_times_the_first():
    outputs = filled(PatchGAN(3, width=1, strided=5))(torch.rand(1, 3, 128, 128))
    assert [x.shape[1] for x in outputs] == [1, 2, 4, 8, 8, 8, 1]


def test_middle_layers_are_normalised():
    torch.manual_seed(0)
    first, *middle, last = filled(PatchGAN(3, width=4, spectral=True), std=2.0).layers
    assert type(first[0]) is not SpectralConv2d
    assert not isinstance(last, SpectralConv2d)
    for layer in middle:
        assert layer[0].bias is None
        largest = torch.linalg.svdvals(layer[0].normalised().flatten(1)).max().item()
        assert largest == pytest.approx(1, abs=0.1)
    x = torch.rand(1, 3, 32, 32)
    features = middle[0](first(x))
    torch.testing.assert_close(
        features.mean((2, 3)) > 0, torch.ones(1, 8, dtype=torch.bool)
    )  # of a LeakyReLU of N(0, 1)


def test_scales_see_the_image_and_its_half():
    discriminator = filled(MultiScalePatchGAN(3, scales=2, width=2))
    x = torch.rand(2, 3, 64, 64)
    full, half = discriminator(x)
    assert (full[-1].shape, half[-1].shape) == ((2, 1, 6, 6), (2, 1, 2, 2))
    torch.testing.assert_close(full[-1], discriminator.scales[0](x)[-1])
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    ones = nn.functional.pad(torch.ones_like(x), (1, 1, 1, 1))
    mean = padded.unfold(2, 3, 2).unfold(3, 3, 2).sum((4, 5)) / ones.unfold(2, 3, 2).unfold(3, 3, 2).sum((4, 5))
    torch.testing.assert_close(half[-1], discriminator.scales[1](mean)[-1])
