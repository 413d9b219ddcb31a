"""Costs of networks that others wrote, against torch's own counter of operations; skipped where they are missing."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import DeformConv2d

import autogas


def counted(network, inputs):
    """Multiply-accumulate operations of one sample by torch, which counts attention only as products of matrices."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(**inputs)
    return counter.get_total_flops() / 2 / 2  # two operations each; two samples


def unet():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = diffusers.UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    inputs = {"sample": torch.randn(2, 4, 16, 16), "timestep": torch.tensor([10, 20])}
    return network, {**inputs, "encoder_hidden_states": torch.randn(2, 5, 32)}


def vae():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = diffusers.AutoencoderKL(
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
    )
    return network, {"sample": torch.randn(2, 3, 32, 32)}


def dit():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=8, in_channels=4, num_layers=2, sample_size=32, patch_size=2
    )
    inputs = {"hidden_states": torch.randn(2, 4, 32, 32), "timestep": torch.tensor([10, 20])}
    return network, {**inputs, "class_labels": torch.tensor([1, 2])}


@pytest.mark.parametrize("make", [unet, vae, dit])
@pytest.mark.parametrize("training", [True, False])
def test_macs_are_those_that_torch_counts(make, training):
    network, inputs = make()
    network.train(training)
    assert autogas.score(network, inputs, "macs") == pytest.approx(counted(network.eval(), inputs), rel=1e-3)


@pytest.mark.parametrize("make", [unet, vae, dit])
def test_the_default_proxy_has_a_score(make):
    network, inputs = make()
    if make is vae:
        network.eval()
    assert torch.isfinite(torch.tensor(autogas.score(network, inputs)))


def test_products_that_torch_does_not_count():
    x, w = torch.randn(8, 6, 16), torch.randn(16)
    sparse = torch.eye(6).to_sparse()
    offsets = torch.zeros(1, 18, 14, 14)
    deformed = DeformConv2d(3, 8, 3)
    for function, given, expected in (
        (lambda x: x @ w, x, 6 * 16),
        (lambda x: torch.stack([torch.addmv(torch.zeros(6), one, w) for one in x]), x, 6 * 16),
        (lambda x: torch.addbmm(torch.zeros(6, 6), x, x.mT).expand(len(x), 6, 6), x, 6 * 16 * 6),
        (lambda x: torch.stack([sparse @ one for one in x]), x, 6 * 16),
        (lambda x: deformed(x, offsets.expand(len(x), -1, -1, -1)), torch.randn(8, 3, 16, 16), 8 * 27 * 14 * 14),
        (lambda x: torch.conv_tbc(x.transpose(0, 1), torch.ones(3, 16, 5), torch.zeros(5)), x, 4 * 3 * 16 * 5),
    ):
        assert autogas.score(Function(function), given, "macs") == expected


def test_what_does_not_depend_on_the_batch_counts_once():
    layers = nn.ModuleList([nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)])
    table = torch.randn(1, 8, 16, 16)
    x = torch.randn(8, 3, 16, 16)
    assert autogas.score(Function(lambda x: layers[0](x) + layers[1](table)), x, "macs") == (24 + 64) * 256


class Function(nn.Module):
    """A network that is one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
