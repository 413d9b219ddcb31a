"""The package's own spaces, primitives, scorers and strategies hold to what is asked of a plug-in's."""

import pytest
import torch
from torch import nn

import autogas
import autogas.proxies.named  # fills the registry of scorers
from autogas.evolution import Evolution, RandomSearch
from autogas.proxies.primitives import REGISTRY, Stage
from autogas.proxies.scorer import SCORERS
from autogas.testing import PrimitiveContract, ScorerContract, SpaceContract, StrategyContract

SMALL = {
    "transnas": {"base_width": 8, "decoder_divisor": 16, "stem_stride": 1, "image_size": 16},
    "eagan-generator": {"width": 4},
    "eagan-discriminator": {"width": 4},
    "resnet-translation": {"image_size": 32, "divisor": 8},
    "diffusion-unet": {"image_size": 16},
    "spade-translation": {"layout": "coco", "image_size": 64, "num_labels": 4, "divisor": 8},
}
OWN = ("transnas", "transnas-macro", "transnas-micro", *list(SMALL)[1:])


def plain(width, depth):
    layers = [nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()) for _ in range(depth)]
    return nn.Sequential(nn.Conv2d(3, width, 1), *layers, nn.Conv2d(width, 3, 1))


CHOICES = autogas.ChoiceSpace("contract", {"width": [4, 8, 12], "depth": range(1, 6)}, plain, [(3, 8, 8)])


class TestSpaces(SpaceContract):
    @pytest.fixture(autouse=True, params=[*OWN, "choices"])
    def chosen(self, request):
        if request.param == "choices":
            type(self).space = CHOICES
        else:
            family = autogas.get_space(request.param).family
            type(self).space = autogas.get_space(request.param, **SMALL[family])


FEATURES = [primitive for stage in (Stage.TRANSFORM, Stage.BINARISER) for primitive in REGISTRY[stage].values()]


class TestPrimitives(PrimitiveContract):
    @pytest.fixture(autouse=True, params=FEATURES, ids=lambda primitive: primitive.name)
    def chosen(self, request):
        type(self).primitive = request.param


NETWORKS = sorted(name for name, scorer in SCORERS.items() if scorer.of_architecture is None)


class TestScorers(ScorerContract):
    @pytest.fixture(autouse=True, params=NETWORKS)
    def chosen(self, request):
        type(self).scorer = SCORERS[request.param]


class TestEvolution(StrategyContract):
    strategy = Evolution


class TestRandomSearch(StrategyContract):
    strategy = RandomSearch


def test_a_contract_can_fail():
    class Forgetful(SpaceContract):
        space = CHOICES

        def _drawn(self):
            return [object()]

    with pytest.raises(autogas.InputError):
        Forgetful().test_an_architecture_is_its_text()

    class Noisy(ScorerContract):
        scorer = SCORERS["nwot"].__class__("noisy", lambda probe: float(torch.rand(())), None, "noise")

    with pytest.raises(AssertionError):
        Noisy().test_a_score_is_a_number_and_repeats()
