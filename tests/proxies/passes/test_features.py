"""Networks that fold what belongs to a sample into the batch, or have no rectifier of a known kind."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autogas import InputError, explain, score
from autogas.proxies.passes.features import NOWHERE, OUTER, Fold, as_feature, fold_of, rows_of


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(4,), (3, 8), (5, 8, 2), (6, 3, 9, 9), ()])
def test_what_has_no_dimension_of_samples_is_no_feature(shape):
    assert as_feature(torch.zeros(shape), 4) is None


@pytest.mark.parametrize(
    ("fold", "shape"),
    [
        (lambda x: x.flatten(0, 1), (4, 3, 8)),  # vectors of a sample
        (lambda x: x.transpose(0, 1), (4, 3, 8)),  # a sequence
    ],
)
def test_vectors_of_a_sample_stay_together(fold, shape):
    x = noise(*shape)
    found = as_feature(fold(x).contiguous(), 4, Fold(channels_last=True))
    assert torch.equal(found, x.mT)


def test_maps_of_a_sample_stay_together():
    x = noise(4, 3, 8, 5, 5)  # three frames of eight channels
    assert torch.equal(as_feature(x.flatten(0, 1), 4), x.transpose(1, 2))
    assert torch.equal(as_feature(x[:, 0].reshape(1, 32, 5, 5), 4), x[:, 0])


class Frames(nn.Module):
    """The same layers on frames that are folded into the batch, or on volumes of depth one kernel."""

    def __init__(self, folded):
        super().__init__()
        self.folded = folded
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def convolve(self, layer, x):
        if self.folded:
            return layer(x)
        return F.conv3d(x, layer.weight[:, :, None], layer.bias, padding=(0, 1, 1))

    def forward(self, x):  # [N, C, T, H, W]
        n = len(x)
        x = x.transpose(1, 2).flatten(0, 1) if self.folded else x
        x = self.convolve(self.last, F.relu(self.convolve(self.first, x)))
        return x.view(n, -1, *x.shape[1:]).transpose(1, 2) if self.folded else x


@pytest.mark.parametrize(
    "proxy", ["autogas", "nwot", "separation", "relu > gram > trace", "convolutions > covariance > eigenvalue_max"]
)
def test_folded_frames_score_as_volumes(proxy):
    x = noise(4, 3, 5, 8, 8)
    volumes, frames = Frames(folded=False), Frames(folded=True)
    frames.load_state_dict(volumes.state_dict())
    if proxy == "separation":  # whose parts count positions, of which a fold has as many
        proxy = "activations > softmax > gram > trace > log > sum"
    assert score(frames, x, proxy) == pytest.approx(score(volumes, x, proxy), rel=1e-4)


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.cells = kind(8, 12, **options)

    def forward(self, x):
        return self.cells(x)[0]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_read_in_either_order(kind):
    x = noise(6, 5, 8)
    first = Recurrent(kind, batch_first=True)
    later = Recurrent(kind)
    later.load_state_dict(first.state_dict())
    turned = nn.Sequential(Turn(), later)
    for proxy in ("autogas", "separation"):
        assert score(turned, x, proxy) == pytest.approx(score(first, x, proxy), rel=1e-6)


class Turn(nn.Module):
    def forward(self, x):
        return x.transpose(0, 1)


@pytest.mark.filterwarnings("ignore:.*no dimension of samples")
def test_without_a_rectifier_convolutions_stand_in():
    net = nn.Sequential(nn.Linear(8, 16), Sine(), nn.Linear(16, 4))
    x = noise(6, 8)
    assert score(net, x, "gram > trace") == score(net, x, "convolutions > gram > trace")
    assert torch.isfinite(torch.tensor(score(net, x, "nwot")))
    with pytest.raises(InputError, match=r"no rectifier .* was seen that has samples"):
        score(net, x, "num_activations")


class ZeroAtTheEnd(nn.Module):
    """As published diffusion networks start."""

    def __init__(self, zero=True, cut=False):
        super().__init__()
        self.cut = cut
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 3, padding=1))
        if zero:
            nn.init.zeros_(self.layers[2].weight)

    def forward(self, x):
        return self.layers(x) * (0.0 if self.cut else 1.0)


def test_an_output_that_starts_at_zero_hides_no_features():
    net, x = ZeroAtTheEnd(), noise(8, 3, 8, 8)
    before = {name: p.clone() for name, p in net.state_dict().items()}
    proxy = "activations > gram > trace"
    other = ZeroAtTheEnd(zero=False)
    other.layers[0].load_state_dict(net.layers[0].state_dict())
    assert score(net, x, proxy) == score(other, x, proxy)
    assert all(torch.equal(p, before[name]) for name, p in net.state_dict().items())
    for name in ("snip", "plain"):
        with pytest.raises(InputError, match="zero for every weight, which ranks nothing"):
            score(net, x, name)


@pytest.mark.parametrize("zero", [False, True])
def test_an_output_that_ignores_its_input_is_still_refused(zero):
    with pytest.raises(InputError, match="the output of the network ignores its input"):
        score(ZeroAtTheEnd(zero, cut=True), noise(8, 3, 8, 8))


def test_an_exported_graph_scores_as_its_module():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 3)).eval()
    x = noise(4, 3, 8, 8)
    graph = torch.export.export(net, (x,)).module()
    for proxy in ("autogas", "separation", "nwot"):
        assert score(graph, x, proxy) == pytest.approx(score(net, x, proxy), rel=1e-6)


def test_rows_are_placed_by_what_moves_when_samples_are_reversed():
    x = noise(4, 3, 8)
    for fold, rows, reversed_rows in (
        (OUTER, x.flatten(0, 1), x.flip(0).flatten(0, 1)),
        (Fold(0, 3), x.transpose(0, 1).flatten(0, 1), x.flip(0).transpose(0, 1).flatten(0, 1)),
        (NOWHERE, x.flatten(0, 1), x.flatten(0, 1)),
    ):
        assert fold_of(rows_of(rows, 4), rows_of(reversed_rows, 4), 4) == fold
    assert torch.equal(as_feature(x.transpose(0, 1).flatten(0, 1), 4, Fold(0, 3)), x.mT)
    assert as_feature(x.flatten(0, 1), 4, NOWHERE) is None


@pytest.mark.parametrize("normalised", [False, True])
def test_samples_between_others_and_in_the_second_dimension_are_found(normalised):
    """Windows of a sequence that stands first, and their tokens, as attention has them: rows of (t, n, w)."""
    x = noise(4, 5, 3, 8)  # [N, T, W, C]
    x = (x - x.mean(3, keepdim=True)) if normalised else x
    tokens, windows = (lambda x: x.permute(1, 0, 2, 3).flatten(0, 2)), (lambda x: x.permute(1, 0, 2, 3).flatten(1, 2))
    for arrange, fold, whole in ((tokens, Fold(0, 5), x.flatten(1, 2).mT), (windows, Fold(1, 1), x.movedim(3, 1))):
        rows, others = arrange(x), arrange(x.flip(0))
        assert fold_of(rows_of(rows, 4), rows_of(others, 4), 4) == fold
        assert torch.equal(as_feature(rows, 4, replace(fold, channels_last=True)), whole)


class TimeFirst(Frames):
    """Frames that are folded with the samples inside."""

    def forward(self, x):
        n = len(x)
        x = x.permute(2, 0, 1, 3, 4).flatten(0, 1)
        x = self.last(F.relu(self.first(x)))
        return x.view(-1, n, *x.shape[1:]).permute(1, 2, 0, 3, 4)


@pytest.mark.parametrize("proxy", ["autogas", "nwot", "convolutions > covariance > eigenvalue_max"])
def test_frames_that_are_folded_the_other_way_score_alike(proxy):
    x = noise(4, 3, 5, 8, 8)
    outer, inner = Frames(folded=True), TimeFirst(folded=True)
    inner.load_state_dict(outer.state_dict())
    assert score(inner, x, proxy) == pytest.approx(score(outer, x, proxy), rel=1e-5)


class Hypernetwork(nn.Module):
    """A weight of eight rows is made by layers that see no sample."""

    def __init__(self):
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5))
        self.last = nn.Linear(8, 5)
        self.register_buffer("codes", noise(8, 3, seed=1))

    def forward(self, x):
        return F.relu(F.linear(x, self.maker(self.codes).T)) + F.relu(self.last(x))


@pytest.mark.filterwarnings("ignore:.*no dimension of samples")
@pytest.mark.filterwarnings("ignore:1 of 3 layers have no dimension of samples")
def test_rows_that_are_no_samples_are_left_out():
    net, x = Hypernetwork(), noise(4, 8)
    reasons = [layer.left_out for layer in explain(net, x, "autogas").layers if layer.module.startswith("maker")]
    assert reasons == 3 * ["is made of weights alone"]
    values = [layer.values[0] for layer in explain(net, x, "gram > trace > sum").layers]
    assert sum(value is not None for value in values) == 2
    other = Hypernetwork()
    other.load_state_dict(net.state_dict())
    other.codes = torch.cat([net.codes, torch.zeros(1, 3)])  # nine rows, which are no multiple of four samples
    other.maker.register_forward_hook(lambda module, given, made: made[:8])
    assert score(net, x, "autogas") == score(other, x, "autogas")
    assert score(net, x, "nwot") == score(other, x, "nwot")


class OnlyFour(nn.Module):
    """Takes four samples and no other number; its last layer starts at zero."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        nn.init.zeros_(self.last.weight)

    def forward(self, x):
        return self.last(self.first(x).view(4, 8).relu())


def test_a_network_of_one_batch_size_may_start_at_zero():
    assert math.isfinite(score(OnlyFour(), torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), "autogas"))


def test_equal_first_samples_do_not_make_an_output_that_starts_at_zero_a_constant():
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    x[1] = x[0]
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.zeros_(net[2].weight)
    assert math.isfinite(score(net, x, "separation"))
