"""What users give to be scored, right and wrong."""

import copy
import dataclasses
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from autogas import InputError, score, score_many


def net(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))


def images(n=8):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Keywords(nn.Module):
    """A denoiser as libraries write them: arguments by name, and a data class for an answer."""

    def __init__(self):
        super().__init__()
        self.inner = net()

    def forward(self, *, sample, timestep, return_dict=True):
        out = self.inner(sample + timestep.view(-1, 1, 1, 1))
        return Answer(out) if return_dict else (out,)


@dataclasses.dataclass
class Answer:
    sample: torch.Tensor


ALL = ("autogas", "separation", "nwot", "snip", "synflow", "params", "macs", "zen")


@pytest.mark.parametrize("scorer", ALL)
@pytest.mark.parametrize("return_dict", [True, False])
def test_arguments_by_name(scorer, return_dict):
    given = {"timestep": torch.zeros(8), "sample": images(), "return_dict": return_dict}
    found = score(Keywords(), given, scorer)
    if scorer not in ("synflow", "zen"):  # which choose their own inputs, the time step too
        assert found == pytest.approx(score(net(), images(), scorer), rel=1e-6)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net()

    def forward(self, x, factor, flag):
        return self.inner(x * factor) if flag is None else x


def test_arguments_that_are_no_tensors():
    assert score(Scaled(), (images(), 1.0, None), "autogas") == score(net(), images(), "autogas")


@pytest.mark.parametrize("scorer", ALL)
def test_a_wrapped_network_is_unwrapped(scorer):
    assert score(nn.DataParallel(net()), images(), scorer) == score(net(), images(), scorer)


@pytest.mark.parametrize(
    ("model", "inputs", "proxy", "said"),
    [
        (net(), images().numpy(), "autogas", "a numpy array in place of inputs: expected a tensor"),
        (net(), torch.utils.data.DataLoader(images()), "autogas", "a DataLoader in place of inputs"),
        (net(), list(images()), "autogas", "8 inputs to a network that takes 1: .*torch.stack"),
        (nn.Flatten, images(), "autogas", "the class Flatten in place of a network: expected an instance"),
        (images(), net(), "autogas", "a network in place of inputs: expected score"),
        (np.ones(3), images(), "autogas", "a ndarray in place of a network"),
        (net(), 3, "autogas", "an int in place of inputs"),
        (net(), [], "autogas", "inputs without a tensor"),
        (net(), {"x": 3}, "autogas", "inputs without a tensor"),
        (net(), images(), ["nwot"], r"proxy \['nwot'\]: expected a name"),
        (net(), images(), 3, "proxy 3: expected a name"),
        (net(), images(), "NWOT", "unknown proxy 'NWOT': did you mean 'nwot'"),
        (net(), images(), "flops", "unknown proxy 'flops': did you mean 'macs'"),
        (net(), images(1), "nwot", "at least 2 samples"),
        (net(), images(1), "autogas", "at least 2 samples"),
    ],
)
def test_a_mistake_is_named(model, inputs, proxy, said):
    with pytest.raises(InputError, match=said):
        score(model, inputs, proxy)


def test_a_text_where_a_list_belongs():
    with pytest.raises(InputError, match=r"proxies 'nwot': expected a list, \['nwot'\]"):
        score_many(net(), images(), "nwot")


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.inner = net()
        self.norm = nn.BatchNorm2d(8)
        self.reentrant = reentrant

    def forward(self, x):
        def part(y):
            return self.inner[1](self.norm(self.inner[0](y)))

        return self.inner[2](part(x) if self.reentrant is None else checkpoint(part, x, use_reentrant=self.reentrant))


@pytest.mark.parametrize("scorer", ["snip", "grad_norm", "zico", "synflow", "fisher", "grasp", "jacov"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_change_nothing(scorer, reentrant):
    plain, model = Checkpointed(None), Checkpointed(reentrant)
    before = copy.deepcopy(model.state_dict())
    assert score(model, images(), scorer) == score(plain, images(), scorer)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    loss = model(images().requires_grad_()).sum()  # and go on as before
    loss.backward()
    assert model.inner[0].weight.grad is not None


@pytest.mark.parametrize("scorer", ["snip", "grad_norm", "zico", "fisher"])
def test_complex_weights_are_refused(scorer):
    model = nn.Conv2d(3, 4, 3, dtype=torch.cfloat)
    with pytest.raises(InputError, match="the network has complex weights: expected real ones"):
        score(model, images().to(torch.cfloat), scorer)


def test_threads_do_not_disturb_each_other():
    def model():
        return nn.Sequential(net(), nn.Dropout(0.5), nn.ReLU(), nn.Conv2d(3, 3, 1))

    one = model()
    expected = score(one, images(), "autogas")
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(score(one, images(), "autogas") for _ in range(10)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == 40 * [expected]
