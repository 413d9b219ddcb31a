"""What the documentation promises of networks, scorers and words of users, where it is easily broken."""

import contextlib
import functools

import numpy as np
import pytest
import torch
from tests.foreign.test_written_otherwise import Net, convolution, images
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from autogas import ChoiceSpace, InputError, explain, make_benchmark, score, score_architecture, score_many
from autogas.proxies.primitives import REGISTRY, Stage, primitive
from autogas.proxies.primitives.transforms import transform
from autogas.proxies.scorer import SCORERS, scorer


def small(*, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)).to(dtype)


@pytest.fixture(autouse=True)
def registries():
    """Words and scorers as before."""
    before = {stage: dict(words) for stage, words in REGISTRY.items()}
    scorers = dict(SCORERS)
    yield
    for stage, words in before.items():
        REGISTRY[stage].clear()
        REGISTRY[stage].update(words)
    SCORERS.clear()
    SCORERS.update(scorers)


@pytest.mark.parametrize("proxy", ["separation", "nwot", "variance"])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_running_statistics_that_are_parameters_stay(norm, proxy):
    layer = norm(8, track_running_stats=True)
    mean = layer.running_mean.clone()
    del layer._buffers["running_mean"]
    layer.running_mean = nn.Parameter(mean.clone(), requires_grad=False)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), layer, nn.ReLU(), nn.Conv2d(8, 3, 3))
    score(net, images(), proxy)
    explain(net, images(), proxy)
    assert layer.running_mean.equal(mean)


@pytest.mark.parametrize("proxy", ["separation", "macs", "snip"])
def test_a_module_is_of_its_class_again(proxy):
    def forward(s, x):
        if not parametrize.is_parametrized(s.first):
            spectral_norm(s.first)
        return s.last(F.relu(s.first(x)))

    net = Net(forward, first=convolution(), last=convolution(8, 3))
    score(net, images(), proxy)
    assert type(net.first) is nn.Conv2d
    net(images())


