"""Networks that nobody here wrote, and small ones of kinds that our spaces lack: what does each scorer say of them?

    pip install timm diffusers transformers monai segmentation-models-pytorch torch_geometric
    python experiments/strangers.py

Random weights, small inputs, two to eight samples. A package that is absent leaves its networks out. The table holds
for each network and scorer the score or the reason why there is none.
"""

from __future__ import annotations

import argparse
import importlib
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import autogas
from autogas.errors import InputError

SCORERS = ("concord", "autogas", "nwot", "zen", "snip", "synflow", "params", "macs", "num_activations")
Made = tuple[nn.Module, Any]
Maker = Callable[[], Made]


def images(n: int = 4, size: int = 32, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def tokens(n: int = 4, length: int = 16, words: int = 50) -> Tensor:
    return torch.randint(0, words, (n, length), generator=torch.Generator().manual_seed(0))


class StyleBlock(nn.Module):
    """Modulated convolution (StyleGAN 2): the batch is folded into groups."""

    def __init__(self, inside: int, outside: int, latent: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside, 3, 3))
        self.affine = nn.Linear(latent, inside)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, _, height, width = x.shape
        weight = self.weight[None] * (self.affine(w) + 1)[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        out = F.conv2d(x.reshape(1, -1, height, width), weight.flatten(0, 1), padding=1, groups=n)
        return F.leaky_relu(out.view(n, -1, height, width), 0.2)


class StyleGAN(nn.Module):
    """A learned constant, modulated by a mapped latent."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16), nn.LeakyReLU(0.2))
        self.constant = nn.Parameter(torch.randn(1, 16, 4, 4))
        self.blocks = nn.ModuleList(StyleBlock(16, 16, 16) for _ in range(3))
        self.rgb = nn.Conv2d(16, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z)
        x = self.constant.expand(len(z), -1, -1, -1)
        for block in self.blocks:
            x = F.interpolate(block(x, w), scale_factor=2)
        return self.rgb(x)


class NeRF(nn.Module):
    """Rays by points, folded into one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(63, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, rays: Tensor) -> Tensor:
        n, points, _ = rays.shape
        waves = [rays] + [f(rays * 2.0**i) for i in range(10) for f in (torch.sin, torch.cos)]
        return self.layers(torch.cat(waves, -1).reshape(n * points, -1)).view(n, points, 4).mean(1)


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * x)


class Snake(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(self.alpha * x).square() / self.alpha


class Coupling(nn.Module):
    """Affine coupling of a flow (RealNVP)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.net = nn.Sequential(nn.Conv2d(half, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        scale, shift = self.net(a).chunk(2, 1)
        return torch.cat([b * torch.sigmoid(scale + 2) + shift, a], 1)


class EvoNorm(nn.Module):
    """EvoNorm S0: rectifies and normalises in one expression."""

    def __init__(self, channels: int, groups: int = 4) -> None:
        super().__init__()
        self.v, self.gamma = (nn.Parameter(torch.ones(1, channels, 1, 1)) for _ in range(2))
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        deviation = x.view(n, self.groups, -1).var(2, keepdim=True).add(1e-5).sqrt()
        deviation = deviation.expand(n, self.groups, c // self.groups).reshape(n, c, 1, 1)
        return x * torch.sigmoid(self.v * x) / deviation * self.gamma


class MoE(nn.Module):
    """Two experts; each sees the samples that a gate sends to it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(16, 2)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        choice = self.gate(x).argmax(1)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            out[choice == i] = expert(x[choice == i])
        return x + out


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU] | type[nn.RNN]) -> None:
        super().__init__()
        self.cells = kind(16, 24, num_layers=2, batch_first=True)
        self.head = nn.Linear(24, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0])


