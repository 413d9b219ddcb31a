"""The history of generated images that CycleGAN shows its discriminators (Shrivastava et al., CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Buffers of ``size`` images, so that they are kept in checkpoints.

    While it fills, an image is stored and returned. After that, one in two is returned as it is; the other takes the
    place of a random stored one, which is returned. A pool of size 0 returns what it gets. With several devices each
    has its own, and the first one's is in the checkpoint.

    Args:
        size: images to store, 50 in CycleGAN.
        shape: of one image.
    """

    images: Tensor
    count: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images ``[N, *shape]`` as the discriminator sees them: new and old.

        Args:
            images: just generated, in their order.
            generator: on the CPU; two numbers are drawn for each image.
        """
        size = len(self.images)
        if not size:
            return images
        shown = images.detach().clone()
        numbers = torch.rand(len(images), 2, generator=generator).tolist()
        for i, (coin, place) in enumerate(numbers):
            count = int(self.count)
            if count < size:
                self.images[count] = images[i]
                self.count += 1
            elif coin < 0.5:
                slot = int(place * size)
                shown[i] = self.images[slot]
                self.images[slot] = images[i]
        return shown
