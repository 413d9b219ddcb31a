import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autogas import InputError, get_proxy, list_proxies, parse_proxy, score, score_many
from autogas.proxies.language.expression import Expression
from autogas.proxies.named import EXPRESSIONS, SCORERS
from autogas.spaces import get_space


def images(n=4, channels=3, size=8, seed=0):
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


class Two(nn.Module):
    """Two inputs of different shape."""

    def forward(self, image, code):
        return F.relu(image) + F.silu(code)[:, :, None, None]


def pair():
    return images(), torch.randn(4, 3, generator=torch.Generator().manual_seed(1))


def gram_trace(*features):
    return np.mean([np.square(x.double().numpy()).sum() for x in features])


def test_one_tensor():
    x = images()
    assert score(nn.ReLU(), x, "gram > trace") == pytest.approx(gram_trace(x))


@pytest.mark.parametrize("kind", [tuple, list])
def test_several_inputs(kind):
    image, code = pair()
    assert score(Two(), kind((image, code)), "gram > trace") == pytest.approx(gram_trace(image, code))


def test_autogas_is_equation_4():
    x = images()
    b = (F.silu(x) > F.silu(x).mean()).flatten(1).double().numpy()
    expected = np.linalg.slogdet(b @ b.T)[1] ** 2
    assert score(nn.ReLU(), x, "autogas") == pytest.approx(expected)