class FramesFolded(nn.Module):
    """A video network whose encoder sees frames as samples."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv3d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, t = x.shape[:2]
        features = self.encoder(x.flatten(0, 1))
        return self.head(features.view(n, t, *features.shape[1:]).transpose(1, 2)).relu()


class Diffuser(nn.Module):
    """A small denoiser whose last convolution starts at zero, as published ones do."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.inside = nn.Conv2d(3, 32, 3, padding=1)
        self.norm = nn.GroupNorm(4, 32)
        self.middle = nn.Conv2d(32, 32, 3, padding=1)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.out = nn.Conv2d(32, 3, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        emb = self.time(torch.cos(t[:, None] * torch.arange(16)))
        h = F.silu(self.norm(self.inside(x))) + emb[:, :, None, None]
        h = F.silu(self.middle(h))
        flat = h.flatten(2).transpose(1, 2)
        return self.out(h + self.attention(flat, flat, flat)[0].transpose(1, 2).view_as(h))


class UNet(nn.Module):
    """Skips by concatenation, pixel shuffle on the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(3, 16, 4, 2, 1), nn.Conv2d(16, 32, 4, 2, 1)])
        self.up = nn.ModuleList([nn.Conv2d(32, 64, 3, padding=1), nn.Conv2d(32, 12, 3, padding=1)])

    def forward(self, x: Tensor) -> Tensor:
        a = F.leaky_relu(self.down[0](x), 0.2)
        b = F.leaky_relu(self.down[1](a), 0.2)
        c = F.relu(F.pixel_shuffle(self.up[0](b), 2))
        return torch.tanh(F.pixel_shuffle(self.up[1](torch.cat([a, c], 1)), 2))


def sequential(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def own() -> dict[str, Maker]:
    """Kinds that people write themselves."""
    sound = torch.randn(4, 1, 256, generator=torch.Generator().manual_seed(0))
    volume = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    latent = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    sequence = torch.randn(8, 10, 16, generator=torch.Generator().manual_seed(0))
    return {
        "own/stylegan": lambda: (StyleGAN(), latent),
        "own/nerf": lambda: (NeRF(), torch.rand(8, 12, 3, generator=torch.Generator().manual_seed(0))),
        "own/siren": lambda: (
            sequential(nn.Linear(16, 64), Sine(), nn.Linear(64, 64), Sine(), nn.Linear(64, 3)),
            latent,
        ),
        "own/flow": lambda: (sequential(Coupling(4), Coupling(4), Coupling(4)), images(8, 16, 4)),
        "own/hifigan": lambda: (
            sequential(
                nn.Conv1d(1, 16, 7, padding=3),
                Snake(16),
                nn.ConvTranspose1d(16, 8, 4, 2, 1),
                Snake(8),
                nn.Conv1d(8, 1, 7, padding=3),
                nn.Tanh(),
            ),
            sound,
        ),
        "own/wavenet": lambda: (
            sequential(nn.Conv1d(1, 16, 2, dilation=2), nn.Tanh(), nn.Conv1d(16, 16, 2, dilation=4), nn.Sigmoid()),
            sound,
        ),
        "own/3d": lambda: (
            sequential(nn.Conv3d(1, 8, 3, padding=1), nn.InstanceNorm3d(8), nn.ReLU(), nn.ConvTranspose3d(8, 1, 2, 2)),
            volume,
        ),
        "own/evonorm": lambda: (
            sequential(nn.Conv2d(3, 16, 3), EvoNorm(16), nn.Conv2d(16, 16, 3), EvoNorm(16)),
            images(),
        ),
        "own/moe": lambda: (sequential(MoE(), MoE()), latent),
        "own/lstm": lambda: (Recurrent(nn.LSTM), sequence),
        "own/gru": lambda: (Recurrent(nn.GRU), sequence),
        "own/rnn": lambda: (Recurrent(nn.RNN), sequence),
        "own/transformer": lambda: (
            nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2),
            sequence,
        ),
        "own/transformer-eval": lambda: (
            nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2).eval(),
            sequence,
        ),
        "own/frames": lambda: (FramesFolded(), torch.randn(4, 5, 3, 8, 8, generator=torch.Generator().manual_seed(0))),
        "own/denoiser": lambda: (Diffuser(), (images(4, 16), torch.arange(4) * 100.0)),
        "own/unet": lambda: (UNet(), images()),
        "own/clamp": lambda: (
            sequential(nn.Conv2d(3, 8, 3), nn.Hardtanh(0, 6), nn.Conv2d(8, 8, 3), nn.Softplus(), nn.Conv2d(8, 3, 1)),
            images(),
        ),
        "own/dcgan": lambda: (
            sequential(
                nn.Unflatten(1, (16, 1, 1)),
                nn.ConvTranspose2d(16, 32, 4),
                nn.BatchNorm2d(32),
                nn.ReLU(True),
                nn.ConvTranspose2d(32, 3, 4, 2, 1),
                nn.Tanh(),
            ),
            latent,
        ),
        "own/bilinear": lambda: (Pairwise(), latent),
    }


class Pairwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair = nn.Bilinear(16, 16, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pair(x, x).relu())


def of_torchvision() -> dict[str, Maker]:
    from torchvision import models

    classifiers = """resnet18 mobilenet_v3_small convnext_tiny squeezenet1_1 shufflenet_v2_x0_5 efficientnet_b0
        densenet121 regnet_y_400mf mnasnet0_5 swin_t vgg11_bn googlenet""".split()
    made: dict[str, Maker] = {
        f"torchvision/{name}": lambda name=name: (models.get_model(name, weights=None).eval(), images(4, 64))
        for name in classifiers
    }
    made["torchvision/maxvit_t"] = lambda: (
        models.MaxVit((64, 64), 32, 2, [32, 64], [1, 1], 16, 0.0).eval(),
        images(2, 64),
    )
    made["torchvision/vit"] = lambda: (
        models.VisionTransformer(32, 8, 3, 2, 32, 64).eval(),
        images(),
    )
    segmentation = models.segmentation
    made["torchvision/fcn_resnet50"] = lambda: (
        segmentation.fcn_resnet50(weights=None, weights_backbone=None).eval(),
        images(2, 64),
    )
    made["torchvision/lraspp"] = lambda: (
        segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).eval(),
        images(2, 64),
    )
    made["torchvision/raft_small"] = lambda: (
        models.optical_flow.raft_small(weights=None).eval(),
        (images(2, 128).clamp(-1, 1), images(2, 128).flip(0).clamp(-1, 1)),
    )
    return made


def of_timm() -> dict[str, Maker]:
    import timm

    small = """resnet10t convnext_atto regnety_002 mobilevit_xxs poolformer_s12 ghostnet_050 repvgg_a0 eca_nfnet_l0
        resnetv2_50d_evos hrnet_w18_small dla34 edgenext_xx_small efficientformer_l1""".split()
    made: dict[str, Maker] = {
        f"timm/{name}": lambda name=name: (
            timm.create_model(name).eval(),
            images(2, 224 if "former_l1" in name else 64),
        )
        for name in small
    }
    for name in ("vit_tiny_patch16_224", "mixer_s32_224", "xcit_nano_12_p16_224", "cait_xxs24_224"):
        made[f"timm/{name}"] = lambda name=name: (timm.create_model(name, img_size=64).eval(), images(2, 64))
    made["timm/maxvit_pico_rw_256"] = lambda: (
        timm.create_model("maxvit_pico_rw_256", img_size=64).eval(),
        images(2, 64),
    )
    return made


def of_diffusers() -> dict[str, Maker]:
    import diffusers

    time_step = torch.tensor(10)
    widths = (32, 64)
    return {
        "diffusers/UNet2DModel": lambda: (
            diffusers.UNet2DModel(
                sample_size=16,
                block_out_channels=widths,
                down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            ),
            (images(2, 16), time_step),
        ),
        "diffusers/UNet2DConditionModel": lambda: (
            diffusers.UNet2DConditionModel(
                sample_size=16,
                in_channels=3,
                out_channels=3,
                block_out_channels=widths,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                cross_attention_dim=32,
                attention_head_dim=8,
            ),
            (images(2, 16), time_step, torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(1))),
        ),
        "diffusers/AutoencoderKL": lambda: (
            diffusers.AutoencoderKL(
                block_out_channels=widths,
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
            ),
            images(2, 32),
        ),
        "diffusers/VQModel": lambda: (
            diffusers.VQModel(
                block_out_channels=widths,
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
            ),
            images(2, 32),
        ),
        "diffusers/AutoencoderTiny": lambda: (
            diffusers.AutoencoderTiny(
                encoder_block_out_channels=(16, 16),
                decoder_block_out_channels=(16, 16),
                num_encoder_blocks=(1, 1),
                num_decoder_blocks=(1, 1),
            ),
            images(2, 32),
        ),
        "diffusers/DiT": lambda: (
            diffusers.DiTTransformer2DModel(
                num_attention_heads=2, attention_head_dim=16, in_channels=4, num_layers=2, sample_size=8, out_channels=8
            ),
            {
                "hidden_states": images(2, 8, 4),
                "timestep": torch.tensor([10, 20]),
                "class_labels": torch.tensor([1, 2]),
            },
        ),
    }


def of_transformers() -> dict[str, Maker]:
    import transformers as t

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return {
        "transformers/GPT2": lambda: (
            t.GPT2Model(t.GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2)),
            tokens(),
        ),
        "transformers/Bert": lambda: (t.BertModel(t.BertConfig(vocab_size=50, **small)), tokens()),
        "transformers/Llama": lambda: (t.LlamaModel(t.LlamaConfig(vocab_size=50, **small)), tokens()),
        "transformers/ViT": lambda: (t.ViTModel(t.ViTConfig(image_size=32, patch_size=8, **small)), images()),
        "transformers/Swin2SR": lambda: (
            t.Swin2SRForImageSuperResolution(
                t.Swin2SRConfig(image_size=16, embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=4)
            ),
            images(2, 16),
        ),
        "transformers/Segformer": lambda: (
            t.SegformerModel(
                t.SegformerConfig(hidden_sizes=[8, 16, 16, 16], depths=[1] * 4, num_attention_heads=[1, 1, 2, 2])
            ),
            images(2, 64),
        ),
        "transformers/Dinov2": lambda: (
            t.Dinov2Model(
                t.Dinov2Config(image_size=28, patch_size=14, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
            ),
            images(2, 28),
        ),
    }


def of_monai() -> dict[str, Maker]:
    from monai.networks import nets

    volume = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    return {
        "monai/UNet": lambda: (nets.UNet(3, 1, 2, (8, 16, 32), (2, 2)), volume),
        "monai/SegResNet": lambda: (nets.SegResNet(3, 8, 1, 2), volume),
        "monai/VNet": lambda: (nets.VNet(3, 1, 2), volume),
        "monai/AttentionUnet": lambda: (nets.AttentionUnet(3, 1, 2, (8, 16), (2,)), volume),
        "monai/DynUNet": lambda: (nets.DynUNet(3, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2]), volume),
    }


def of_smp() -> dict[str, Maker]:
    import segmentation_models_pytorch as smp

    return {
        f"smp/{name}": lambda name=name: (getattr(smp, name)("resnet18", encoder_weights=None).eval(), images(2, 64))
        for name in ("Unet", "FPN", "Linknet", "PSPNet", "DeepLabV3Plus")
    }


def of_geometric() -> dict[str, Maker]:
    from torch_geometric.nn import models

    nodes = torch.randn(12, 16, generator=torch.Generator().manual_seed(0))
    edges = torch.randint(0, 12, (2, 40), generator=torch.Generator().manual_seed(0))
    return {
        f"geometric/{name}": lambda name=name: (getattr(models, name)(16, 32, 2, 8), (nodes, edges))
        for name in ("GCN", "GAT", "GIN", "GraphSAGE")
    }


PACKAGES = {
    "torch": own,
    "torchvision": of_torchvision,
    "timm": of_timm,
    "diffusers": of_diffusers,
    "transformers": of_transformers,
    "monai": of_monai,
    "segmentation_models_pytorch": of_smp,
    "torch_geometric": of_geometric,
}


def networks() -> dict[str, Maker]:
    """All whose package is there."""
    found: dict[str, Maker] = {}
    for package, makers in PACKAGES.items():
        try:
            importlib.import_module(package)
        except ImportError:
            print(f"without {package}")
            continue
        found |= makers()
    return found


def made(maker: Maker) -> Made:
    """With the weights of one seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return maker()


def answer(net: nn.Module, inputs: Any, scorer: str) -> float | str:
    """The score, or why there is none."""
    try:
        value = autogas.score(net, inputs, scorer)
    except InputError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - what should not be is what is looked for
        return f"!! {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return value if math.isfinite(value) else f"!! {value}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="?", default="", help="part of a name")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scored = dict.fromkeys(SCORERS, 0)
    count = 0
    for name, maker in networks().items():
        if options.only not in name:
            continue
        start = time.perf_counter()
        try:
            net, inputs = made(maker)
        except Exception as error:  # noqa: BLE001 - another version of a package
            print(f"{name}: not made: {type(error).__name__} {error}")
            continue
        answers = {scorer: answer(net, inputs, scorer) for scorer in SCORERS}
        count += 1
        values = "  ".join(f"{s} {a:.6g}" if isinstance(a, float) else f"{s} –" for s, a in answers.items())
        print(f"{name} ({time.perf_counter() - start:.1f} s): {values}", flush=True)
        reasons: dict[str, list[str]] = {}
        for scorer, found in answers.items():
            if isinstance(found, str):
                reasons.setdefault(found, []).append(scorer)
            else:
                scored[scorer] += 1
        for reason, scorers in reasons.items():
            print(f"    {', '.join(scorers)}: {reason}")
    print(f"scored of {count}: " + ", ".join(f"{scorer} {n}" for scorer, n in scored.items()))


if __name__ == "__main__":
    main()
