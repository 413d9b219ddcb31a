"""Costs of networks that others wrote, against torch's own counter of operations; skipped where they are missing."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

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