def test_the_default_by_hand():
    """A convolution is read in place of the normalisation that is not there."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)
    net, x = nn.Sequential(*layers), images()
    with torch.no_grad():
        down = net[0](x)
        up = net[2](net[1](down))
        last = net[4](net[3](up))

    def rows(layer):
        return layer.double().flatten(1).numpy()

    def log_floor(layer):
        values = np.linalg.eigvalsh(np.cov(rows(layer.softmax(1)), bias=True))
        return np.log(min(value for value in values if value > 1e-5 * values[-1]))

    def part_from(layers):
        """Where the last of the smallest maps is."""
        sizes = [layer[0, 0].numel() for layer in layers]
        return max(i for i, size in enumerate(sizes) if size == min(sizes))

    convolutions, rectified = [down, up, last], [down, up]
    bottleneck = part_from(rectified)
    large = np.mean([np.log((rows(layer) ** 2).sum()) for layer in convolutions[part_from(convolutions) :]])
    floors = [log_floor(layer) for layer in rectified]
    rates = [np.linalg.slogdet(np.eye(len(x)) + rows(layer) @ rows(layer).T)[1] for layer in rectified]
    uneven = np.std([np.log(np.trace(np.cov(rows(layer), bias=True))) for layer in rectified[bottleneck:]])
    expected = 16 * large + 2 * min(floors[: bottleneck + 1]) + np.mean(floors) / 2 + np.std(rates) / 8 - 16 * uneven
    assert score(net, x) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("form", [str, parse_proxy], ids=["text", "expression"])
def test_expression_in_any_form(form):
    x = images()
    assert score(nn.ReLU(), x, form("gram > trace")) == pytest.approx(gram_trace(x))


def test_scorer_as_object():
    assert score(nn.Linear(3, 4), torch.ones(2, 3), get_proxy("params")) == 16


def test_score_is_a_plain_number():
    assert type(score(nn.ReLU(), images(), "gram > trace")) is float
    assert type(score(nn.Linear(3, 4), torch.ones(2, 3), "macs")) is float


def test_expressions_share_one_pass():
    calls = []  # in a closure, where nothing is put back
    model, x = nn.ReLU(), images()
    model.register_forward_hook(lambda *_: calls.append(1))
    texts = ["gram > trace", "swish > above_mean > hamming > slogdet", "tanh > cosine > abslog > max"]
    together = score_many(model, x, texts)
    assert len(calls) == 1
    assert list(together) == texts
    assert together == {text: score(model, x, text) for text in texts}


def test_names_and_texts_together():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
    found = score_many(
        model, images(), ["params", "autogas", "gram > trace", parse_proxy("gram > trace > sum"), "macs"]
    )
    assert list(found) == ["params", "autogas", "gram > trace", "gram > trace > sum", "macs"]
    assert found["gram > trace"] == found["gram > trace > sum"]


def test_both_kinds_of_layers():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()), images()
    inside = model[0](x).detach()
    found = score_many(model, x, ["gram > trace", "convolutions > gram > trace"])
    assert list(found.values()) == pytest.approx([gram_trace(inside)] * 2)


def test_signs_are_enough_for_what_keeps_them():
    x = images()
    assert score(nn.ReLU(), x, "swish > above_zero > gram > trace") == (x > 0).sum()


def test_network_is_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout())
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    score_many(model, images(), ["autogas", "macs", "params"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training


def test_seeds_of_weights_change_the_score():
    space = get_space("transnas-macro", base_width=4, decoder_divisor=64, stem_stride=1, image_size=16)
    arch = space.parse("64-1234-basic")
    scores = {score(space.build(arch, seed=seed), space.inputs(batch_size=4)) for seed in (0, 1, 0)}
    assert len(scores) == 2


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 7))
        self.frozen = nn.Parameter(torch.ones(5), requires_grad=False)
        self.register_buffer("buffer", torch.ones(100))

    def forward(self, x):
        return x @ self.weight


@pytest.mark.parametrize(
    ("model", "shape", "params", "macs"),
    [
        (nn.Conv2d(3, 8, 3), (3, 16, 16), 3 * 8 * 9 + 8, 14 * 14 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), (3, 16, 16), 3 * 8 * 9, 8 * 8 * 8 * 3 * 9),
        (nn.Conv2d(4, 8, 3, groups=4, padding=1), (4, 6, 6), 8 * 9 + 8, 6 * 6 * 8 * 9),
        (nn.Conv1d(2, 5, 4), (2, 10), 2 * 5 * 4 + 5, 7 * 5 * 2 * 4),
        (nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1), (6, 5, 5), 6 * 4 * 9 + 4, 5 * 5 * 6 * 4 * 9),
        (nn.ConvTranspose2d(6, 4, 4, 2, 1, bias=False), (6, 5, 5), 6 * 4 * 16, 5 * 5 * 6 * 4 * 16),
        (nn.Linear(7, 5), (7,), 7 * 5 + 5, 7 * 5),
        (nn.Linear(7, 5), (3, 7), 7 * 5 + 5, 3 * 7 * 5),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), (3, 5, 5), 3 * 4 + 4 + 8, 25 * 12),
        (Bare(), (3,), 21 + 5, 21),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else None,
)
@pytest.mark.parametrize("n", [1, 3])
def test_size_by_hand(model, shape, params, macs, n):
    assert score_many(model, torch.ones(n, *shape), ["params", "macs"]) == {"params": params, "macs": macs}


@pytest.mark.parametrize("arch", ["64-1234-basic", "64-41414-1_23_012"])
@pytest.mark.parametrize("name", ["params", "macs"])
def test_size_of_architecture_is_that_of_its_network(name, arch):
    space = get_space("transnas", base_width=8, decoder_divisor=16, stem_stride=2, image_size=32)
    model, inputs = space.build(space.parse(arch)), space.inputs(batch_size=2)
    assert SCORERS[name].of_architecture(space, space.parse(arch)) == score(model, inputs, name)


@pytest.mark.parametrize(
    ("name", "arch", "value"),
    [
        ("num_downsamples", "64-1342-basic", -2),
        ("num_downsamples", "64-41414-0_00_000", -3),
        ("num_skips", "64-1342-basic", 0),
        ("num_skips", "64-41414-1_23_011", 3),
    ],
)
def test_traits_of_architecture(name, arch, value):
    space = get_space("transnas")
    assert SCORERS[name].of_architecture(space, space.parse(arch)) == value


def test_trait_that_a_space_lacks():
    space = get_space("transnas")
    space.traits = lambda arch: {"depth": 3.0}
    with pytest.raises(InputError, match="space transnas has no num_skips: it has depth"):
        SCORERS["num_skips"].of_architecture(space, None)


@pytest.mark.parametrize("name", ["num_downsamples", "num_skips"])
def test_trait_of_a_module(name):
    with pytest.raises(InputError, match=f"{name} is read off an architecture"):
        score(nn.ReLU(), images(), name)


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("autogaz", "unknown proxy 'autogaz': did you mean 'autogas'"),
        ("zzz", "unknown proxy 'zzz': expected autogas, "),
        ("swsh > gram > trace", "unknown primitive 'swsh'"),
        ("gram > trace > mean > max", "'max' .* cannot follow 'mean'"),
        (
            "distance > trace > log",
            "proxy 'distance > trace > log' has no finite score on this network: a value that is not defined",
        ),
        ("convolutions > gram > trace", "the network has no layer of kind 'convolutions'"),
    ],
)
def test_bad_proxy(proxy, message):
    with pytest.raises(InputError, match=message):
        score(nn.ReLU(), images(), proxy)


class Blind(nn.Module):
    def forward(self, x):
        return torch.ones_like(F.relu(x))


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.ReLU(), images(n=1), "at least 2 samples"),
        (nn.Tanh(), images(), "no layer of kind 'normalisations'"),
        (Blind(), images(), "the network has no score: the output of the network ignores its input"),
        (nn.ReLU(), images() * float("nan"), "the network has no score: the output of the network is not finite"),
    ],
)
def test_bad_network(model, inputs, message):
    with pytest.raises(InputError, match=message):
        score(model, inputs)


def test_size_needs_no_batch_and_no_activation():
    assert score(nn.Conv2d(3, 2, 1), images(n=1), "params") == 8


def test_list_proxies():
    assert list_proxies() == sorted([*EXPRESSIONS, *SCORERS])
    assert list_proxies("num_*") == ["num_activations", "num_downsamples", "num_skips", "num_transposed"]
    assert list_proxies("nothing*") == []


@pytest.mark.parametrize("name", list_proxies())
def test_every_listed_proxy_exists(name):
    proxy = get_proxy(name)
    assert isinstance(proxy, Expression) == (name in EXPRESSIONS)
    assert isinstance(proxy, Expression) or (str(proxy) == name and proxy.doc)


@pytest.mark.parametrize("proxy", ["autogas", "separation", "nwot"])
def test_a_score_depends_on_its_own_seed_and_no_global_state(proxy):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(0.5), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.ReLU())
    found = []
    for state, seed in ((1, 0), (2, 0), (1, 5)):
        torch.manual_seed(state)
        found.append(score(net, images(), proxy, seed=seed))
    assert found[0] == found[1] != found[2]


class Vanishing(nn.Module):
    """Its second rectifier sees what does not vary between samples but by rounding."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.ReLU()

    def forward(self, x):
        return self.second(self.first(x) * 1e-12)


def test_the_term_that_has_no_score_is_named():
    net, x = Vanishing(), images()
    expression = "gram > trace + softmax > covariance > eigenvalue_floor > log"
    found = "not defined for its features in softmax > covariance > eigenvalue_floor > log$"
    with pytest.raises(InputError, match=found):
        score(net, x, expression)
    with pytest.raises(InputError, match=r"in evaluation mode may let .* vanish: try network\.train\(\)$"):
        score(net.eval(), x, expression)
