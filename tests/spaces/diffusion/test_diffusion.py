import math

import numpy as np
import pytest
import torch
from torch import nn

import autogas
from autogas.errors import InputError
from autogas.spaces.choice import ChoiceSpace
from autogas.spaces.diffusion.network import Attention, Level, ResidualBlock, UNet
from autogas.spaces.diffusion.schedule import ddim, noisy, signal


def test_its_length_is_that_of_its_choices():
    space = autogas.get_space("diffusion-unet")
    rising = math.comb(6 + 3 - 1, 3)  # three of six widths with repetition
    assert len(space) == rising * 3**3 * 3**3 * 2**2 * 2 * 2


def test_widths_never_fall():
    space, rng = autogas.get_space("diffusion-unet"), np.random.default_rng(0)
    for _ in range(50):
        arch = space.sample(rng)
        assert arch["width1"] <= arch["width2"] <= arch["width3"]
    text = str(arch).replace(f"width1={arch['width1']}", "width1=64").replace(f"width3={arch['width3']}", "width3=8")
    with pytest.raises(InputError, match="excludes it"):
        space.parse(text)


def test_a_denoiser_keeps_the_shape_and_hears_the_time():
    space = autogas.get_space("diffusion-unet", image_size=16)
    network = space.build(space.sample(np.random.default_rng(1)))
    x, time = space.inputs(batch_size=4)
    with torch.no_grad():
        noise = network(x, time)
        assert noise.shape == x.shape
        assert not torch.allclose(noise, network(x, 1 - time))


def test_parameters_are_those_of_its_layers():
    levels = [Level(8, 1, "3", False), Level(16, 2, "dw", True)]
    network = UNet(levels, down="mean", up="near")

    def conv(entering, width, kernel, groups=1):
        return width * entering // groups * kernel**2 + width

    def block(entering, width, kernel, time=32):
        def inner(a, b):
            return conv(a, b, 3) if kernel == "3" else conv(a, a, 3, groups=a) + conv(a, b, 1)

        around = conv(entering, width, 1) if entering != width else 0
        return 2 * entering + inner(entering, width) + (time + 1) * width + 2 * width + inner(width, width) + around

    def attention(width):
        return 2 * width + conv(width, 3 * width, 1) + conv(width, width, 1)

    embedding = (8 + 1) * 32 + (32 + 1) * 32
    down = block(8, 8, "3") + conv(8, 16, 1) + 2 * block(16, 16, "dw") + 2 * attention(16)
    middle = block(16, 16, "dw") + attention(16)
    up = block(32, 16, "dw") + block(16, 16, "dw") + 2 * attention(16) + conv(16, 8, 3) + block(16, 8, "3")
    expected = embedding + conv(3, 8, 3) + down + middle + up + 2 * 8 + conv(8, 3, 3)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_attention_is_that_of_its_formula():
    torch.manual_seed(0)
    layer, x = Attention(16), torch.randn(2, 16, 3, 4)
    qkv = layer.queries(layer.norm(x)).reshape(2, 3, 2, 8, 12)
    expected = torch.empty(2, 16, 12)
    for n in range(2):
        for head in range(2):
            q, k, v = qkv[n, :, head]
            weights = (q.T @ k / 8**0.5).softmax(1)
            expected[n, 8 * head : 8 * head + 8] = v @ weights.T
    expected = x + layer.out(expected.reshape(2, 16, 3, 4))
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_a_block_adds_to_what_enters():
    block = ResidualBlock(8, 8, "3", features=4)
    nn.init.zeros_(block.second[-1].weight)
    nn.init.zeros_(block.second[-1].bias)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x, torch.randn(2, 4)), x)


# Noise


def test_the_variance_of_a_noisy_image_stays():
    generator = torch.Generator().manual_seed(0)
    images, noise = (torch.randn((64, 3, 16, 16), generator=generator) for _ in range(2))
    for time in (0.0, 0.3, 0.7, 1.0):
        mixed = noisy(images, noise, torch.full((64, 1), time))
        assert float(mixed.var()) == pytest.approx(1, abs=0.02)
    times = torch.linspace(0, 1, 50)
    assert bool((signal(times).diff() <= 0).all())


class Oracle(nn.Module):
    """Knows the image: the noise is what is left."""

    def __init__(self, image):
        super().__init__()
        self.image = nn.Parameter(image)

    def forward(self, x, time):
        share = signal(time)[:, :, None, None]
        return (x - share.sqrt() * self.image) / (1 - share).sqrt()


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_who_knows_the_noise_finds_the_image(steps):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((2, 3, 8, 8), generator=generator) * 2 - 1
    found = ddim(Oracle(image), torch.randn((2, 3, 8, 8), generator=generator), steps=steps)
    torch.testing.assert_close(found, image, atol=2e-3, rtol=0)


class Gaussian(nn.Module):
    """The best denoiser of images whose pixels are normal with standard deviation 0.1."""

    def forward(self, x, time):
        share = signal(time)[:, :, None, None]
        return x * (1 - share).sqrt() / (0.01 * share + 1 - share)


def test_samples_of_the_best_denoiser_have_the_right_spread():
    noise = torch.randn((256, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    assert float(ddim(Gaussian(), noise, steps=100).std()) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("size", [16, 32])
def test_the_formula_of_costs_counts_what_the_network_runs(size):
    space = autogas.get_space("diffusion-unet", image_size=size)
    rng = np.random.default_rng(0)
    for arch in [space.sample(rng) for _ in range(12)]:
        assert space.cost(arch) == ChoiceSpace.cost(space, arch)
