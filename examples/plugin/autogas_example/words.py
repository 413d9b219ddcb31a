"""A word of the proxy language, and a scorer."""

from __future__ import annotations

import torch
from torch import Tensor

from autogas.proxies.primitives import Stage, primitive
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import scorer


@primitive(Stage.BINARISER, formula=r"[x > \max x / 2]", edge="NaN counts as below", elementwise=False, zero_one=True)
def above_share(x: Tensor) -> Tensor:
    """1 where above half of the largest entry of the batch."""
    return (x > x.max() / 2).to(x)


@scorer()
def live_share(probe: Probe) -> float:
    """Share of the entries given to activations that are above zero."""
    return float(torch.cat([x.flatten() > 0 for x in probe.recorded.activations]).float().mean())
