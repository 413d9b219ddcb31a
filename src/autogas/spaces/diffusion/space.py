"""A space of denoising U-Nets for small images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from autogas.errors import InputError
from autogas.seeding import torch_generator
from autogas.spaces.base import LARGEST_IMAGE
from autogas.spaces.choice import Choices, ChoiceSpace
from autogas.spaces.cost import Cost
from autogas.spaces.diffusion.cost import unet_cost
from autogas.spaces.diffusion.network import Level, UNet
from autogas.spaces.diffusion.schedule import ddim

WIDTHS = (8, 16, 24, 32, 48, 64)
LEVELS = 3
SAMPLING_STEPS = 20


class DiffusionUNet(ChoiceSpace):
    """Noisy images to the noise in them: widths, depths, kernels and attention of three resolutions, and resamplers.

    An architecture is ``width1=…,width2=…,width3=…,depth1=…,…``; widths never fall from one resolution to the next.

    Args:
        image_size: height and width of the images, a multiple of 4 from 8.

    Examples:
        >>> space = DiffusionUNet()
        >>> len(space)
        653184
    """

    name = family = "diffusion-unet"
    search_proxy = "common"  # the default one knows nothing of denoisers
    makes_images = True

    def __init__(self, *, image_size: int = 32) -> None:
        whole = isinstance(image_size, int) and not isinstance(image_size, bool)
        if not whole or not 8 <= image_size <= LARGEST_IMAGE or image_size % 4:
            raise InputError(
                f"diffusion-unet: image_size={image_size!r}: expected a multiple of 4 from 8 to {LARGEST_IMAGE}"
            )
        each = range(1, LEVELS + 1)
        choices: dict[str, Any] = {f"width{i}": WIDTHS for i in each}
        choices |= {f"depth{i}": (1, 2, 3) for i in each}
        choices |= {f"kernel{i}": ("3", "5", "dw") for i in each}
        choices |= {f"attention{i}": ("no", "yes") for i in (2, 3)}
        choices |= {"down": ("conv", "mean"), "up": ("conv", "near")}
        super().__init__(
            self.name,
            choices,
            build_unet,
            [(3, image_size, image_size), (1,)],
            constraint=rising,
            traits=counts,
        )
        self.image_size = image_size

    @property
    def settings(self) -> Mapping[str, object]:
        """The constructor's argument."""
        return {"image_size": self.image_size}

    def __len__(self) -> int:
        depths, kernels, others = 3**LEVELS, 3**LEVELS, 2**4
        widths: int = sum(1 for a in WIDTHS for b in WIDTHS for c in WIDTHS if a <= b <= c)
        return int(depths * kernels * others * widths)

    def inputs(self, *, batch_size: int = 16, seed: int = 0) -> tuple[Tensor, ...]:
        """Noise, and times spread evenly over (0, 1)."""
        images, _ = super().inputs(batch_size=batch_size, seed=seed)
        order = torch.randperm(batch_size, generator=torch_generator("times", seed))
        return images, ((order + 0.5) / batch_size)[:, None]

    def cost(self, arch: Choices) -> Cost:
        """Of one image; see ``unet_cost``."""
        return unet_cost(levels_of(arch), down=arch["down"], up=arch["up"], size=self.image_size)

    def images(self, network: nn.Module, count: int, generator: torch.Generator) -> Tensor:
        """Samples by DDIM in 20 steps, see ``Space.images``."""
        noise = torch.randn((count, 3, self.image_size, self.image_size), generator=generator)
        device = next(network.parameters()).device
        return (ddim(network, noise.to(device), steps=SAMPLING_STEPS) + 1) / 2


def rising(**choices: Any) -> bool:
    """Whether widths never fall from one resolution to the next."""
    return bool(choices["width1"] <= choices["width2"] <= choices["width3"])


def levels_of(choices: Mapping[str, Any]) -> list[Level]:
    """What an architecture does at each resolution."""
    return [
        Level(
            choices[f"width{i}"],
            choices[f"depth{i}"],
            cast("Literal['3', '5', 'dw']", choices[f"kernel{i}"]),
            choices.get(f"attention{i}") == "yes",
        )
        for i in range(1, LEVELS + 1)
    ]


def build_unet(**choices: Any) -> nn.Module:
    """The network of an architecture."""
    return UNet(levels_of(choices), down=choices["down"], up=choices["up"])


def counts(**choices: Any) -> dict[str, float]:
    """Blocks, and blocks with attention."""
    depths = [choices[f"depth{i}"] for i in range(1, LEVELS + 1)]
    attended = sum(choices[f"depth{i}"] for i in (2, 3) if choices[f"attention{i}"] == "yes")
    return {"num_blocks": float(sum(depths)), "num_attention": float(attended)}
