"""Activations that a network writes out score as the functions of torch that they are."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autogas import explain, score_many

SCORERS = ("autogas", "nwot", "swap", "num_activations", "separation", "synflow", "zen")


class Net(nn.Module):
    """Two of the same activation."""

    def __init__(self, activation, **parts):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.activation = activation
        self.register_buffer("slope", torch.ones(8, 1, 1))
        self.gate = nn.Linear(8, 8)

    def forward(self, x):
        x = self.activation(self, self.norm(self.first(x)))
        return self.last(self.activation(self, self.second(x)))


def made(activation):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net(activation)


def images():
    return torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def scores(net):
    return score_many(net, images(), SCORERS)


def assigned(_, x):
    x = x.clone()
    x[x < 0] = 0
    return x


def filled(_, x):
    return x.masked_fill_(x <= 0, 0)


def through_a_gate_that_is_kept(_, x):
    gate = torch.sigmoid(x)
    return x.mul_(gate)


WRITTEN = {
    "where": (lambda _, x: torch.where(x > 0, x, torch.zeros_like(x)), F.relu),
    "where, turned": (lambda _, x: torch.where(x <= 0, 0.0, x), F.relu),
    "a slope": (lambda _, x: torch.where(x > 0, x, 0.2 * x), lambda x: F.leaky_relu(x, 0.2)),
    "larger of both": (lambda _, x: torch.maximum(x, 0.2 * x), lambda x: F.leaky_relu(x, 0.2)),
    "larger than zero": (lambda _, x: torch.maximum(torch.zeros(()), x), F.relu),
    "max": (lambda _, x: torch.max(x, torch.zeros_like(x)), F.relu),
    "a mask": (lambda _, x: x * (x > 0), F.relu),
    "a mask of numbers": (lambda _, x: (x > 0).float() * x, F.relu),
    "half of the sum": (lambda _, x: (x + x.abs()) / 2, F.relu),
    "assigned": (assigned, F.relu),
    "filled": (filled, F.relu),
    "swish": (lambda _, x: x * torch.sigmoid(x), F.silu),
    "swish, in place": (through_a_gate_that_is_kept, F.silu),
    "swish, learned": (lambda net, x: x * torch.sigmoid(net.slope * x), F.silu),
    "swish, a quotient": (lambda _, x: x / (1 + torch.exp(-x)), F.silu),
    "GELU of GPT-2": (
        lambda _, x: 0.5 * x * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0)))),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    "GELU of BERT": (lambda _, x: x * 0.5 * (1.0 + torch.erf(x / 2**0.5)), F.gelu),
    "mish": (lambda _, x: x * torch.tanh(F.softplus(x)), F.mish),
    "where, as a method": (lambda _, x: x.where(x > 0, 0.0), F.relu),
    "where, by name": (lambda _, x: torch.where(x > 0, input=x, other=0.0), F.relu),
    "cut at a tensor": (lambda _, x: x.clamp(min=torch.tensor(0.0)), F.relu),
    "max, by name": (lambda _, x: torch.max(x, other=torch.zeros_like(x)), F.relu),
    "filled, by name": (lambda _, x: torch.masked_fill(x, mask=x < 0, value=0.0), F.relu),
    "a difference": (lambda _, x: 0.6 * x - (-0.4) * x.abs(), lambda x: F.leaky_relu(x, 0.2)),
    "swish, special": (lambda _, x: x * torch.special.expit(x), F.silu),
    "swish, one over": (lambda _, x: x * (1 / (1 + torch.exp(-x))), F.silu),
    "swish, by name": (lambda _, x: torch.mul(input=x, other=torch.sigmoid(x)), F.silu),
    "swish, of a logarithm": (lambda _, x: x * F.logsigmoid(x).exp(), F.silu),
    "GELU, special": (lambda _, x: x * torch.special.ndtr(x), F.gelu),
    "GELU, complementary": (lambda _, x: x * 0.5 * torch.special.erfc(-x / 2**0.5), F.gelu),
    "hardswish": (lambda _, x: x * torch.clamp(x / 6 + 0.5, 0, 1), F.hardswish),
    "hardswish of MobileNet": (lambda _, x: x * F.relu6(x + 3) / 6, F.hardswish),
    "hardswish, as a module": (lambda _, x: x * (nn.ReLU6()(x + 3.0) / 6), F.hardswish),
    "hardswish, cut at six": (lambda _, x: x * (x + 3).clamp(0, 6) / 6, F.hardswish),
    "a mask apart": (lambda _, x: x * (x > 0).detach().float(), F.relu),
    "a mask of values": (lambda _, x: x * (x.data > 0), F.relu),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_it_scores_as_the_function_does(name):
    by_hand, function = WRITTEN[name]
    net, known = scores(made(by_hand)), scores(made(lambda _, x: function(x)))
    assert net == pytest.approx(known, rel=1e-5)


def test_the_gelu_of_openai_is_one_activation():
    found = explain(made(lambda _, x: x * torch.sigmoid(1.702 * x)), images(), "nwot")
    assert [(layer.call, layer.shape) for layer in found.layers if layer.kind == "activations"] == [
        ("by_hand", (8, 8, 12, 12))
    ] * 2


def test_in_an_exported_graph_too():
    net = made(WRITTEN["swish"][0]).eval()
    graph = torch.export.export(net, (images(),)).module()
    assert score_many(graph, images(), ["nwot"]) == pytest.approx(score_many(net, images(), ["nwot"]))


def changed_between(_, x):
    gate = torch.sigmoid(x)
    x.add_(1)
    return x * gate


NONE = {
    "gates of channels": lambda net, x: x * torch.sigmoid(net.gate(x.mean((2, 3))))[..., None, None],
    "half of the channels": lambda _, x: (lambda a, b: torch.cat([a * torch.sigmoid(b), a], 1))(*x.chunk(2, 1)),
    "a square": lambda _, x: x * x,
    "a residual": lambda net, x: x + net.second(x).abs(),
    "another's mask": lambda _, x: x * (torch.rand_like(x) > 0.5),
    "a clipped share": lambda _, x: x.tanh(),
    "another tensor by now": changed_between,
    "unit length": lambda _, x: x / x.pow(2).mean(1, keepdim=True).sqrt(),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_activation_is_none(name):
    layers = explain(made(NONE[name]), images(), "nwot").layers
    assert not [layer for layer in layers if layer.kind == "activations"]


def test_a_gate_that_is_cut_at_six_is_no_rectifier_of_its_own():
    layers = explain(made(lambda _, x: x * F.relu6(x + 3) / 6), images(), "nwot").layers
    assert [layer.call for layer in layers if layer.kind == "activations"] == ["by_hand"] * 2
    layers = explain(made(lambda net, x: net.second(x) * (F.relu6(x + 3) / 6)), images(), "nwot").layers
    assert not [layer for layer in layers if layer.kind == "activations"]
    layers = explain(made(lambda _, x: F.relu6(x + 2)), images(), "nwot").layers
    assert [layer.call for layer in layers if layer.kind == "activations"] == ["relu6"] * 2


def test_gates_are_no_ends_of_a_network_to_synflow():
    """A sigmoid of zero input halves; taken for an end it would square the flow."""

    class Gated(nn.Module):
        def __init__(self, gate):
            super().__init__()
            self.a, self.b, self.gate = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), gate

        def forward(self, x):
            return self.b(self.a(x) * self.gate(self.a(x)))

    halved, gated = Gated(lambda x: torch.full_like(x, 0.5)), Gated(torch.sigmoid)
    gated.load_state_dict(halved.state_dict())
    x = torch.ones(2, 4)
    assert score_many(gated, x, ["synflow"]) == pytest.approx(score_many(halved, x, ["synflow"]), rel=1e-5)
