"""What is not finite, or does not vary, is no score, and every scorer gives the same answer."""

from collections import deque
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autogas import InputError, list_proxies, score
from autogas.proxies.passes.liveness import failure

OF_FEATURES = [
    name
    for name in list_proxies()
    if name
    not in (
        "params",
        "macs",
        "num_downsamples",
        "num_skips",
        "num_transposed",
        "l2_norm",
        "synflow",
        "zen",
        "short_training",
    )
]
ANYHOW = ["relu > above_zero > hamming > trace", "swish > above_mean > gram > slogdet", "above_median > gram > trace"]
ANYHOW += ["sign > gram > trace", "tanh > gram > trace", "sigmoid > pearson > frobenius"]


def images():
    return torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class SideBranch(nn.Module):
    """A branch with one bad entry, which the output does not show."""

    def __init__(self, bad, place):
        super().__init__()
        torch.manual_seed(0)
        self.main, self.side, self.end = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 1)
        self.bad, self.place = bad, place

    def forward(self, x):
        y = self.main(x)
        if self.place == "activation":
            side = self.side(x)
            side[0, 0, 0, 0] = self.bad
            F.relu(side)
        else:
            z = x.clone()
            z[0, 0, 0, 0] = self.bad
            self.side(z)
        return self.end(F.relu(y))


@pytest.mark.parametrize("name", [*OF_FEATURES, *ANYHOW])
@pytest.mark.parametrize("place", ["activation", "layer"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_side_branch_that_is_not_finite_is_refused_by_all(name, place, bad):
    with pytest.raises(InputError, match=r"feature \d of \d in the network, at (relu|conv2d), is not finite"):
        score(SideBranch(bad, place), images(), name)


def test_side_branch_that_is_finite_is_scored():
    assert score(SideBranch(1.0, "activation"), images(), "nwot") > 0


BAD = torch.full((8, 3), float("nan"))
STILL, VARIES = torch.ones(8, 3), torch.arange(24.0).view(8, 3)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (STILL, "ignores its input"),
        ((None, STILL), "ignores its input"),
        ([None, None, {"loss": None, "image": STILL}], "ignores its input"),
        ({"step": 3, "image": STILL}, "ignores its input"),
        ((torch.tensor(1.0), STILL), "ignores its input"),
        ((torch.zeros(8, dtype=torch.long), STILL), "ignores its input"),
        ((None, VARIES), ""),
        ((torch.zeros(8, dtype=torch.long), VARIES), ""),
        ((VARIES, STILL), ""),
        ((None, BAD), "not finite"),
        ((VARIES, BAD), "not finite"),
        (torch.ones(8), "ignores its input"),
        (torch.arange(8.0), ""),
        (torch.tensor(2.0), ""),
        (None, "a NoneType without tensors"),
        ((), "a tuple without tensors"),
        (deque([STILL]), "ignores its input"),
        (SimpleNamespace(image=STILL), "ignores its input"),
        (SimpleNamespace(image=[VARIES], loss=None), ""),
        (SimpleNamespace(image=BAD), "not finite"),
        (1 + 5e-8 * VARIES, "ignores its input"),  # rounding
        (1 + 1e-4 * VARIES, ""),
        (1 + 5e-8 * VARIES.double(), ""),
        (1e-9 * VARIES, ""),
        (torch.cat([VARIES, torch.full((8, 2), -1e9)], dim=1), ""),  # a mask
        (torch.ones(8, 0), "ignores its input"),
        (SimpleNamespace(inner=SimpleNamespace(image=STILL)), "ignores its input"),
    ],
)
def test_first_batch_of_an_output_must_vary_and_all_of_it_be_finite(output, reason):
    assert reason in failure(output)
    assert bool(reason) == bool(failure(output))


class StartsWithNothing(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())

    def forward(self, x):
        return None, self.body(x) * 0


def test_output_that_begins_with_nothing_and_ignores_its_input():
    with pytest.raises(InputError, match="the output of the network ignores its input"):
        score(StartsWithNothing(), images())
