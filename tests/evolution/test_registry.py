import numpy as np
import pytest

import autogas
from autogas.errors import InputError
from autogas.evolution import RandomSearch, make_strategy, register_strategy
from autogas.evolution.registry import STRATEGIES
from autogas.metrics.features import EXTRACTORS, register_extractor


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr("autogas.plugins._noted", {})
    for registry in (STRATEGIES, EXTRACTORS):
        for name, value in dict(registry).items():
            monkeypatch.setitem(registry, name, value)
    known = dict(STRATEGIES), dict(EXTRACTORS)
    yield
    for registry, before in zip((STRATEGIES, EXTRACTORS), known, strict=True):
        registry.clear()
        registry.update(before)


class FirstOnes(RandomSearch):
    """Asks for the architectures of a space in their order."""

    def __init__(self, space, *, population, rng, admits=lambda _: True):
        super().__init__(space, population=population, rng=rng, admits=admits)
        self.rest = space.space.enumerate()

    def ask(self):
        return [next(self.rest) for _ in range(self.population)]


def test_a_strategy_of_a_user_searches(tmp_path):
    register_strategy("first", FirstOnes)
    few = {"population": 3, "iterations": 2, "sample": 2, "agreement": 0}
    run = autogas.search("transnas-macro", "params", strategy="first", out=str(tmp_path / "run"), **few)
    space = autogas.get_space("transnas-macro")
    expected = [str(arch) for _, arch in zip(range(6), space.enumerate(), strict=False)]
    assert run.read_table("candidates")["arch"].tolist() == expected


def test_a_strategy_gets_what_it_takes():
    class Plain(RandomSearch):
        def __init__(self, space, *, population, rng, top_k):
            super().__init__(space, population=population, rng=rng)
            self.top_k = top_k

    register_strategy("plain", Plain)
    made = make_strategy("plain", None, population=3, rng=np.random.default_rng(0), top_k=7, sampling_ratio=0.5)
    assert (made.population, made.top_k) == (3, 7)
    with pytest.warns(UserWarning, match="strategy 'plain' is replaced"):
        register_strategy("plain", Plain)


@pytest.mark.parametrize("call", [autogas.search, autogas.discover])
def test_an_unknown_strategy_is_one_line(call):
    with pytest.raises(
        InputError, match="strategy='evolutoin': unknown strategy 'evolutoin': did you mean 'evolution'"
    ):
        call("transnas-macro" if call is autogas.search else "mini-autoencoder", strategy="evolutoin")


def test_an_extractor_of_a_user_measures(tmp_path):
    class Means:
        """Mean colours; the classes are dark and bright."""

        name, dim, version, resizing = "means", 3, "1", "none"

        def __call__(self, images):
            means = images.float().mean(dim=(2, 3))
            bright = means.mean(1, keepdim=True)
            return means, bright * means.new_tensor([[-1.0, 1.0]])

    register_extractor("means", lambda device: Means())
    run = autogas.evaluate(
        "dead-leaves",
        "dead-leaves",
        extractor="means",
        samples=20,
        reference_samples=20,
        size=8,
        splits=2,
        out=str(tmp_path / "run"),
    )
    assert set(run.results["metrics"]) == {*("fid-means", "kid-means", "kid-error-means", "is-means", "is-std-means")}
    with pytest.raises(InputError, match="unknown extractor 'mean': did you mean 'means'"):
        autogas.evaluate("dead-leaves", "dead-leaves", extractor="mean")


def test_a_strategy_may_take_whatever_it_is_given(monkeypatch):
    class Mine(RandomSearch):
        def __init__(self, space, **options):
            self.given = options
            super().__init__(space, population=options["population"], rng=options["rng"])

    monkeypatch.setitem(STRATEGIES, "mine", Mine)
    made = make_strategy("mine", None, population=3, rng=np.random.default_rng(0), admits=bool, redraws=7)
    assert made.given.keys() == {"population", "rng", "admits", "redraws"}
