"""What says something of a sample and what does not, however a network writes or folds it."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogas import explain, score, score_many

SCORERS = ("separation", "concord", "entropy", "fisher")


def same(one, other, inputs, scorers=SCORERS, **options):
    """Both score alike, alone and in company."""
    expected = score_many(other, inputs, scorers)
    assert score_many(one, options.get("given", inputs), scorers) == pytest.approx(expected, rel=1e-3)
    for name in scorers:
        assert score(one, options.get("given", inputs), name) == pytest.approx(expected[name], rel=1e-3)


class Queries(nn.Module):
    """Products with keys of learned queries, as many as samples, after writes to features."""

    def __init__(self, product):
        super().__init__()
        self.product = product
        self.first, self.second, self.keys = (nn.Linear(6, 6) for _ in range(3))
        self.queries, self.positions = (nn.Parameter(torch.randn(8, 6)) for _ in range(2))

    def forward(self, x):
        h = torch.relu_(self.first(x))
        h = self.second(h)
        h += x
        h = torch.tanh(h)
        keys = self.keys(self.queries + self.positions)
        return self.product(self.product(h, keys.t()).softmax(-1), keys)


def test_memory_that_was_freed_is_no_reason():
    torch.manual_seed(0)
    net = Queries(torch.matmul)
    plain = Queries(lambda x, weight: F.linear(x, weight.t()))
    plain.load_state_dict(net.state_dict())
    x = torch.randn(8, 6)
    expected = score_many(plain, x, ["entropy", "fisher"])
    for _ in range(10):
        assert score_many(net, x, ["entropy", "fisher"]) == pytest.approx(expected, rel=1e-4)


@dataclasses.dataclass
class Condition:
    text: Tensor


class Slotted:
    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text


class Nested:
    def __init__(self, text):
        self.parts = {"of": [Condition(text)]}

    @property
    def text(self):
        return self.parts["of"][0].text


class Conditioned(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 3, 3)
        self.embed, self.scale = nn.Linear(5, 16), nn.Linear(16, 8)

    def forward(self, x, condition):
        condition = condition if isinstance(condition, Tensor) else condition.text
        shift = self.scale(F.silu(self.embed(condition)))
        return self.last(F.silu(self.second(F.silu(self.first(x) + shift[:, :, None, None]))))


@pytest.mark.parametrize("kind", [Condition, Slotted, Nested])
def test_tensors_inside_objects_are_samples(kind):
    torch.manual_seed(0)
    net, x, text = Conditioned(), torch.randn(4, 3, 12, 12), torch.randn(4, 5)
    same(net, net, (x, text), (*SCORERS, "num_activations"), given=(x, kind(text)))


class Folded(nn.Module):
    """No rectifier, one normalisation, tokens folded two ways."""

    def __init__(self, *, turned):
        super().__init__()
        self.turned = turned
        self.first, self.norm = nn.Linear(8, 16), nn.LayerNorm(16)
        self.second, self.last = nn.Linear(16, 16), nn.Linear(16, 8)

    def forward(self, x):
        samples, tokens, _ = x.shape
        h = (x.transpose(0, 1) if self.turned else x).reshape(samples * tokens, 8)
        h = torch.tanh(self.norm(self.first(h)))
        if self.turned:
            h = h.view(tokens, samples, 16).transpose(0, 1).reshape(samples * tokens, 16)
        return self.last(torch.tanh(self.second(h))).view(samples, tokens, 8)


def test_folds_are_those_of_the_first_pass_where_convolutions_stand_in():
    torch.manual_seed(0)
    turned, plain = Folded(turned=True), Folded(turned=False)
    plain.load_state_dict(turned.state_dict())
    same(turned, plain, torch.randn(6, 1, 8) + 0.2 * torch.randn(6, 4, 8), ("autogas", "common", "concord"))


def test_a_network_that_takes_samples_one_by_one_is_explained():
    class OneByOne(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 3))

        def forward(self, x):
            return torch.cat([self.net(sample[None]) for sample in x])

    found = explain(OneByOne().eval(), torch.randn(4, 3, 8, 8))
    assert all(layer.left_out for layer in found.layers)


class Dropping(nn.Module):
    def __init__(self, share, *, fold):
        super().__init__()
        self.fold = fold
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 6)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Dropout(share), nn.Linear(32, 16))
            for _ in range(3)
        )

    def forward(self, x):
        h = self.first(x.reshape(-1, 6) if self.fold else x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h).view(x.shape)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_dropout_hides_no_folds(share, seed):
    torch.manual_seed(seed)
    folded, plain = Dropping(share, fold=True), Dropping(share, fold=False)
    plain.load_state_dict(folded.state_dict())
    same(folded, plain, torch.randn(4, 8, 6))


class Numbers(nn.Module):
    """Adds rows that are made of Python's numbers of samples."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows
        self.embed, self.first, self.last = nn.Linear(4, 8), nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x):
        return self.last(torch.relu(self.first(x) + torch.relu(self.embed(self.rows(x.mean(1))))))


def assigned(means, number):
    rows = torch.zeros(len(means), 4)
    for i in range(len(means)):
        rows[i] = number(means[i])
    return rows


ROWS = {
    "float": lambda means: assigned(means.detach(), float),
    "item": lambda means: assigned(means, Tensor.item),
    "full": lambda means: torch.stack([torch.full((4,), mean.item()) for mean in means]),
}


@pytest.mark.parametrize("name", ROWS)
def test_numbers_that_are_read_of_samples_are_theirs(name):
    torch.manual_seed(0)
    net, plain = Numbers(ROWS[name]), Numbers(lambda means: means[:, None].expand(-1, 4))
    net.load_state_dict(plain.state_dict())
    x = torch.randn(8, 6)
    expected = score_many(plain, x, ["concord", "num_activations"])
    assert score_many(net, x, ["concord", "num_activations"]) == pytest.approx(expected, rel=1e-4)


class Clipped(nn.Module):
    def __init__(self, write):
        super().__init__()
        self.write = write
        self.first, self.last = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x):
        with torch.no_grad():
            self.write(self.last.weight)
        return self.last(torch.tanh(self.first(x)))


WRITES = {"clipped": lambda weight: weight.clamp_(-0.05, 0.05), "decayed": lambda weight: weight.mul_(0.99)}


@pytest.mark.parametrize("name", WRITES)
def test_passes_that_write_weights_leave_the_graphs_of_others_valid(name):
    torch.manual_seed(0)
    net, x = Clipped(WRITES[name]), torch.randn(8, 6)
    before = net.last.weight.clone()
    names = ["snip", "concord", "grasp", "synflow", "fisher", "macs", "grad_norm"]
    together = score_many(net, x, names)
    assert together == pytest.approx({each: score(net, x, each) for each in names}, rel=1e-5)
    assert torch.equal(net.last.weight, before)
