import math

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.proxies.language.expression import Prefix, parse_proxy
from autogas.proxies.named import get_proxy
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import Statistics, measure
from autogas.spaces import get_space

SMALL = {"base_width": 8, "decoder_divisor": 16, "stem_stride": 1, "image_size": 32}
ARCHS = ("64-1234-basic", "64-214143-basic", "64-41414-1_23_012", "64-41414-3_01_320")
PLAIN = Prefix()


def network(arch):
    space = get_space("transnas", **SMALL)
    return space.build(space.parse(arch)), space.inputs(batch_size=8)


def activation_inputs(arch):
    """By ordinary hooks."""
    model, inputs = network(arch)
    seen = []
    for module in model.modules():
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().double().numpy().copy()))
    with torch.no_grad():
        model(*inputs)
    return seen


def equation_4(features):
    values = []
    for feature in features:
        if np.ptp(feature, axis=0).max() == 0:
            continue
        swish = feature * expit(feature)
        b = (swish > swish.mean()).reshape(len(swish), -1).astype(float)
        values.append(np.linalg.slogdet(b @ b.T)[1] ** 2)
    return np.mean(values)


@pytest.mark.parametrize("arch", ARCHS)
def test_autogas_is_equation_4(arch):
    proxy = get_proxy("autogas")
    score = Evaluator([measure(*network(arch), [proxy.prefix])]).scores(proxy)
    assert score[0] == pytest.approx(equation_4(activation_inputs(arch)), rel=1e-4)


def made(seed=0, layers=3, n=4, size=20, live=None, failure="", scale=1.0):
    """Statistics of a network that never was."""
    b = np.random.default_rng(seed).normal(0.2, scale, (layers, n, size))
    return Statistics(
        {PLAIN: (b @ b.mT).astype(np.float32)},
        {PLAIN: b.sum(axis=2)},
        {PLAIN: np.full(layers, size)},
        {"activations": np.ones(layers, dtype=bool) if live is None else np.array(live)},
        {"activations": np.full(layers, size)},
        failure,
        {},
    )


def layers(statistics):
    return [
        g.astype(float) for g, live in zip(statistics.gram[PLAIN], statistics.live["activations"], strict=True) if live
    ]


def cosine(g):
    return g / np.sqrt(np.outer(g.diagonal(), g.diagonal()))


LOOPS = {
    "gram > frobenius": lambda gs: np.mean([np.linalg.norm(g) for g in gs]),
    "cosine > slogdet > abs > max > neg": lambda gs: -max(abs(np.linalg.slogdet(cosine(g))[1]) for g in gs),
    "gram > trace > log > sum": lambda gs: sum(math.log(np.trace(g)) for g in gs),
    "distance > l1_norm > last > sqrt": lambda gs: math.sqrt(
        np.mean([gs[-1][i, i] + gs[-1][j, j] - 2 * gs[-1][i, j] for i in range(4) for j in range(4)])
    ),
    "gram > eigenvalue_max > neg > min > log1p": lambda gs: -math.log(1 + max(np.linalg.norm(g, 2) for g in gs)),
    "cosine > effective_rank > spread": lambda gs: np.std([len(g) ** 2 / np.sum(cosine(g) ** 2) for g in gs]),
}


@pytest.mark.parametrize("text", LOOPS)
def test_against_a_loop(text):
    networks = [made(0), made(1, layers=1), made(2, layers=5, scale=3)]
    scores = Evaluator(networks).scores(parse_proxy(text))
    np.testing.assert_allclose(scores, [LOOPS[text](layers(network)) for network in networks], rtol=1e-6)


@pytest.mark.parametrize("text", ["gram > slogdet", "pearson > abslog > l2_norm", "distance > entry_std > last"])
def test_networks_do_not_see_each_other(text):
    networks = [made(0), made(1, layers=1), made(2, layers=5)]
    together = Evaluator(networks).scores(parse_proxy(text))
    alone = [Evaluator([network]).scores(parse_proxy(text))[0] for network in networks]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_order_of_expressions_does_not_matter():
    texts = [f"{k} > {r}" for k in ("gram", "pearson", "cosine") for r in ("slogdet", "trace", "l1_norm")]
    proxies = [parse_proxy(text) for text in texts]
    evaluator = Evaluator([made(0), made(1)])
    first = [evaluator.scores(proxy) for proxy in proxies]
    again = [evaluator.scores(proxy) for proxy in reversed(proxies)]
    np.testing.assert_array_equal(first, again[::-1])


@pytest.mark.parametrize(
    "text", ["gram > slogdet", "gram > trace > last", "gram > trace > min", "cosine > abslog > spread"]
)
def test_dead_layers_are_left_out(text):
    whole = made(0, layers=5, live=[True, False, True, True, False])
    kept = [0, 2, 3]
    pruned = Statistics(
        {PLAIN: whole.gram[PLAIN][kept]},
        {PLAIN: whole.sums[PLAIN][kept]},
        {PLAIN: whole.sizes[PLAIN][kept]},
        {"activations": np.ones(3, dtype=bool)},
        {"activations": np.full(3, 20)},
        "",
        {},
    )
    scores = Evaluator([whole, pruned, made(1)]).scores(parse_proxy(text))
    assert scores[0] == scores[1] != scores[2]


