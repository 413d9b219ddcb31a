"""Networks are left as they were, whatever they are made of and whatever they do to themselves."""

import contextlib
import dataclasses
import random
import types
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from autogas import InputError, list_proxies, score, score_many
from autogas.proxies.isolation.unchanged import unchanged

OF_MODULE = [name for name in list_proxies() if not name.startswith(("num_down", "num_skips"))]
EXPRESSIONS = ["gram > slogdet", "swish > above_mean > gram > slogdet > pow2"]


def images(n=8, size=16):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


class TwoNames(nn.Module):
    """A layer under two names."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)])
        self.first = self.layers[0]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class TiedWeights(nn.Module):
    """A parameter in two layers, one activation with weights at two places, and a parameter in a plain list."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down, self.up = nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(8, 3, 3, padding=1)
        self.up.weight = nn.Parameter(self.down.weight.detach().clone())
        self.down.weight = self.up.weight
        self.slope = nn.PReLU()
        self.body = nn.Sequential(nn.Conv2d(8, 8, 1), self.slope)
        self.plain = [self.slope.weight, {"table": self.up.weight}]

    def forward(self, x):
        x = self.slope(self.down(x))
        return self.up(self.body(self.body(x)) * self.plain[0])


def slots(model):
    """Every name of every tensor, and what it stands for; buffers may be written, and put back, in between."""
    parameters = model.named_parameters(remove_duplicate=False)
    versions = {id(p): p._version for p in model.parameters()}
    return {
        name: (id(t), t.dtype, t.requires_grad, versions.get(id(t)), t.data_ptr(), t.detach().clone(), t.grad)
        for name, t in [*parameters, *model.named_buffers(remove_duplicate=False)]
    }


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(a[5], b[5]) and a[:5] == b[:5] and a[6] is b[6]
        for a, b in zip(first.values(), second.values(), strict=True)
    )


@pytest.mark.parametrize("name", OF_MODULE)
@pytest.mark.parametrize("make", [TwoNames, TiedWeights])
def test_shared_parts_keep_their_tensors(make, name):
    model = make()
    before = slots(model)
    score(model, images(), name)
    assert same(before, slots(model))


@pytest.mark.parametrize("name", OF_MODULE)
def test_an_optimizer_made_before_still_moves_a_shared_layer(name):
    model, untouched = TwoNames(), TwoNames()
    optimizers = [torch.optim.SGD(net.parameters(), lr=1.0) for net in (model, untouched)]
    score(model, images(), name)
    for net, optimizer in zip((model, untouched), optimizers, strict=True):
        net(images()).square().mean().backward()
        optimizer.step()
    assert torch.equal(model.first.weight, untouched.first.weight)
    assert not torch.equal(model.first.weight, TwoNames().first.weight)


def test_shared_parts_score_as_in_one_pass_of_the_network_itself():
    model, x = TiedWeights(), images()
    loss = F.l1_loss(model(x), x)
    weights = [p for p in model.parameters() if p.dim() > 1]
    by_hand = sum(
        float((w * g).detach().abs().sum()) for w, g in zip(weights, torch.autograd.grad(loss, weights), strict=True)
    )
    assert score(model, x, "snip") == pytest.approx(by_hand, rel=1e-5)


LAYERS = {
    "conv": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "norm": lambda: nn.BatchNorm2d(4),
    "spectral": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1)),
    "old spectral": lambda: nn.utils.spectral_norm(nn.Conv2d(4, 4, 1)),
    "prelu": lambda: nn.PReLU(),
    "relu": lambda: nn.ReLU(inplace=True),
    "dropout": lambda: nn.Dropout(0.3),
}


class Shared(nn.Module):
    """Layers in any order, each of them as often as it is drawn, some under further names."""

    def __init__(self, kinds, order, names):
        super().__init__()
        torch.manual_seed(0)
        pool = [LAYERS[kind]() for kind in kinds]
        self.stem, self.end = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
        self.steps = nn.ModuleList(pool[i % len(pool)] for i in order)
        for number, i in enumerate(names):
            setattr(self, f"other{number}", pool[i % len(pool)])

    def forward(self, x):
        x = F.relu(self.stem(x))
        for step in self.steps:
            x = step(x)
        return self.end(x)


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4),
    order=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    names=st.lists(st.integers(0, 9), max_size=3),
    training=st.booleans(),
    scorers=st.sets(st.sampled_from(["snip", "synflow", "zico", "macs", "zen", "nwot", "grasp", *EXPRESSIONS])),
)
def test_any_network_with_shared_parts_is_unchanged(kinds, order, names, training, scorers):
    model = Shared(kinds, order, names).train(training)
    before = slots(model)
    for scorer in sorted(scorers):
        with contextlib.suppress(
            InputError, RuntimeError
        ):  # no score, or no gradient, which is no reason to be changed
            score(model, images(4, 8), scorer)
    assert same(before, slots(model))


