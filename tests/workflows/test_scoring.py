import numpy as np
import pytest

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
