"""Images that need no download: dead leaves, the simplest model with the statistics of natural images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autogas.seeding import numpy_generator

LEAVES = 150
SMALLEST, LARGEST = 0.03, 0.5
MOST = 4096


def dead_leaves(*, size: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Images of discs that cover one another, ``uint8 [size, size, 3]`` each; it ends after 4,096.

    Discs of uniform colour and position fall on a ground; their radii r have density r^-3 between 3 % and 50 % of the
    image, which gives occlusion, edges and the power spectrum of photographs (Lee, Mumford & Huang, Occlusion models
    for natural images, IJCV 2001).

    Examples:
        >>> next(dead_leaves(size=32)).shape
        (32, 32, 3)
    """
    rng = numpy_generator("dead leaves", seed)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    for _ in range(MOST):
        image = np.empty((size, size, 3), dtype=np.uint8)
        image[:] = rng.integers(256, size=3)
        # Inverse of the distribution function of r^-3 on [SMALLEST, LARGEST].
        radii = 1 / np.sqrt(SMALLEST**-2 - rng.random(LEAVES) * (SMALLEST**-2 - LARGEST**-2))
        centres, colours = rng.random((LEAVES, 2)), rng.integers(256, size=(LEAVES, 3))
        for radius, (cy, cx), colour in zip(radii, centres, colours, strict=True):
            image[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = colour
        yield image
