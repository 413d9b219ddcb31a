"""Primitives and scorers that users add."""

import warnings

import pytest
import torch
from torch import nn

import autogas
import autogas.proxies.named  # fills the registry of scorers
from autogas.proxies.primitives import REGISTRY, Stage, primitive
from autogas.proxies.scorer import SCORERS, scorer


@pytest.fixture(autouse=True)
def fresh_registries(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr("autogas.plugins._noted", {})
    for stage, words in REGISTRY.items():
        monkeypatch.setitem(REGISTRY, stage, dict(words))
    known = dict(SCORERS)
    yield
    SCORERS.clear()
    SCORERS.update(known)


def network(size=16):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU()), torch.randn(6, 3, size, size)


def by_hand(net, x, binarise):
    """Mean over activations of the log determinant of the Gram matrix of what they are given, binarised."""
    logs = []
    for layer in net:
        if isinstance(layer, nn.ReLU):
            flat = binarise(x).flatten(1).double()
            logs.append(torch.linalg.slogdet(flat @ flat.T)[1])
        x = layer(x)
    return float(torch.stack(logs).mean())


@pytest.mark.parametrize("size", [8, 96])  # small features are measured together, large ones in blocks
@pytest.mark.parametrize("elementwise", [True, False])
def test_a_binariser_is_one_function(size, elementwise):
    if elementwise:

        @primitive(Stage.BINARISER, formula="x > 0.1", edge="none")
        def above_tenth(x):
            return (x > 0.1).to(x)

    else:

        @primitive(Stage.BINARISER, formula="x > 0.1", edge="none", elementwise=False)
        def above_tenth(x):
            assert x.shape[0] == 6  # one layer at a time
            return (x > 0.1).to(x)

    net, x = network(size)
    found = autogas.score(net, x, "above_tenth > gram > slogdet > mean")
    with torch.no_grad():
        assert found == pytest.approx(by_hand(net, x, lambda y: (y > 0.1).to(y)), rel=1e-6)
    assert found != pytest.approx(autogas.score(net, x, "above_zero > gram > slogdet > mean"))


def test_a_binariser_of_zeros_and_ones_may_stand_before_hamming():
    @primitive(Stage.BINARISER, formula="x > 0.1", edge="none", zero_one=True)
    def above_tenth(x):
        return (x > 0.1).to(x)

    @primitive(Stage.BINARISER, formula="2x", edge="none")
    def doubled(x):
        return 2 * x

    assert str(autogas.parse_proxy("above_tenth > hamming > slogdet"))
    with pytest.raises(autogas.InputError, match="put one of above_zero, above_mean, above_median, above_tenth before"):
        autogas.parse_proxy("doubled > hamming > slogdet")


def test_registering_again_replaces_with_a_warning():
    def made(factor):
        def swell(x):
            return factor * x

        return swell

    primitive(Stage.TRANSFORM, formula="x", edge="none")(made(2))
    with pytest.warns(UserWarning, match="primitive 'swell' is replaced") as said:
        primitive(Stage.TRANSFORM, formula="x", edge="none")(made(3))
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        primitive(Stage.TRANSFORM, formula="x", edge="none", replace=True)(made(4))
    net, x = network()
    assert autogas.score(net, x, "swell > gram > trace > mean") == pytest.approx(
        16 * autogas.score(net, x, "gram > trace > mean")
    )


def test_the_words_of_the_package_stay():
    def gram(G, s, D):
        return G

    with pytest.raises(ValueError, match="'gram' is registered twice"):
        primitive(Stage.KERNEL, formula="x", edge="none")(gram)

    def nwot(probe):
        """Mine."""
        return 0.0

    with pytest.raises(ValueError, match="'nwot' is registered twice"):
        scorer()(nwot)


def test_a_scorer_that_is_registered_again_is_the_new_one():
    def made(value):
        def constant(probe):
            """Always the same."""
            return value

        return constant

    scorer()(made(1.0))
    with pytest.warns(UserWarning, match="scorer 'constant' is replaced") as said:
        scorer()(made(2.0))
    assert said[0].filename == __file__
    assert autogas.score(*network(), "constant") == 2.0
