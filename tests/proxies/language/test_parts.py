import numpy as np
import pytest
import torch
from torch import nn

from autogas.errors import InputError
from autogas.proxies.language.expression import measured_prefixes, parse_proxy
from autogas.proxies.language.parts import PARTS, get_part
from autogas.proxies.score import score
from autogas.proxies.statistics import measure as statistics
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import measure
from autogas.proxies.statistics.moments import moments


def chosen(part, positions):
    return np.flatnonzero(get_part(part)(np.array(positions))).tolist()


@pytest.mark.parametrize(
    ("part", "positions", "expected"),
    [
        ("", [64, 16, 64], [0, 1, 2]),
        ("early", [9, 9, 9, 9], [0, 1]),
        ("late", [9, 9, 9, 9], [2, 3]),
        ("early", [9, 9, 9], [0, 1]),
        ("late", [9, 9, 9], [1, 2]),
        ("small", [64, 16, 4, 16, 64], [1, 2, 3]),
        ("large", [64, 16, 4, 16, 64], [0, 1, 3, 4]),
        ("encoder", [64, 16, 4, 4, 16, 64], [0, 1, 2, 3]),
        ("decoder", [64, 16, 4, 4, 16, 64], [3, 4, 5]),
        ("decoder", [64, 16, 1, 16, 64], [3, 4]),  # a pooled vector is no map
        ("encoder", [1, 1, 1], [0, 1, 2]),
        ("decoder", [16, 64, 256], [0, 1, 2]),
    ],
)
def test_part(part, positions, expected):
    assert chosen(part, positions) == expected


@pytest.mark.parametrize("part", PARTS)
def test_one_layer_is_in_every_part(part):
    assert chosen(part, [25]) == [0]


def test_unknown_part():
    with pytest.raises(InputError, match="unknown part 'lat': did you mean 'late'"):
        parse_proxy("activations@lat > gram > trace")


def test_a_part_belongs_to_layers():
    with pytest.raises(InputError, match="'swish' before @"):
        parse_proxy("swish@late > gram > trace")


class UNet(nn.Module):
    """Two halvings, two doublings, normalised before each rectifier."""

    def __init__(self):
        super().__init__()
        steps = []
        for inside, outside, stride in [(3, 8, 2), (8, 12, 2), (12, 12, 1)]:
            steps += [nn.Conv2d(inside, outside, 3, stride, 1), nn.BatchNorm2d(outside), nn.ReLU()]
        steps += [nn.Upsample(scale_factor=2), nn.Conv2d(12, 6, 3, 1, 1), nn.GroupNorm(2, 6), nn.GELU()]
        self.steps = nn.Sequential(*steps, nn.Upsample(scale_factor=2), nn.Conv2d(6, 3, 3, 1, 1))

    def forward(self, x):
        return self.steps(x)


def features(kinds):
    """What modules of some kinds give (inputs of rectifiers), by ordinary hooks."""
    torch.manual_seed(0)
    model, x = UNet(), torch.randn(6, 3, 16, 16)
    seen = []
    for module in model.modules():
        if isinstance(module, nn.ReLU | nn.GELU) and "activations" in kinds:
            module.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(1).double().numpy()))
        outputs = {"convolutions": nn.Conv2d, "normalisations": nn.BatchNorm2d | nn.GroupNorm}
        if any(isinstance(module, outputs[kind]) for kind in kinds if kind in outputs):
            module.register_forward_hook(lambda _, __, out: seen.append(out.flatten(1).double().numpy()))
    with torch.no_grad():
        model(x)
    return model, x, [f.copy() for f in seen]


