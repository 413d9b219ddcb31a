import warnings

import pytest
import torch
from torch import nn

from autogas import DEFAULT_PROXY, InputError, explain, get_proxy, score


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A dead branch, and a layer whose batch is something else."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, 3, 3, padding=1)
        self.hyper = nn.Linear(4, 3)

    def forward(self, x):
        dead = torch.relu(torch.zeros(len(x), 5))
        return self.head(self.body(x)) + self.hyper(torch.ones(7, 4)).sum() + dead.sum()


@pytest.fixture
def net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net()


def test_every_layer_is_listed_in_order_with_its_reason(net):
    found = explain(net, noise(4, 3, 8, 8), "autogas")
    assert [(layer.module, layer.call, layer.kind, layer.shape) for layer in found.layers] == [
        ("", "relu", "activations", (4, 5)),
        ("body.0", "conv2d", "convolutions", (4, 8, 8, 8)),
        ("body.1", "batch_norm", "normalisations", (4, 8, 8, 8)),
        ("body.2", "relu", "activations", (4, 8, 8, 8)),
        ("head", "conv2d", "convolutions", (4, 3, 8, 8)),
        ("hyper", "linear", "convolutions", (7, 3)),
    ]
    assert [layer.left_out for layer in found.layers] == [
        "is made of weights alone",
        *4 * [""],
        "is made of weights alone",
    ]
    assert [layer.entries for layer in found.layers] == [None, 512, 512, 512, 192, None]


@pytest.mark.filterwarnings("ignore:[12] of")
@pytest.mark.parametrize(
    "proxy",
    [
        "gram > trace > sum",
        "autogas",
        "convolutions > gram > trace > log > sum",
        "all@late > covariance > eigenvalue_max > sum",
    ],
)
def test_values_add_up_to_the_score(net, proxy):
    x = noise(4, 3, 8, 8)
    found = explain(net, x, proxy)
    values = [layer.values[0] for layer in found.layers if layer.values[0] is not None]
    assert sum(values) == pytest.approx(found.score, rel=1e-9) == score(net, x, proxy)


def test_each_term_has_its_column(net):
    found = explain(net, noise(4, 3, 8, 8))
    assert found.proxy == DEFAULT_PROXY
    assert found.terms == tuple(str(term) for _, term in get_proxy(DEFAULT_PROXY).terms)
    assert list(found.frame().columns[-len(found.terms) :]) == [f"term {i + 1}" for i in range(len(found.terms))]


@pytest.mark.filterwarnings("ignore:.*no dimension of samples")
def test_scorers_that_are_no_expressions_list_layers_too(net):
    found = explain(net, noise(4, 3, 8, 8), "nwot")
    assert found.score == score(net, noise(4, 3, 8, 8), "nwot")
    assert found.terms == ()
    assert len(found.layers) == 6


def test_a_network_without_a_score_is_explained(net):
    x = noise(4, 3, 8, 8)
    found = explain(net, torch.cat([x, x]), "nwot")
    assert found.score is None
    assert "its kernel is singular" in found.why
    assert "no score: " in str(found)


def test_it_prints_well(net):
    text = str(explain(net, noise(4, 3, 8, 8), "autogas"))
    assert text.startswith("autogas: ")
    assert "6 layers, 2 of them left out" in text
    assert "4x8x8x8" in text
    page = explain(net, noise(4, 3, 8, 8), "autogas")._repr_html_()
    assert "<table" in page
    assert "4x8x8x8" in page


def test_it_says_which_layers_convolutions_stand_in_for(net):
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert "no activations: convolutions are read where these are named" in str(explain(plain, noise(4, 3, 8, 8)))
    assert "are read where" not in str(explain(net, noise(4, 3, 8, 8)))


def test_the_network_and_torch_stay_as_they_were(net):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    explain(net, noise(4, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


class Hypernetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 4)
        self.others = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))

    def forward(self, x):
        return self.last(x) + sum(layer(torch.ones(7, 3)).sum() for layer in self.others)


def test_a_score_of_a_part_warns():
    with pytest.warns(UserWarning, match=r"4 of 5 layers have no dimension of samples .* autogas.explain"):
        score(Hypernetwork(), noise(4, 4), "convolutions > gram > trace")


@pytest.mark.filterwarnings("ignore:.*no dimension of samples")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated", "ignore:[12] of 2 layers")
def test_scripted_parts_are_told_of(net):
    x = noise(4, 3, 8, 8)
    net.body = torch.jit.script(net.body)
    for proxy in ("convolutions > gram > trace", "snip"):
        with pytest.warns(UserWarning, match="4 scripted modules or functions, whose layers are not seen"):
            score(net, x, proxy)
    assert score(net, x, "macs") > 0
    with pytest.raises(InputError, match="the network is a scripted module, whose layers are not seen"):
        score(net.body, x, "snip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert explain(net, x, "convolutions > gram > trace").hidden > 0
