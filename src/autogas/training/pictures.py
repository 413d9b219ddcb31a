"""Pictures of a training: a grid of samples, and loss curves."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from autogas.metrics.pixels import as_uint8
from autogas.training.loop import Row

GOLDEN = (math.sqrt(5) - 1) / 2
"""Part of a turn between neighbouring hues: any first few are far apart."""


def sample_grid(images: Tensor, *, columns: int = 8) -> bytes:
    """Images ``[n, 3, H, W]`` in [0, 1], side by side, as PNG."""
    from torchvision.utils import make_grid

    grid = make_grid(as_uint8(images.cpu()), nrow=columns, padding=2)
    buffer = io.BytesIO()
    Image.fromarray(grid.permute(1, 2, 0).numpy()).save(buffer, format="PNG")
    return buffer.getvalue()


def in_colours(label_maps: Tensor) -> Tensor:
    """One-hot label maps, then a channel of edges, ``[N, labels + 1, H, W]``, as images: a colour for each label."""
    labels = label_maps.shape[1] - 1
    hues = torch.arange(labels) * GOLDEN
    channels = [0.55 + 0.45 * torch.cos(2 * math.pi * (hues - third / 3)) for third in range(3)]
    return torch.stack(channels, 1)[label_maps[:, :labels].argmax(1).cpu()].permute(0, 3, 1, 2)


def loss_curves(rows: Sequence[Row]) -> bytes:
    """Every loss against the steps done, as PNG."""
    figure = Figure(figsize=(6, 3.7), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps = [row["step"] for row in rows]
    for name in sorted(rows[0].keys() - {"step"}):
        axes.plot(steps, [row[name] for row in rows], label=name.replace("_", " "), linewidth=1)
    axes.set_xlabel("steps")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    axes.grid(visible=True, alpha=0.25, linewidth=0.6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
