"""The same function written in two ways has the same score, and what is no activation changes none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import autogas
from autogas.errors import InputError

X = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
IDS = torch.randint(0, 20, (8, 7), generator=torch.Generator().manual_seed(1))
TIMES = torch.rand(8, generator=torch.Generator().manual_seed(2))


def convolution(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Between(nn.Module):
    """A function between two convolutions, and another one at the end."""

    def __init__(self, between=F.relu, end=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = convolution(3, 8), convolution(8, 3)
        self.between, self.end = between, end

    def forward(self, x):
        return self.end(self.last(self.between(self.first(x))))


class Tokens(nn.Module):
    def __init__(self, prepare):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.first, self.last, self.prepare = (
            nn.Embedding(20, 8),
            nn.Linear(8, 16),
            nn.Linear(16, 5),
            prepare,
        )

    def forward(self, ids):
        return self.last(F.relu(self.first(self.embed(self.prepare(ids)))))


@pytest.mark.parametrize(
    "prepare",
    [
        lambda ids: ids.clamp(min=0),
        lambda ids: ids * (ids > 0),
        lambda ids: torch.where(ids < 0, 0, ids),
        lambda ids: torch.maximum(ids, torch.zeros_like(ids)),
        F.relu,
    ],
)
def test_whole_numbers_are_no_features(prepare):
    proxies = ["concord", "autogas", "num_activations", "nwot"]
    assert autogas.score_many(Tokens(prepare), IDS, proxies) == autogas.score_many(Tokens(lambda x: x), IDS, proxies)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (lambda x: x.masked_fill(x > 1e4, 1e4), lambda x: x),
        (lambda x: torch.where(x.abs() < 1e4, x, torch.zeros_like(x)), lambda x: x),
        (lambda x: torch.where(x > 20, x, torch.log1p(torch.exp(x))), F.softplus),
        (lambda x: x * (x.abs() > 0.5), lambda x: F.hardshrink(x, 0.5)),
        (lambda x: x * torch.gt(x, torch.zeros_like(x)), F.relu),
        (lambda x: torch.where(x < 0, 0.01 * x, x), F.leaky_relu),
        (lambda x: x * (x > torch.finfo(x.dtype).tiny), F.relu),
        (lambda x: x * (x > np.float32(0)), F.relu),
        (lambda x: x.clamp(-1, 1), F.hardtanh),
        (lambda x: x.clamp(0, 1), lambda x: F.hardtanh(x, 0.0, 1.0)),
        (F.relu6, lambda x: F.hardtanh(x, 0.0, 6.0)),
    ],
)
def test_only_what_cuts_at_zero_is_a_rectifier(written, meant):
    proxies = ["concord", "autogas", "nwot"]
    expected = autogas.score_many(Between(meant), X, proxies)
    assert autogas.score_many(Between(written), X, proxies) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_cut_to_one_is_no_rectifier_at_the_end_of_a_network(at_the_end):
    cut = [lambda x: x.clamp(-1, 1), F.hardtanh][at_the_end]
    assert autogas.score(Between(end=cut), X, "num_activations") == 8 * 16 * 16


class Timed(nn.Module):
    """A convolution and a layer of times of as many channels as the map is wide, in either order."""

    def __init__(self, time_first):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.time, self.last = convolution(3, 16), nn.Linear(1, 8), convolution(16, 3)
        self.time_first = time_first

    def forward(self, x, t):
        if self.time_first:
            e = self.time(t[:, None])
            h = self.first(x)
        else:
            h = self.first(x)
            e = self.time(t[:, None])
        return self.last(F.relu(F.avg_pool2d(h, 2) + e.repeat(1, 2)[:, :, None, None]))


@pytest.mark.parametrize("proxy", ["concord", "softmax > gram > trace > log"])
def test_channels_do_not_depend_on_the_order_of_layers_that_do_not_meet(proxy):
    assert autogas.score(Timed(True), (X, TIMES), proxy) == autogas.score(Timed(False), (X, TIMES), proxy)


class Beside(Between):
    """Something beside the image."""

    def __init__(self, beside):
        super().__init__()
        self.beside = beside

    def forward(self, x):
        return self.beside(x, super().forward(x))


@pytest.mark.parametrize(
    "beside",
    [
        lambda x, image: {"weight": torch.ones(len(x), 1, 16, 16), "image": image},
        lambda x, image: (x.detach() * 1, image),
    ],
)
def test_a_short_training_is_measured_on_what_it_trains(beside):
    assert autogas.score(Beside(beside), X, "short_training") == autogas.score(Between(), X, "short_training")


@pytest.mark.parametrize("proxy", ["grad_norm", "snip", "jacov", "fisher", "zico", "short_training"])
@pytest.mark.parametrize("beside", [lambda x, image: (x, image), lambda x, image: (image, x)])
def test_an_input_that_is_given_back_is_no_output(proxy, beside):
    assert autogas.score(Beside(beside), X, proxy) == pytest.approx(autogas.score(Between(), X, proxy), rel=1e-6)


@pytest.mark.parametrize("proxy", ["concord", "nwot", "synflow", "zen", "jacov", "snip"])
def test_comparisons_inside_vmap_are_no_trouble(proxy):
    def masked(x):
        places = torch.arange(4)
        later = torch.vmap(torch.vmap(lambda a, b: b <= a, in_dims=(None, 0)), in_dims=(0, None))(places, places)
        return torch.vmap(lambda y: y * (y > 0))(F.relu(x)) + 0 * later.sum()

    assert math.isfinite(autogas.score(Between(masked), X, proxy))


@pytest.mark.parametrize("end", [nn.BatchNorm2d(3), nn.InstanceNorm2d(3), nn.GroupNorm(1, 3), nn.Softmax(1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_jacov_of_derivatives_that_cancel_is_refused(end, dtype):
    with pytest.raises(InputError, match="behind a last normalisation on none"):
        autogas.score(Between(end=end).to(dtype), X.to(dtype), "jacov")


def test_jacov_of_a_saturated_end_is_a_score():
    flat = autogas.score(Between(end=lambda x: torch.tanh(20 + 0 * x) + 1e-6 * x), X, "jacov")
    assert flat == pytest.approx(autogas.score(Between(), X, "jacov"), abs=0.05)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (lambda x: torch.sigmoid(x) * torch.full((1, 3, 1, 1), 2.0), lambda x: torch.sigmoid(x) * 2),
        (lambda x: torch.sigmoid(x) / torch.full_like(x, 0.5), lambda x: torch.sigmoid(x) * 2),
        (lambda x: x - torch.tanh(x), F.tanhshrink),
    ],
)
def test_synflow_of_an_end_does_not_depend_on_how_its_scale_is_written(written, meant):
    assert autogas.score(Between(end=written), X, "synflow") == autogas.score(Between(end=meant), X, "synflow")


@pytest.mark.parametrize("training", [True, False])
def test_batch_norms_of_decomposed_graphs_are_seen(training):
    torch.manual_seed(0)
    net = nn.Sequential(convolution(3, 8), nn.BatchNorm2d(8), nn.ReLU(), convolution(8, 3)).train(training)
    graph = torch.export.export(net, (X,)).run_decompositions().module()
    proxies = ["concord", "zen", "synflow", "normalisations > gram > trace > log"]
    expected = autogas.score_many(net, X, proxies)
    assert autogas.score_many(graph, X, proxies) == pytest.approx(expected, rel=1e-4)


def test_zen_draws_the_same_noise_in_every_precision():
    single = autogas.score(Between(), X, "zen")
    assert autogas.score(Between().double(), X.double(), "zen") == pytest.approx(single, abs=1e-4)


class OfEight(Between):
    def __init__(self):
        super().__init__()
        self.own = nn.Parameter(torch.randn(8, 1, 1, 1))

    def forward(self, x):
        return super().forward(x) + self.own


@pytest.mark.parametrize("proxy", ["short_training", "zico"])
def test_a_network_tied_to_its_batch_size_is_refused_in_a_sentence(proxy):
    with pytest.raises(InputError, match="the network does not run on"):
        autogas.score(OfEight(), X, proxy)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_a_scripted_network_keeps_its_counts():
    failures = {}
    found = autogas.score_many(
        torch.jit.script(nn.Sequential(convolution(3, 8), nn.ReLU())), X, ["params", "snip"], failures=failures
    )
    assert found == {"params": 3 * 8 * 9 + 8}
    assert "scripted" in failures["snip"]


@pytest.mark.parametrize("proxy", ["zico", "short_training", "concord"])
def test_the_meta_device_has_no_scores(proxy):
    net = Between().to("meta")
    with pytest.raises(InputError, match="meta device"):
        autogas.score(net, X.to("meta"), proxy)
    with pytest.raises(InputError, match="meta device"):
        autogas.explain(net, X.to("meta"), proxy)


@pytest.mark.parametrize("given", [None, 5, b"gram > trace", ["gram"]])
@pytest.mark.parametrize("read", [autogas.get_proxy, autogas.parse_proxy])
def test_a_proxy_that_is_no_text_is_refused(read, given):
    with pytest.raises(InputError, match="expected"):
        read(given)


def test_a_missing_term_is_said_with_the_whole_text():
    with pytest.raises(InputError, match=r"'gram > trace \+': a term is missing"):
        autogas.parse_proxy("gram > trace +")