class Writes(nn.Module):
    """Changes something of itself in every pass."""

    def __init__(self, change):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 3, 1)
        self.words = nn.Embedding(4, 8, max_norm=0.5)
        self.plain = torch.zeros(8)
        self.cache = {"means": [torch.zeros(8)], "calls": 0, "last": deque(maxlen=2), "seen": set()}
        self.pair = (torch.zeros(8), torch.ones(8))
        self.calls = 0
        self.change = change

    def forward(self, x):
        x = self.conv(x)
        self.change(self, x)
        shift = self.plain + self.cache["means"][-1] + self.pair[0]
        return self.head(F.relu(x + shift[:, None, None]))

    def everything(self):
        """All that a pass may change, as numbers."""
        held = [*self.state_dict().values(), self.plain, *self.cache["means"], *self.pair]
        rest = [
            self.cache["calls"],
            len(self.cache["last"]),
            self.cache["seen"],
            self.calls,
            self.training,
            vars(self).keys(),
        ]
        return [t.tolist() for t in held], str(rest)


def moved(x):
    return x.detach().mean((0, 2, 3))


CHANGES = {
    "plain tensor in place": lambda m, x: m.plain.mul_(0.9).add_(moved(x)),
    "plain tensor replaced": lambda m, x: setattr(m, "plain", moved(x)),
    "tensor in a list in a dictionary": lambda m, x: m.cache["means"][0].add_(moved(x)),
    "list grows": lambda m, x: m.cache["means"].append(moved(x)),
    "tensor in a tuple": lambda m, x: m.pair[0].add_(moved(x)),
    "dictionary": lambda m, x: m.cache.update(calls=m.cache["calls"] + 1, new=x),
    "deque": lambda m, x: m.cache["last"].append(x),
    "set": lambda m, x: m.cache["seen"].add(len(m.cache["seen"])),
    "number": lambda m, x: setattr(m, "calls", m.calls + 1),
    "new attribute": lambda m, x: setattr(m, "features", x),
    "mode": lambda m, x: m.eval(),
    "new layer": lambda m, x: setattr(m, "extra", nn.Conv2d(1, 1, 1)),
    "parameter in place": lambda m, x: torch.no_grad()(m.head.weight.mul_)(0.9),
    "parameter's data": lambda m, x: m.head.weight.data.mul_(0.9),
    "parameter's data replaced": lambda m, x: setattr(m.head.weight, "data", m.head.weight.data * 2),
    "view of a parameter": lambda m, x: m.head.weight.detach().view(-1)[3:].fill_(0.5),
    "entry of a parameter": lambda m, x: m.head.weight.detach().__setitem__(0, 1.0),
    "out of a function": lambda m, x: torch.clamp(m.head.weight.detach(), max=0.01, out=m.head.weight.detach()),
    "numpy's view": lambda m, x: np.multiply(m.head.weight.detach().numpy(), 2, out=m.head.weight.detach().numpy()),
    "several at once": lambda m, x: torch._foreach_mul_([p.detach() for p in m.head.parameters()], 0.5),
    "parameter replaced": lambda m, x: setattr(m.head, "weight", nn.Parameter(m.head.weight.detach() * 0.9)),
    "table with a largest norm": lambda m, x: m.words(torch.arange(4)),
    "gradients wanted": lambda m, x: m.head.requires_grad_(False),
    "hook": lambda m, x: m.head.register_forward_hook(lambda *_: None),
}


