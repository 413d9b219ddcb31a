"""The network of `diffusion-unet` against one that is wired of the blocks of diffusers' UNet2DModel."""

import pytest
import torch
from torch import nn

import autogas

pytest.importorskip("diffusers", exc_type=ImportError)

from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D

from autogas.spaces.diffusion.network import GROUPS, HEAD, TIMES

NORM = {"eps": 1e-5}
RENAMED = {"first": ("norm1", "conv1"), "second": ("norm2", "conv2")}


def residual(block):
    """A block of diffusers with the weights of ours."""
    entering, width = block.first[2].in_channels, block.first[2].out_channels
    twin = ResnetBlock2D(
        in_channels=entering, out_channels=width, temb_channels=block.time.in_features, groups=GROUPS, **NORM
    )
    for ours, (norm, conv) in RENAMED.items():
        getattr(twin, norm).load_state_dict(getattr(block, ours)[0].state_dict())
        getattr(twin, conv).load_state_dict(getattr(block, ours)[2].state_dict())
    twin.time_emb_proj.load_state_dict(block.time.state_dict())
    if entering != width:
        twin.conv_shortcut.load_state_dict(block.around.state_dict())
    return twin


def attention(layer):
    """One of diffusers with the weights of ours, whose queries, keys and values are one layer."""
    width = layer.out.in_channels
    twin = Attention(
        width,
        heads=width // HEAD,
        dim_head=HEAD,
        norm_num_groups=GROUPS,
        bias=True,
        residual_connection=True,
        _from_deprecated_attn_block=True,
        **NORM,
    )
    twin.group_norm.load_state_dict(layer.norm.state_dict())
    parts = zip(layer.queries.weight[..., 0, 0].chunk(3), layer.queries.bias.chunk(3), strict=True)
    for name, (weight, bias) in zip(("to_q", "to_k", "to_v"), parts, strict=True):
        getattr(twin, name).load_state_dict({"weight": weight, "bias": bias})
    twin.to_out[0].load_state_dict({"weight": layer.out.weight[..., 0, 0], "bias": layer.out.bias})
    return twin


class Twin(nn.Module):
    """Our wiring of their blocks."""

    def __init__(self, network):
        super().__init__()
        width, layers = network.embedding.width, network.embedding.layers
        self.sines = Timesteps(width, flip_sin_to_cos=False, downscale_freq_shift=0)
        self.embedding = TimestepEmbedding(width, network.embedding.features)
        self.embedding.linear_1.load_state_dict(layers[0].state_dict())
        self.embedding.linear_2.load_state_dict(layers[2].state_dict())
        self.enter, self.leave = network.enter, network.leave
        self.down = nn.ModuleList(self.stage(stage) for stage in network.downward)
        self.middle = self.stage(network.middle)
        self.up = nn.ModuleList(self.stage(stage) for stage in network.upward)
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for conv in network.shrink:
            smaller = Downsample2D(conv.in_channels, use_conv=True, out_channels=conv.out_channels, name="op")
            smaller.conv.load_state_dict(conv.state_dict())
            self.shrink.append(smaller)
        for doubling in network.grow:
            larger = Upsample2D(doubling[1].in_channels, use_conv=True, out_channels=doubling[1].out_channels)
            larger.conv.load_state_dict(doubling[1].state_dict())
            self.grow.append(larger)

    @staticmethod
    def stage(stage):
        attended = [attention(layer) for layer in stage.attention] or [None] * len(stage.blocks)
        pairs = zip(map(residual, stage.blocks), attended, strict=True)
        return nn.ModuleList(layer for pair in pairs for layer in pair if layer is not None)

    @staticmethod
    def through(stage, x, embedded):
        for layer in stage:
            x = layer(x, embedded) if isinstance(layer, ResnetBlock2D) else layer(x)
        return x

    def forward(self, x, time):
        embedded = self.embedding(self.sines(TIMES * time[:, 0]))
        x, kept = self.enter(x), []
        for i, stage in enumerate(self.down):
            x = self.through(stage, x, embedded)
            kept.append(x)
            x = self.shrink[i](x) if i < len(self.shrink) else x
        x = self.through(self.middle, x, embedded)
        for i, stage in enumerate(self.up):
            x = self.through(stage, torch.cat([x, kept.pop()], dim=1), embedded)
            x = self.grow[i](x) if i < len(self.grow) else x
        return self.leave(x)


@pytest.mark.parametrize(
    "given",
    [
        "width1=8,width2=16,width3=24,depth1=1,depth2=2,depth3=3,attention2=no,attention3=yes",
        "width1=16,width2=16,width3=16,depth1=3,depth2=1,depth3=2,attention2=yes,attention3=no",
        "width1=8,width2=32,width3=64,depth1=2,depth2=2,depth3=1,attention2=yes,attention3=yes",
    ],
)
def test_it_is_what_its_blocks_from_diffusers_make(given):
    space = autogas.get_space("diffusion-unet")
    arch = space.parse(f"{given},kernel1=3,kernel2=3,kernel3=3,down=conv,up=near")
    network = space.build(arch, seed=0).eval()
    twin = Twin(network).eval()
    x, time = space.inputs(batch_size=4)
    cost = space.cost(arch)
    assert (autogas.score(twin, (x, time), "params"), autogas.score(twin, (x, time), "macs")) == (
        cost.params,
        cost.macs,
    )
    with torch.no_grad():
        assert torch.allclose(twin(x, time), network(x, time), rtol=1e-4, atol=1e-4)
