"""Networks that write their own weights and state while they run, and run parts again in their backward pass."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import autogas
from autogas.errors import InputError
from autogas.proxies.score import score_many

GRADIENT_SCORERS = ("snip", "grad_norm", "plain", "grasp", "fisher", "jacov", "zico", "synflow", "short_training")


@pytest.fixture
def x():
    return torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def two(kind, *more):
    torch.manual_seed(0)
    return nn.Sequential(kind(3, 8, 3, padding=1), nn.ReLU(), *more, kind(8, 3, 3, padding=1))


class Masked(nn.Conv2d):
    """As in PixelCNN."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        mask = torch.ones_like(self.weight)
        mask[:, :, 1, 1:] = 0
        mask[:, :, 2:] = 0
        self.register_buffer("mask", mask)

    def forward(self, x):
        self.weight.data *= self.mask
        return super().forward(x)


class Clamped(nn.Conv2d):
    def forward(self, x):
        with torch.no_grad():
            self.weight.clamp_(-0.1, 0.1)
        return super().forward(x)


class Normed(nn.Conv2d):
    """As in EEGNet."""

    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, 2, 0, 0.3)
        return super().forward(x)


class Decaying(nn.Conv2d):
    def forward(self, x):
        self.weight.data = self.weight.data * 0.5
        return super().forward(x)


@pytest.mark.parametrize("kind", [Masked, Clamped, Normed])
@pytest.mark.parametrize("scorer", GRADIENT_SCORERS)
def test_weights_that_are_written_again_and_again_alike_score_as_written(kind, scorer, x):
    fresh, ran = two(kind), two(kind)
    ran(x)
    assert autogas.score(fresh, x, scorer) == pytest.approx(autogas.score(ran, x, scorer), rel=1e-5)


@pytest.mark.parametrize("kind", [Masked, Clamped, Normed, Decaying])
def test_gradients_are_those_at_the_weights_that_were_written(kind, x):
    net = two(kind)
    F.l1_loss(net(x), x).backward()
    weights = [net[0].weight, net[2].weight]
    by_hand = {
        "snip": sum((p.detach() * p.grad).abs().sum().item() for p in weights),
        "grad_norm": sum(p.grad.norm().item() for p in weights),
    }
    found = score_many(two(kind), x, list(by_hand))
    assert found == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("kind", [Masked, Normed, Decaying])
@pytest.mark.parametrize("beside", [["macs"], ["zico"], ["nwot", "l2_norm"], ["concord", "synflow"]])
def test_scores_do_not_depend_on_those_beside_them(kind, beside, x):
    net = two(kind)
    before = [p.detach().clone() for p in net.parameters()]
    wanted = ["snip", "zico", "l2_norm"]
    together = score_many(net, x, list(dict.fromkeys([*beside, *wanted])))
    assert {name: together[name] for name in wanted} == {name: autogas.score(net, x, name) for name in wanted}
    assert all(map(torch.equal, before, net.parameters()))


class State(nn.Module):
    """A running mean that it uses: as a buffer, a plain tensor, in a list, or in a numpy array."""

    def __init__(self, where):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        state = torch.ones(8, 1, 1)
        if where == "buffer":
            self.register_buffer("m", state)
        elif where == "tensor":
            self.m = state
        else:
            self.held = [state]
        self.where = where

    def forward(self, x):
        h = self.a(x).relu()
        m = self.held[0] if self.where == "list" else self.m
        m.mul_(0.5).add_(h.detach().mean((0, 2, 3))[:, None, None])
        return self.b(h * m)


@pytest.mark.parametrize("where", ["tensor", "list"])
@pytest.mark.parametrize("scorer", GRADIENT_SCORERS)
def test_state_counts_alike_wherever_it_is_kept(where, scorer, x):
    assert autogas.score(State(where), x, scorer) == autogas.score(State("buffer"), x, scorer)


class Rerun(torch.autograd.Function):
    """A checkpoint of one's own, as reversible networks have."""

    @staticmethod
    def forward(ctx, run, x):
        ctx.run = run
        ctx.save_for_backward(x)
        with torch.no_grad():
            return run(x)

    @staticmethod
    def backward(ctx, by_output):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.run(x)
        torch.autograd.backward(y, by_output)
        return None, x.grad


