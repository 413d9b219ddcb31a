"""What a score costs against a bare forward pass, on networks that others wrote.

    pip install timm diffusers segmentation-models-pytorch
    python perf/foreign.py [--repeats 5] [--threads 1]

Random weights, batches of 8 images. Columns: milliseconds of one bare forward pass under inference mode, and a score by
the default proxy and by the paper's as multiples of it: everything from the call to the number or refusal, what is
checked and restored included. Each is the fastest of the repeats, taken in turn. A package that is absent leaves its
networks out.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

import autogas
from autogas.errors import InputError
from autogas.memory import keep_freed_memory

PROXIES = ("concord", "autogas")
Foreign = tuple[str, Callable[[], nn.Module], tuple[Tensor, ...]]


def images(size: int, count: int = 8) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def networks() -> Iterator[Foreign]:
    import torchvision.models as tv

    for name in ("resnet50", "vgg16_bn", "densenet121", "mobilenet_v3_large", "convnext_tiny", "swin_t"):
        yield f"torchvision {name}", lambda name=name: tv.get_model(name, weights=None), (images(64),)
    if importlib.util.find_spec("timm"):
        import timm

        for name in ("efficientnet_b0", "vit_tiny_patch16_224", "mixer_s16_224", "regnety_008"):
            yield f"timm {name}", lambda name=name: timm.create_model(name), (images(224, 4),)
    if importlib.util.find_spec("diffusers"):
        from diffusers import DiTTransformer2DModel, UNet2DModel

        unet = {"sample_size": 32, "block_out_channels": (64, 128, 128, 128), "layers_per_block": 1}
        yield "diffusers UNet2DModel", lambda: UNet2DModel(**unet), (images(32), torch.full((8,), 10))
        dit = {"num_attention_heads": 4, "attention_head_dim": 48, "num_layers": 6, "sample_size": 32, "in_channels": 3}
        labels = torch.arange(8)
        made = (images(32), torch.full((8,), 10), labels)
        yield "diffusers DiT", lambda: DiTTransformer2DModel(**dit), made
    if importlib.util.find_spec("segmentation_models_pytorch"):
        import segmentation_models_pytorch as smp

        yield "smp Unet resnet18", lambda: smp.Unet("resnet18", encoder_weights=None), (images(64),)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    keep_freed_memory()  # as every workflow does
    torch.set_num_threads(options.threads)
    print(f"{options.threads} thread(s), torch {torch.__version__}")
    print(f"{'network':<32}{'forward ms':>11}" + "".join(f"{name:>12}" for name in PROXIES))
    for name, make, inputs in networks():
        torch.manual_seed(0)
        net = make().eval()

        def bare(net: nn.Module = net, inputs: tuple[Tensor, ...] = inputs) -> object:
            with torch.inference_mode():
                return net(*inputs)

        def scored(proxy: str, net: nn.Module = net, inputs: tuple[Tensor, ...] = inputs) -> None:
            with contextlib.suppress(InputError):
                autogas.score(net, inputs, proxy)

        works: dict[str, Callable[[], object]] = {"forward": bare}
        works |= {proxy: functools.partial(scored, proxy) for proxy in PROXIES}
        times: dict[str, list[float]] = {key: [] for key in works}
        for _ in range(options.repeats + 1):
            for key, work in works.items():
                times[key].append(seconds(work))
        best = {key: min(values[1:]) for key, values in times.items()}
        ratios = "".join(f"{best[proxy] / best['forward']:>12.2f}" for proxy in PROXIES)
        print(f"{name:<32}{1e3 * best['forward']:>11.1f}{ratios}", flush=True)


if __name__ == "__main__":
    main()
