"""Scorers, spaces and tables of users that do what they should not."""

import numpy as np
import pandas as pd
import pytest
import torch
from tests.workflows.toys import recorded
from torch import nn

import autogas
import autogas.proxies.named
from autogas.errors import InputError
from autogas.proxies.scorer import SCORERS, scorer
from autogas.spaces import SPACES


@pytest.fixture(autouse=True)
def registries_as_before(monkeypatch):
    monkeypatch.setattr("autogas.plugins._noted", {})
    before = dict(SCORERS), dict(SPACES)
    yield
    for registry, kept in zip((SCORERS, SPACES), before, strict=True):
        registry.clear()
        registry.update(kept)


def build(width):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 3, 3))


def space(name="strange", **options):
    return autogas.ChoiceSpace(name, {"width": [4, 6, 8, 10]}, options.pop("build", build), [(3, 8, 8)], **options)


def benchmark(of):
    table = pd.DataFrame({"arch": [str(arch) for arch in of.enumerate()], "ssim": [0.1, 0.2, 0.3, 0.4]})
    return autogas.make_benchmark(table, "ssim", space=of, name="strange")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "the scorer gives a NoneType: expected a number"),
        ("3 or so", "the scorer gives '3 or so': expected a number"),
        (torch.tensor([1.0, 2.0]), "the scorer gives a Tensor: expected a number"),
        (1j, "the scorer gives a complex: expected a number"),
        (10**400, "the scorer gives 1000000000.*: expected a number"),
    ],
)
def test_a_scorer_that_gives_no_number_fails_alone(given, said, tmp_path):
    @scorer()
    def strange(_probe):
        """Strange."""
        return given

    net, x, failures = build(4), torch.randn(4, 3, 8, 8), {}
    assert list(autogas.score_many(net, x, ["params", "strange"], failures=failures)) == ["params"]
    with pytest.raises(InputError, match=said):
        autogas.score(net, x, "strange")
    run = autogas.rank(benchmark(space()), ["params", "strange"], out=str(tmp_path / "run"), everything=True, jobs=1)
    assert {row["name"]: row["failed"] for row in run.results["test"]} == {"params": 0, "strange": 4}


@pytest.mark.parametrize("leaves", [SystemExit(0), SystemExit(3)])
def test_a_scorer_that_exits_fails_alone(leaves, tmp_path):
    @scorer()
    def strange(_probe):
        """Strange."""
        raise leaves

    run = autogas.rank(benchmark(space()), ["params", "strange"], out=str(tmp_path / "run"), everything=True, jobs=1)
    assert {row["name"]: row["failed"] for row in run.results["test"]} == {"params": 0, "strange": 4}
    assert recorded(run.path)


def test_weights_that_numpy_draws_are_those_of_the_seed():
    def drawn(width):
        net = build(width)
        with torch.no_grad():
            net[0].weight.copy_(torch.from_numpy(np.random.randn(width, 3, 3, 3)))  # noqa: NPY002
        return net

    of = space(build=drawn)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    scores = [autogas.score_architecture(of, "width=4", "nwot")["nwot"] for _ in range(2)]
    assert scores[0] == scores[1]
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    other = autogas.score_architecture(of, "width=4", "nwot", seed=1)["nwot"]
    assert other != scores[0]


def test_values_without_an_order_are_refused():
    with pytest.raises(InputError, match="choice 'width': a set: expected a list of values, which has an order"):
        autogas.ChoiceSpace("strange", {"width": {4, 6}}, build, [(3, 8, 8)])


@pytest.mark.parametrize("traits", [lambda width: {"a": width / 0}, lambda width: {"a": "x"}, lambda width: [width]])
def test_traits_that_fail_are_said_first(traits):
    with pytest.raises(InputError, match=r"^space strange: its traits fail on width=.*; expected numbers by name$"):
        space(traits=traits)


def test_a_vast_space_has_a_length():
    vast = autogas.ChoiceSpace("vast", {f"c{i}": range(10) for i in range(30)}, lambda **_: build(4), [(3, 8, 8)])
    assert len(vast) > 10**18


def test_rows_of_one_name_must_be_of_one_network():
    table = pd.DataFrame(
        {"arch": ["a", "a", "b", "c"], "seed": [0, 1, 0, 0], "width": [4, 8, 4, 6], "ssim": [1, 2, 3, 4]}
    )
    with pytest.raises(InputError, match="rows of 'a' differ in 'width', which build takes"):
        autogas.make_benchmark(table, "ssim", build=lambda width, **_: build(width), inputs=[(3, 8, 8)])
    same = table.assign(width=[4, 4, 6, 8])
    bench = autogas.make_benchmark(same, "ssim", build=lambda width, **_: build(width), inputs=[(3, 8, 8)])
    assert len(bench) == 3


@pytest.mark.parametrize(
    ("quality", "scores", "strata", "said"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], [1, 1], "2 strata of 4 architectures: expected a label for each"),
        (["a", "b", "c"], [1, 2, 3], None, "quality: expected a list of numbers"),
        ([1, 2, 3], [1, 2, None, 4][1:], None, None),
    ],
)
def test_what_cannot_be_correlated_is_one_line(quality, scores, strata, said):
    if said is None:
        assert autogas.correlate(quality, scores).count == 3  # None is no score
        return
    with pytest.raises(InputError, match=f"^{said}$"):
        autogas.correlate(quality, scores, strata=strata)


def test_numbers_as_large_as_there_are_can_be_correlated():
    assert autogas.correlate([1e308, -1e308, 0, 1], [4, 1, 2, 3]).kendall_a.value == 1