class Checkpointed(nn.Module):
    def __init__(self, checkpoint):
        super().__init__()
        torch.manual_seed(0)
        self.checkpoint = checkpoint
        self.a = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.b = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        x = x if x.requires_grad else x.clone().requires_grad_()
        return self.b(Rerun.apply(self.a, x) if self.checkpoint else self.a(x))


@pytest.mark.parametrize("scorer", ["snip", "grad_norm", "plain", "zico", "synflow", "short_training"])
def test_layers_that_a_backward_pass_runs_again_count(scorer, x):
    assert autogas.score(Checkpointed(True), x, scorer) == pytest.approx(
        autogas.score(Checkpointed(False), x, scorer), rel=1e-5
    )


@pytest.mark.parametrize("scorer", ["fisher", "grasp"])
def test_what_needs_features_of_layers_that_are_run_again_is_refused(scorer, x):
    with pytest.raises(InputError, match=r"again in its backward pass|backward pass of the network fails"):
        autogas.score(Checkpointed(True), x, scorer)


def test_hooks_of_parameters_are_heeded(x):
    net = two(nn.Conv2d)
    mask = (torch.rand(net[0].weight.shape) > 0.5).float()
    net[0].weight.register_hook(lambda g: g * mask)
    weights = [net[0].weight, net[2].weight]
    found = torch.autograd.grad(F.l1_loss(net(x), x), weights)
    by_hand = sum((w * g).abs().sum().item() for w, g in zip(weights, found, strict=True))
    assert autogas.score(net, x, "snip") == pytest.approx(by_hand, rel=1e-5)


class Hooking(nn.Conv2d):
    def forward(self, x):
        if self.weight.requires_grad:
            self.weight.register_hook(lambda g: 2 * g)
        return super().forward(x)


@pytest.mark.parametrize("proxy", ["snip", "concord"])
def test_hooks_that_a_pass_registers_are_gone(proxy, x):
    net = two(Hooking)
    first = autogas.score(net, x, proxy)
    assert autogas.score(net, x, proxy) == first
    assert all(not p._backward_hooks for p in net.parameters())


class History(list):
    def append(self, value):
        super().append(value)
        self.total = getattr(self, "total", 0) + 1


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.seen, self.array = nn.Conv2d(3, 3, 3, padding=1), History(), np.zeros(2)

    def forward(self, x):
        self.seen.append(0)
        self.array.resize(len(self.array) + 1, refcheck=False)
        return self.a(x) * self.seen.total


@pytest.mark.parametrize("proxy", ["snip", "autogas"])
def test_attributes_of_containers_and_shapes_of_arrays_are_put_back(proxy, x):
    net = Counting()
    assert autogas.score(net, x, proxy) == autogas.score(net, x, proxy)
    assert vars(net.seen) == {}
    assert net.array.tolist() == [0, 0]


class OwnLazy(nn.modules.lazy.LazyModuleMixin, nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.UninitializedParameter()

    def initialize_parameters(self, x):
        self.weight.materialize((8, x.shape[1], 3, 3))
        nn.init.normal_(self.weight)

    def forward(self, x):
        return F.conv2d(x, self.weight, padding=1)


def test_a_lazy_layer_of_ones_own_is_scored_once_it_ran(x):
    net = nn.Sequential(OwnLazy(), nn.ReLU(), nn.Conv2d(8, 3, 1))
    with pytest.raises(InputError, match="run it once"):
        autogas.score(net, x, "params")
    net(x)
    assert autogas.score(net, x, "params") == 8 * 3 * 9 + 27


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.k = nn.Conv2d(3, 8, 3), nn.Parameter(torch.ones(8, 1, 1), requires_grad=False)

    def forward(self, x):
        h = self.a(x)
        self.k.mul_(0.9).add_(0.1 * h.detach().abs().mean())
        return h / self.k


def test_a_frozen_parameter_may_be_written(x):
    net = Frozen()
    net(x).abs().mean().backward()
    by_hand = (net.a.weight * net.a.weight.grad).abs().sum().item()
    assert autogas.score(Frozen(), x, "snip") == pytest.approx(by_hand, rel=1e-5)


def test_zero_gradients_rank_nothing(x):
    class Off(nn.Conv2d):
        def forward(self, x):
            with torch.no_grad():
                return super().forward(x)

    with pytest.raises(InputError, match="zero for every weight"):
        autogas.score(Off(3, 8, 3), x, "eznas")
