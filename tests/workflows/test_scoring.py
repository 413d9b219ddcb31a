import numpy as np
import pytest

from autogas import InputError, score_architecture
from autogas.spaces import get_space
from autogas.workflows.scoring import Scoring, score_record, space_key

EXPRESSION = "activations > gram > trace"


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("beside", ["snip", "nwot", "macs"])
def test_company_changes_no_score_of_a_network_with_dropout(seed, beside):
    space = get_space("resnet-translation", image_size=32, divisor=8)
    arch = str(space.sample(np.random.default_rng(0)))

    def scores(*proxies):
        asked = Scoring(proxies=list(proxies), batch_size=4, seed=seed).model_dump_json()
        return score_record(arch, space_key(space), asked)["scores"]

    assert scores(EXPRESSION)[EXPRESSION] == pytest.approx(scores(EXPRESSION, beside)[EXPRESSION], rel=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"seed": -1}, "seed"), ({"batch_size": 0}, "batch_size"), ({"device": "tpu"}, "tpu")],
)
def test_settings_of_a_score_are_checked(options, said):
    with pytest.raises(InputError, match=said) as raised:
        score_architecture("transnas-macro", "64-1234-basic", "macs", **options)
    assert len(str(raised.value).splitlines()) == 1


def test_no_proxies_are_refused():
    with pytest.raises(InputError, match="proxies"):
        score_architecture("transnas-macro", "64-1234-basic", None)