@pytest.mark.parametrize("name", ["gram > slogdet", "snip", "nwot", "zico", "synflow", "macs"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_a_pass_changes_is_put_back(change, name):
    model = Writes(CHANGES[change])
    before, held = model.everything(), slots(model)
    hooks = len(model.head._forward_hooks)
    first = score(model, images(4, 8), name)
    assert model.everything() == before
    assert {k: (v[0], *v[2:3]) for k, v in slots(model).items()} == {k: (v[0], *v[2:3]) for k, v in held.items()}
    assert len(model.head._forward_hooks) == hooks
    assert score(model, images(4, 8), name) == first


@pytest.mark.parametrize("change", CHANGES)
def test_that_a_pass_changes_something(change):
    model = Writes(CHANGES[change])
    before = str(model.everything()), str([p.requires_grad for p in model.parameters()]), str(model.head._forward_hooks)
    model(images(4, 8))
    after = str(model.everything()), str([p.requires_grad for p in model.parameters()]), str(model.head._forward_hooks)
    assert before != after


def test_a_graph_made_before_is_still_good():
    model, x = TwoNames(), images()
    loss = model(x).square().mean()
    score_many(model, x, ["snip", "synflow", "macs", *EXPRESSIONS])
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_memory_that_cannot_be_written_is_not_written():
    model = TwoNames()
    model.first.register_buffer("table", torch.zeros(4))
    array = np.zeros(4, dtype=np.float32)
    model.first.table = torch.from_numpy(array)
    array.flags.writeable = False
    before = array.copy()
    score(model, images(), "gram > slogdet")
    assert (array == before).all()


class Rolls(nn.Module):
    """Draws from every generator there is."""

    def forward(self, x):
        return F.relu(x * random.random() + 0.1 * float(np.random.rand()) + 0.1 * torch.rand(()))  # noqa: NPY002


@pytest.mark.parametrize("name", ["gram > slogdet", "nwot", "short_training"])
def test_random_states_of_python_numpy_and_torch_stay(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Rolls(), nn.Conv2d(4, 3, 1))
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    score(model, images(), name)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == state  # noqa: NPY002


def interrupted(model, x):
    with unchanged(model, (x,)):
        model(x)
        model.plain = None
        raise KeyError


def test_everything_is_put_back_when_the_block_fails():
    model = Writes(CHANGES["plain tensor in place"])
    before = model.everything()
    with pytest.raises(KeyError):
        interrupted(model, images(4, 8))
    assert model.everything() == before


@pytest.mark.parametrize("name", ["snip", "gram > slogdet", "params"])
def test_lazy_layers_ask_for_one_pass(name):
    net = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(3, 3))
    with pytest.raises(InputError, match="lazy layers that have no weights yet: run it once"):
        score(net, images(), name)
    net(images())
    assert np.isfinite(score(net, images(), name))


class RectifiesItsWeight(nn.Module):
    def __init__(self, rectify):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -2.0], [-3.0, 4.0]]))
        self.rectify = rectify

    def forward(self, x):
        with torch.no_grad():
            self.rectify(self.weight)
        return x @ self.weight


@pytest.mark.parametrize(
    "rectify",
    [
        lambda w: F.relu(w, True),
        lambda w: F.relu(w, inplace=True),
        lambda w: F.hardtanh(w, 0.0, 3.0, True),
        lambda w: F.leaky_relu(w, 0.1, inplace=True),
        lambda w: F.dropout(w, 0.9, True, True),
    ],
)
def test_weights_that_an_argument_lets_be_written_come_back(rectify):
    net = RectifiesItsWeight(rectify)
    before = net.weight.detach().clone()
    with unchanged(net, (torch.ones(2, 2),)):
        net(torch.ones(2, 2))
        assert not torch.equal(net.weight, before)
    assert torch.equal(net.weight, before)


@dataclasses.dataclass
class Memory:
    """An object of the network's authors."""

    seen: torch.Tensor


class Elsewhere(nn.Module):
    """Keeps what it has seen in something that is no tensor of its own."""

    everywhere = torch.zeros(8)

    def __init__(self, where):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.where = nn.Conv2d(3, 8, 3), where
        self.array = np.zeros(8)
        self.plain, self.memory = types.SimpleNamespace(seen=torch.zeros(8)), Memory(torch.zeros(8))
        self.torchs, self.numpys = torch.Generator().manual_seed(1), np.random.default_rng(1)
        self.legacy = np.random.RandomState(1)

    def forward(self, x):
        h = self.conv(x).relu()
        mean = h.detach().mean((0, 2, 3))
        if self.where == "array":
            self.array += mean.numpy()
        elif self.where == "plain":
            self.plain.seen = self.plain.seen + mean
        elif self.where == "object":
            self.memory.seen += mean
        elif self.where == "class":
            Elsewhere.everywhere += mean
        added = {
            "array": lambda: torch.from_numpy(self.array.copy()).to(h.dtype),
            "plain": lambda: self.plain.seen,
            "object": lambda: self.memory.seen,
            "class": lambda: self.everywhere,
            "torch": lambda: torch.rand(8, generator=self.torchs),
            "numpy": lambda: torch.from_numpy(self.numpys.random(8)).to(h.dtype),
            "legacy": lambda: torch.from_numpy(self.legacy.rand(8)).to(h.dtype),
        }[self.where]()
        return h + added.view(1, 8, 1, 1)


@pytest.mark.parametrize("where", ["array", "plain", "object", "class", "torch", "numpy", "legacy"])
@pytest.mark.parametrize("proxy", ["snip", "autogas", "short_training", "synflow"])
def test_what_a_network_keeps_elsewhere_is_put_back(where, proxy):
    net, x = Elsewhere(where), images()
    assert score(net, x, proxy) == score(net, x, proxy)
    assert not net.array.any()
    assert not net.plain.seen.any()
    assert not net.memory.seen.any()
    assert not Elsewhere.everywhere.any()
    assert torch.equal(net.torchs.get_state(), torch.Generator().manual_seed(1).get_state())
    assert net.numpys.bit_generator.state == np.random.default_rng(1).bit_generator.state
