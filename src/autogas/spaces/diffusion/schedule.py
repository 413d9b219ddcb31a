"""How noise is mixed in and taken out: the cosine schedule (Nichol & Dhariwal, 2021) and DDIM (Song et al., 2021)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

OFFSET = 0.008
LAST = 0.999
"""The latest time: at 1 nothing is left of an image."""


def signal(time: Tensor) -> Tensor:
    """Variance of the image in a noisy image at each time: 1 at 0, and falling to almost 0 at 1.

    Examples:
        >>> [round(float(part), 3) for part in signal(torch.tensor([0.0, 0.5, 1.0]))]
        [1.0, 0.494, 0.0]
    """
    start = math.cos(OFFSET / (1 + OFFSET) * math.pi / 2) ** 2
    return ((time.clamp(0, LAST) + OFFSET) / (1 + OFFSET) * (math.pi / 2)).cos() ** 2 / start


def noisy(images: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Images ``[N, C, H, W]`` with noise of the same shape mixed in, as much as times ``[N, 1]`` say."""
    share = signal(time)[:, :, None, None]
    return share.sqrt() * images + (1 - share).sqrt() * noise


@torch.no_grad()
def ddim(network: nn.Module, noise: Tensor, *, steps: int) -> Tensor:
    """Images ``[N, C, H, W]`` in [-1, 1] from standard-normal noise, without further randomness.

    Args:
        network: noisy images and times ``[N, 1]`` to the noise in them.
        noise: where to start.
        steps: how often the network runs; times are evenly spaced.
    """
    x = noise
    times = torch.linspace(LAST, 0, steps + 1).tolist()
    for now, then in itertools.pairwise(times):
        here, there = (float(signal(torch.tensor(time))) for time in (now, then))
        predicted = network(x, torch.full((len(x), 1), now, device=x.device, dtype=x.dtype))
        image = ((x - math.sqrt(1 - here) * predicted) / math.sqrt(here)).clamp(-1, 1)
        left = (x - math.sqrt(here) * image) / math.sqrt(1 - here)
        x = math.sqrt(there) * image + math.sqrt(1 - there) * left
    return x.clamp(-1, 1)
