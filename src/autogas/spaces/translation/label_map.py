"""Label maps as GauGAN takes them (Park et al., CVPR 2019): one channel a class, and one of instance edges."""

from __future__ import annotations

import torch
from torch import Tensor


def encode_labels(labels: Tensor, *, num_labels: int, instances: Tensor | None = None) -> Tensor:
    """One-hot labels and instance edges, float ``[N, num_labels + 1, H, W]``.

    An edge is 1 at pixels with a neighbour (left, right, above, below) of another instance.

    Args:
        labels: whole numbers from 0 to ``num_labels - 1``, ``[N, H, W]``.
        num_labels: number of classes.
        instances: ``[N, H, W]``, a number for each instance; None takes the labels.

    Examples:
        >>> encode_labels(torch.tensor([[[0, 0, 1]]]), num_labels=2)[0].tolist()
        [[[1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]], [[0.0, 1.0, 1.0]]]
    """
    count, height, width = labels.shape
    maps = torch.zeros(count, num_labels + 1, height, width, device=labels.device)
    maps.scatter_(1, labels[:, None].long(), 1)
    ids = labels if instances is None else instances
    across, down = ids[:, :, 1:] != ids[:, :, :-1], ids[:, 1:] != ids[:, :-1]
    edges = maps[:, -1]
    for part, differs in (
        (edges[:, :, 1:], across),
        (edges[:, :, :-1], across),
        (edges[:, 1:], down),
        (edges[:, :-1], down),
    ):
        part[differs] = 1
    return maps