def test_failed_networks_have_no_score_but_a_reason():
    evaluator = Evaluator([made(0), made(1, failure="it fell"), made(2, live=[False] * 3), made(3)])
    assert np.isnan(evaluator.scores(parse_proxy("gram > trace"))).tolist() == [False, True, True, False]
    assert evaluator.failures == {1: "it fell", 2: "no layer varies over the batch"}
    assert evaluator.live_networks == [0, 3]


def test_scores_stay_in_place_around_a_failed_network():
    scores = Evaluator([made(0), made(1, failure="it fell"), made(2)]).scores(parse_proxy("gram > trace"))
    assert scores[2] == Evaluator([made(2)]).scores(parse_proxy("gram > trace"))[0]


def test_all_networks_may_fail():
    assert np.isnan(Evaluator([made(failure="a"), made(failure="b")]).scores(parse_proxy("gram > trace"))).all()


class Constant(nn.Module):
    def forward(self, x):
        return F.relu(x) * 0


class Dead(nn.Module):
    def forward(self, x):
        return F.relu(x * 0) + x


@pytest.mark.parametrize(
    ("model", "reason"),
    [(Constant(), "the output of the network ignores its input"), (Dead(), "no layer varies over the batch")],
)
def test_reason_of_a_real_network(model, reason):
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    evaluator = Evaluator([measure(nn.ReLU(), (x,), [PLAIN]), measure(model, (x,), [PLAIN])])
    assert evaluator.failures == {1: reason}
    assert np.isnan(evaluator.scores(parse_proxy("gram > trace"))).tolist() == [False, True]


def test_infinite_score_is_reported():
    proxy = parse_proxy("distance > trace > log")
    evaluator = Evaluator([made(0), made(1, failure="it fell"), made(2)])
    scores = evaluator.scores(proxy)
    assert np.isnan(scores).all()
    assert evaluator.why_failed(proxy, scores) == f"not finite on 2 of 3 networks, first on number 0: {proxy}"


def test_first_number_that_is_reported():
    zero = made(1)
    zero.gram[PLAIN][1] = 0
    proxy = parse_proxy("gram > slogdet > sum")
    evaluator = Evaluator([made(0), zero, made(2)])
    scores = evaluator.scores(proxy)
    assert np.isfinite(scores).tolist() == [True, False, True]
    assert evaluator.why_failed(proxy, scores).startswith("not finite on 1 of 3 networks, first on number 1")


@pytest.mark.parametrize("text", ["gram > slogdet", "gram > abslog", "covariance > nuclear_norm"])
def test_non_finite_layer_spoils_one_network(text):
    bad = made(1)
    bad.gram[PLAIN][2] = np.nan
    scores = Evaluator([made(0), bad, made(2)]).scores(parse_proxy(text))
    assert np.isfinite(scores).tolist() == [True, False, True]


def test_nothing_to_report():
    evaluator = Evaluator([made(0), made(1, failure="it fell")])
    proxy = parse_proxy("gram > trace")
    assert evaluator.why_failed(proxy, evaluator.scores(proxy)) == ""


def test_prefix_without_statistics():
    with pytest.raises(InputError, match="no statistics for prefix 'activations > swish'"):
        Evaluator([made(0)]).scores(parse_proxy("swish > gram > trace"))


def test_prefix_is_looked_up_in_canonical_form():
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    evaluator = Evaluator([measure(nn.ReLU(), (x,), [Prefix(binariser="above_zero")])])
    scores = [
        evaluator.scores(parse_proxy(f"{head} > gram > trace"))[0] for head in ("above_zero", "swish > above_zero")
    ]
    assert scores[0] == scores[1] == (x > 0).sum()


def test_layer_values_and_offsets():
    networks = [made(0), made(1, failure="it fell"), made(2, layers=2, live=[True, False]), made(3, layers=4)]
    evaluator = Evaluator(networks)
    assert evaluator.offsets(PLAIN).tolist() == [0, 3, 4]
    expected = [np.trace(g) for i in (0, 2, 3) for g in layers(networks[i])]
    np.testing.assert_allclose(evaluator.layer_values(PLAIN, "gram", "trace"), expected)


def test_spectrum_is_computed_once(monkeypatch):
    calls = []
    real = torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda x: calls.append(len(x)) or real(x))
    evaluator = Evaluator([made(0), made(1)])
    for reduction in ("slogdet", "eigenvalue_min", "effective_rank"):
        evaluator.scores(parse_proxy(f"gram > {reduction}"))
    assert calls == [6]


def aligned(a, b):
    a, b = (g - g.mean(0) - g.mean(1)[:, None] + g.mean() for g in (a, b))
    return (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize(
    ("word", "partner"),
    [("first", lambda i, n: 0), ("next", lambda i, n: min(i + 1, n - 1)), ("last", lambda i, n: n - 1)],
)
@pytest.mark.parametrize("part", ["", "early", "late"])
def test_layers_are_compared_with_others_of_their_part_alone(word, partner, part):
    """Of three networks, one with a dead layer in front: each compared within itself."""
    networks = [made(0, 5), made(1, 2), made(2, 4, live=[False, True, True, True])]
    source = f"activations@{part} > " if part else ""
    found = Evaluator(networks).scores(parse_proxy(f"{source}deviation > cka_{word} > sum"))
    for network, value in zip(networks, found, strict=True):
        grams = layers(network)
        n = len(grams)
        grams = grams[: (n + 1) // 2] if part == "early" else grams[n // 2 :] if part == "late" else grams
        expected = sum(aligned(g, grams[partner(i, len(grams))]) for i, g in enumerate(grams))
        assert value == pytest.approx(expected, rel=1e-5)
