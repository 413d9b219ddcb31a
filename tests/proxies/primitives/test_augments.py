import math
import statistics

import numpy as np
import pytest

from autogas.proxies.primitives import REGISTRY, Stage

AUGMENTS = REGISTRY[Stage.AUGMENT]
AGGREGATES = REGISTRY[Stage.AGGREGATE]
LENGTHS = (3, 1, 5, 2)

LOOP = {
    "mean": lambda x: sum(x) / len(x),
    "sum": sum,
    "l2_norm": lambda x: math.sqrt(sum(v * v for v in x)),
    "max": max,
    "min": min,
    "spread": lambda x: math.sqrt(sum((v - sum(x) / len(x)) ** 2 for v in x) / len(x)),
    "median": statistics.median,
    "slope": lambda x: np.polyfit(np.linspace(-1, 1, len(x)), x, 1)[0] if len(x) > 1 else 0.0,
    "last": lambda x: x[-1],
}
PLAIN = {
    "abs": lambda x: x if x > 0 else -x,
    "pow2": lambda x: x * x,
    "sqrt": lambda x: math.sqrt(abs(x)),
    "log": lambda x: math.log(abs(x)),
    "log1p": lambda x: math.copysign(math.log1p(abs(x)), x),
    "neg": lambda x: -x,
}


def networks(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(scale=3, size=n) for n in lengths]


def aggregate(name, ragged):
    offsets = np.cumsum([0, *(len(x) for x in ragged[:-1])])
    return AGGREGATES[name].function(np.concatenate(ragged), offsets)


def test_every_word_has_a_loop():
    assert set(LOOP) == set(AGGREGATES)
    assert set(PLAIN) == set(AUGMENTS)


@pytest.mark.parametrize("lengths", [LENGTHS, (4,), (1, 1), (1, 7)], ids=str)
@pytest.mark.parametrize("name", LOOP)
def test_aggregate(name, lengths):
    ragged = networks(lengths)
    np.testing.assert_allclose(
        aggregate(name, ragged), [LOOP[name](x.tolist()) for x in ragged], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", AGGREGATES)
def test_aggregate_is_pure(name):
    x, offsets = np.concatenate(networks()), np.array([0, 3, 4, 9])
    before = x.copy()
    AGGREGATES[name].function(x, offsets)
    np.testing.assert_array_equal(x, before)
    assert offsets.tolist() == [0, 3, 4, 9]


STRICT = [name for name in AGGREGATES if name not in ("median", "min", "max")]


@pytest.mark.parametrize("name", STRICT)
def test_other_networks_stay_finite(name):
    ragged = networks()
    ragged[2][-1] = np.nan
    assert np.isfinite(aggregate(name, ragged)).tolist() == [True, True, False, True]


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_non_finite_layer_makes_the_score_non_finite(name, bad):
    ragged = networks()
    ragged[2][1] = bad
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(aggregate(name, ragged)[2])


def test_spread_of_one_layer_is_zero():
    assert aggregate("spread", networks((1, 3)))[0] == 0


@pytest.mark.parametrize("name", PLAIN)
def test_augment(name):
    x = np.concatenate([*networks(), [1e-9, -1e6]])
    np.testing.assert_allclose(AUGMENTS[name].function(x), [PLAIN[name](v) for v in x.tolist()], rtol=1e-12)


@pytest.mark.parametrize("name", AUGMENTS)
def test_augment_is_pure(name):
    x = networks()[0]
    before = x.copy()
    AUGMENTS[name].function(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", AUGMENTS)
def test_zero_is_finite_unless_documented(name):
    with np.errstate(divide="ignore"):
        finite = np.isfinite(AUGMENTS[name].function(np.zeros(1)))[0]
    assert finite == ("zero is not finite" not in AUGMENTS[name].edge)


@pytest.mark.parametrize("name", [name for name, word in AUGMENTS.items() if word.increasing])
def test_increasing(name):
    x = np.concatenate([-np.logspace(9, -9, 200), [0], np.logspace(-9, 9, 200)])
    assert (np.diff(AUGMENTS[name].function(x)) > 0).all()


@pytest.mark.parametrize("name", [name for name, word in AUGMENTS.items() if word.keeps_sign])
def test_keeps_sign(name):
    x = np.array([-1e9, -1e-9, 0, 1e-9, 1e9])
    np.testing.assert_array_equal(np.sign(AUGMENTS[name].function(x)), np.sign(x))


@pytest.mark.parametrize("name", AUGMENTS)
def test_no_fact_is_missing(name):
    x = np.linspace(-5, 5, 1000)
    assert (np.diff(AUGMENTS[name].function(x)) > 0).all() == AUGMENTS[name].increasing


@pytest.mark.parametrize(("name", "expected"), [("min", [1.0, 2.0]), ("max", [7.0, 2.0])])
def test_extremes_leave_layers_without_a_value_out(name, expected):
    found = aggregate(name, [[1.0, np.nan, 3.0, 7.0], [np.inf, 2.0, -np.inf], [np.nan, np.inf]])
    assert found.tolist()[:2] == expected
    assert np.isnan(found[2])


def test_median_leaves_layers_without_a_value_out():
    assert aggregate("median", [[1.0, np.nan, 3.0, 7.0], [np.inf, 2.0], [np.nan]]).tolist()[:2] == [3.0, 2.0]
    assert np.isnan(aggregate("median", [[1.0], [np.nan]])[1])