@pytest.mark.parametrize(
    ("text", "kinds", "rows"),
    [
        ("normalisations > gram > frobenius", ["normalisations"], [0, 1, 2, 3]),
        ("convolutions@late > gram > frobenius", ["convolutions"], [2, 3, 4]),
        ("activations@decoder > gram > frobenius", ["activations"], [2, 3]),
        ("convolutions@encoder > gram > frobenius", ["convolutions"], [0, 1, 2]),
        ("convolutions@small > gram > frobenius", ["convolutions"], [0, 1, 2, 3]),
        ("all > gram > frobenius", ["activations", "convolutions", "normalisations"], list(range(13))),
    ],
)
def test_layers_of_a_part_are_those_that_hooks_see(text, kinds, rows):
    model, x, seen = features(kinds)
    expected = np.mean([np.linalg.norm(seen[row] @ seen[row].T) for row in rows])
    assert score(model, x, text) == pytest.approx(expected, rel=1e-5)


def test_a_part_needs_no_statistics_of_its_own():
    model, x, _ = features([])
    whole = parse_proxy("convolutions > gram > trace").prefix
    part = parse_proxy("convolutions@late > gram > trace")
    assert part.prefix.measured == whole
    assert np.isfinite(Evaluator([measure(model, (x,), [whole])]).scores(part)).all()


def test_without_normalisation_its_word_means_convolutions():
    model, x, _ = features([])
    bare = nn.Sequential(*(module for module in model.steps if not isinstance(module, nn.BatchNorm2d | nn.GroupNorm)))
    first, second = (
        score(bare, x, f"{layers}@late > softmax > gram > trace") for layers in ("normalisations", "convolutions")
    )
    assert first == second
    assert score(model, x, "normalisations > gram > trace") != score(model, x, "convolutions > gram > trace")


def test_the_default_scores_networks_with_a_scalar_and_with_a_single_channel():
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 3, 2, 1), nn.LeakyReLU(0.2)]
    critic = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    patches = nn.Sequential(*body, nn.Conv2d(8, 1, 3, 1, 1))
    x = torch.randn(8, 3, 16, 16)
    assert np.isfinite([score(critic, x), score(patches, x)]).all()


EXPRESSION = "normalisations@late > gram > trace > log + 2 * convolutions@small > covariance > eigenvalue_max > mean"
ONE_PART = [f"{layers}@{part} > gram > trace > mean" for layers in ("activations", "convolutions") for part in PARTS]


def measured_whole(net, x, text):
    expression = parse_proxy(text)
    return Evaluator([measure(net, (x,), measured_prefixes([expression]))]).scores(expression)[0]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("held", [1 << 26, 2000, 0])
@pytest.mark.parametrize("text", [EXPRESSION, *ONE_PART])
def test_a_score_reads_the_same_as_if_all_layers_were_measured(text, held, inplace, monkeypatch):
    monkeypatch.setattr(statistics, "HELD", held)
    net = UNet()
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = inplace
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = measured_whole(net, x, text)
    monkeypatch.setattr(statistics, "measure", None)  # which would be called again for what is lost
    assert score(net, x, text) == pytest.approx(expected, rel=1e-6)


def test_layers_that_no_part_reads_are_not_measured(monkeypatch):
    seen = []

    def counted(features, prefixes):
        seen.append(len(features))
        return moments(features, prefixes)

    monkeypatch.setattr(statistics, "moments", counted)
    net, x = UNet(), torch.randn(4, 3, 16, 16)
    score(net, x, "convolutions@late > gram > trace > mean")
    late = sum(seen)
    seen.clear()
    score(net, x, "convolutions > gram > trace > mean")
    assert late == (sum(seen) + 1) // 2


class WritesUnseen(nn.Module):
    """A compiled script doubles the convolution's output where no interceptor looks."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
        self.double = torch.jit.script(_double)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
            self.double(x)
        return x


def _double(x: torch.Tensor) -> torch.Tensor:
    return x.mul_(2.0)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.filterwarnings("ignore:the network has 1 scripted")
def test_a_held_feature_that_a_script_writes_is_measured_before():
    net, x = WritesUnseen(), torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    text = "convolutions@late > gram > trace > mean"
    assert score(net, x, text) == pytest.approx(measured_whole(net, x, text), rel=1e-6)