def test_short_training_leaves_frozen_parameters_alone():
    x, net = images(16), small()
    whole = score(net, x, "short_training")
    net.requires_grad_(False)
    assert score(net, x, "short_training") == whole  # frozen as a whole: as networks are that are only used
    net[2].bias.requires_grad_(True)
    found = score(net, x, "short_training")
    optimizer = torch.optim.Adam([net[2].bias], lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        F.l1_loss(net(x[:12]), x[:12]).backward()
        optimizer.step()
    assert found == pytest.approx(-float(F.l1_loss(net(x[12:]), x[12:]).detach()), rel=1e-5)
    assert found != pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("proxy", ["swap", "nwot", "short_training", "snip", "separation", "fisher"])
def test_autocast_around_is_autocast_inside(proxy):
    net, x = small(), images(16)

    def inside(s, x):
        with torch.autocast("cpu", torch.bfloat16):
            return s.net(x)

    expected = score(Net(inside, net=lambda: net), x, proxy)
    with torch.autocast("cpu", torch.bfloat16):
        assert score(net, x, proxy) == pytest.approx(expected, rel=1e-6)


def test_macs_of_an_architecture_are_those_of_its_network():
    def build(w):
        return Net(
            lambda s, x: F.relu(F.linear(x, s.a @ s.b)), a=lambda: torch.randn(w, w), b=lambda: torch.randn(w, w)
        )

    space = ChoiceSpace("factored", {"w": [8]}, build, [(8,)])
    found = score_architecture(space, "w=8", ["macs"])["macs"]
    assert found == score(build(8), torch.randn(16, 8), "macs") == 8 * 8 * 8 + 8 * 8


def test_the_cost_of_a_network_that_draws_is_one_and_draws_nothing():
    def build(w):
        return Net(lambda s, x: s.b(s.a(x)) if torch.rand(()) < 0.5 else s.a(x), a=convolution(), b=convolution(8))

    space = ChoiceSpace("drawing", {"w": [8]}, build, [(3, 8, 8)])
    before = torch.get_rng_state()
    assert len({space.cost(space.parse("w=8")).macs for _ in range(8)}) == 1
    assert torch.get_rng_state().equal(before)


def test_complex_features_have_real_and_imaginary_entries():
    def forward(s, x):
        return s.last(torch.view_as_real(F.linear(torch.complex(x, x.flip(0)), torch.complex(s.a, s.b))).flatten(1))

    def shape():
        return torch.randn(5, 6)

    net, x = Net(forward, a=shape, b=shape, last=lambda: nn.Linear(10, 6)), torch.randn(8, 6)
    h = F.linear(torch.complex(x, x.flip(0)), torch.complex(net.a, net.b)).detach()
    parts = torch.stack([h.real, h.imag], dim=-1).requires_grad_()
    out = net.last(parts.flatten(1))
    (by_parts, by_out) = torch.autograd.grad(F.l1_loss(out, x), [parts, out])
    per_channel = [(parts * by_parts).sum(-1), out * by_out]
    assert score(net, x, "fisher") == pytest.approx(
        sum(float(c.detach().square().sum()) for c in per_channel) / 16, rel=1e-5
    )
    variances = [float(values.detach().var(unbiased=False)) for values in (parts, out)]
    assert score(net, x, "variance") == pytest.approx(np.mean(variances), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("proxy", ["variance", "entropy", "snip", "grad_norm"])
def test_half_precision_is_added_up_in_float32(dtype, proxy):
    net, x = small(), images() * 300
    found = score(small(dtype=dtype), x.to(dtype), proxy)
    assert found == pytest.approx(score(net, x, proxy), rel=2e-3 if dtype == torch.float16 else 1e-2)


def test_float64_features_may_be_larger_than_float32_holds():
    net, x = small(dtype=torch.float64), images().double()
    assert score(net, x * 1e39, "nwot") == pytest.approx(score(net, x * 1e30, "nwot"))


@pytest.mark.parametrize("proxy", ["snip", "fisher", "grasp"])
def test_a_network_that_reads_its_input_as_an_array_has_gradients(proxy):
    layers = {"first": convolution(), "last": convolution(8, 3)}
    net = Net(lambda s, x: s.last(F.relu(s.first(torch.from_numpy(x.numpy().copy())))), **layers)
    twin = Net(lambda s, x: s.last(F.relu(s.first(x.detach()))), **layers)
    assert score(net, images(), proxy) == pytest.approx(score(twin, images(), proxy))


def test_a_layer_of_no_features_is_left_out():
    layers = {"a": lambda: nn.Linear(4, 8), "b": lambda: nn.Linear(8, 4)}
    net = Net(lambda s, x: s.b(F.relu(s.a(x))) + F.relu(x[:, :0]).sum(1, keepdim=True), **layers)
    twin = Net(lambda s, x: s.b(F.relu(s.a(x))), **layers)
    for proxy in ("separation", "autogas", "vanilla_gram"):
        assert score(net, torch.ones(8, 4).cumsum(0), proxy) == score(twin, torch.ones(8, 4).cumsum(0), proxy)


def test_a_module_that_raises_is_not_the_one_that_runs():
    def forward(s, x):
        with contextlib.suppress(RuntimeError):
            return s.bad(x)
        return F.conv2d(F.relu(s.good(x)), s.w)

    layers = {"bad": lambda: nn.Linear(3, 3), "good": convolution(3, 3), "w": lambda: torch.randn(3, 3, 1, 1)}
    found = explain(Net(forward, **layers), images()).frame()
    assert list(found["module"]) == ["good", "", ""]


def test_a_word_that_is_registered_again_is_the_new_one():
    def register(factor):
        def scaled(x):
            return x * factor

        transform(formula="kx", edge="e")(scaled)

    register(1.0)
    before = score(small(), images(), "scaled > gram > trace")
    with pytest.warns(UserWarning, match="replaced"):
        register(10.0)
    assert score(small(), images(), "scaled > gram > trace") == pytest.approx(100 * before)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("name", ["nwot", "common", "separation", "autogas"])
def test_scorers_of_the_package_stay(name, replace):
    def mine(probe):
        return 42.0

    mine.__name__ = name
    with pytest.raises(ValueError, match="twice"):
        scorer(replace=replace)(mine)


@pytest.mark.parametrize("replace", [False, True])
def test_words_of_the_package_stay(replace):
    def swish(x):
        return -x

    with pytest.raises(ValueError, match="twice"):
        transform(formula="x", edge="e", replace=replace)(swish)


def test_a_scorer_is_registered_with_parentheses():
    with pytest.raises(ValueError, match="parentheses"):

        @scorer
        def mine(probe):
            return 1.0


@pytest.mark.parametrize(
    ("stage", "function", "said"),
    [
        (Stage.REDUCTION, lambda K: K.sum(1), r"reduction 'odd' gives a tensor of shape \(\d+, 8\)"),
        (Stage.REDUCTION, lambda K: None, "reduction 'odd' gives a NoneType"),
        (Stage.TRANSFORM, lambda x: None, "transform 'odd' gives a NoneType"),
        (Stage.TRANSFORM, lambda x: x.sum(), r"transform 'odd' gives a tensor of shape \(\)"),
        (Stage.BINARISER, lambda x: 1, "binariser 'odd' gives a int"),
    ],
)
def test_a_word_that_gives_something_else_is_named(stage, function, said):
    function.__name__ = "odd"
    facts = {"needs": "matrix"} if stage is Stage.REDUCTION else {}
    primitive(stage, formula="o", edge="e", **facts)(function)
    text = "gram > odd" if stage is Stage.REDUCTION else "odd > gram > trace"
    with pytest.raises(InputError, match=said):
        score(small(), images(), text)


def test_a_network_that_is_not_built_fails_for_expressions_too():
    space = ChoiceSpace("failing", {"w": [4, 8]}, lambda w: nn.Conv2d(7, 3, 3), [(3, 8, 8)])
    failures = {}
    assert score_architecture(space, "w=4", ["params", "separation", "snip"], failures=failures) == {}
    assert set(failures) == {"params", "separation", "snip"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: score(small(), {5: images()}), "the name 5"),
        (lambda: score(small(), {None: images()}), "the name None"),
        (lambda: score_many(small(), images(), None), "proxies None"),
        (lambda: score_many(small(), images(), 5), "proxies 5"),
        (lambda: score(small(), images(), seed="a"), "seed 'a'"),
        (lambda: score(small(), images(), seed=None), "seed None"),
        (lambda: score(small(), images()[:1].expand(8, 3, 16, 16)), "samples are all the same"),
        (lambda: score(small(), torch.zeros(8, 3, 16, 16)), "samples are all the same"),
        (lambda: make_benchmark(None, "ssim", build=5, name=None), "benchmark name None"),
    ],
)
def test_mistakes_are_one_line(call, said):
    with pytest.raises(InputError, match=said):
        call()


def test_a_loss_with_layers_of_its_own_runs_under_autocast():
    """As it does where the network itself is called under autocast."""
    net, x, features = small(), images(16), nn.Conv2d(3, 4, 3)

    def loss(output, inputs):
        return F.mse_loss(features(output), features(inputs[0]))

    with torch.autocast("cpu", torch.bfloat16):
        for proxy in ("snip", "grad_norm", "short_training"):
            assert np.isfinite(score(net, x, proxy, loss=loss))


def test_a_reduction_that_fails_leaves_other_expressions_alone():
    expected = score(small(), images(), "gram > trace")

    def odd(K):
        return K.sum()

    primitive(Stage.REDUCTION, formula="o", edge="e", needs="matrix")(odd)
    assert score(small(), images(), "gram > trace") == expected


@pytest.mark.parametrize("channels", [1, 8])
def test_the_cost_of_attention_over_the_batch_is_half_of_two(channels):
    def build(w):
        return Net(lambda s, x: (h := s.a(x)) + (h @ h.T).softmax(1) @ h, a=lambda: nn.Linear(channels, w))

    space = ChoiceSpace(f"attending{channels}", {"w": [8]}, build, [(channels,)])
    assert space.cost(space.parse("w=8")).macs == channels * 8 + 2 * (2 * 2 * 8) // 2


def test_a_network_of_even_batches_has_a_cost():
    space = ChoiceSpace(
        "even", {"w": [8]}, lambda w: Net(lambda s, x: s.a(x).view(-1, 2, w), a=lambda: nn.Linear(4, w)), [(4,)]
    )
    assert space.cost(space.parse("w=8")).macs == 32


def test_seeds_of_numpy_are_numbers():
    assert score(small(), images(), "zen", seed=np.int64(3)) == score(small(), images(), "zen", seed=3)


class Cached(nn.Module):
    """Keeps what it makes of a weight behind a property or a class method."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 6)
        self.w = nn.Parameter(torch.randn(8, 8))

    @property
    @functools.cache  # noqa: B019
    def of_a_property(self):
        return self.w.tanh()

    @staticmethod
    @functools.cache
    def of_a_function(net):
        return net.w.tanh()

    def forward(self, x):
        x = (self.a(x).relu() @ self.of_a_property).relu()
        return self.b((x @ self.of_a_function(self)).relu())


def test_caches_behind_properties_and_static_methods_are_forgotten():
    torch.manual_seed(0)
    net, x = Cached(), torch.randn(8, 6)
    fresh = score(net, x, "zen")
    before = net(x)  # which fills the caches
    assert score(net, x, "zen") == fresh
    assert torch.equal(net(x), before)
    Cached.of_a_property.fget.cache_clear()
    Cached.of_a_function.cache_clear()
    assert torch.equal(net(x), before)


class Pairs(nn.Module):
    """Every sample beside every other, behind a batch norm that one sample is too few for."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(6), nn.Linear(6, 50)

    def forward(self, x):
        x = self.norm(x)
        return self.out((x[:, None] * x[None]).flatten(0, 1)).view(len(x), len(x), -1).mean(1)


@pytest.mark.parametrize("samples", [4, 8])
def test_macs_of_samples_that_look_at_each_other_are_their_share_of_the_batch(samples):
    assert score(Pairs(), torch.randn(samples, 6), "macs") == samples * 6 * 50


def test_images_of_several_sizes_are_refused():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(InputError, match="a list of 2 images: expected one tensor of images of one shape"):
        score(net, [[torch.rand(3, 16, 16), torch.rand(3, 12, 16)]], "macs")


@pytest.mark.parametrize("proxy", ["nwot", "fisher", "num_activations"])
def test_scorers_warn_of_what_has_no_samples_too(proxy):
    class Sliced(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.tail = nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())

        def forward(self, x):
            return torch.cat([self.tail(part) for part in self.first(x).relu().split(1)])

    with pytest.warns(UserWarning, match="12 of 14 layers have no dimension of samples and were left out"):
        score(Sliced(), torch.randn(4, 3, 8, 8), proxy)
