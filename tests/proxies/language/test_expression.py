import functools
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from autogas.errors import InputError
from autogas.proxies.language.expression import MAX_AUGMENTS, Prefix, Proxy, parse_proxy
from autogas.proxies.primitives import REGISTRY, Stage
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import Statistics
from autogas.proxies.statistics.moments import moments

TRANSFORMS, BINARISERS, KERNELS, REDUCTIONS, AUGMENTS, AGGREGATES = (
    tuple(REGISTRY[stage]) for stage in list(Stage)[1:]
)
SEQUENCES = [s for n in range(MAX_AUGMENTS + 1) for s in itertools.product(AUGMENTS, repeat=n)]
TAILS = [(s[:cut], s[cut:]) for s in SEQUENCES for cut in range(len(s) + 1)]


@st.composite
def proxies(draw):
    transforms = draw(st.lists(st.sampled_from(TRANSFORMS), max_size=2))
    binariser = draw(st.none() | st.sampled_from(BINARISERS))
    prefix = Prefix(draw(st.sampled_from(tuple(REGISTRY[Stage.LAYERS]))), tuple(transforms), binariser)
    zero_one = binariser not in (None, "sign")
    kernel = draw(st.sampled_from([k for k in KERNELS if zero_one or k != "hamming"]))
    augments, after = draw(st.sampled_from(TAILS))
    aggregate = draw(st.sampled_from(AGGREGATES))
    return Proxy(prefix, kernel, draw(st.sampled_from(REDUCTIONS)), augments, aggregate, after)


@settings(deadline=None, max_examples=300)
@given(proxies())
def test_text_parses_back(proxy):
    assert parse_proxy(str(proxy)) == proxy


@settings(deadline=None, max_examples=50)
@given(proxies())
def test_blanks_do_not_count(proxy):
    assert parse_proxy("  " + str(proxy).replace(" > ", ">\t") + " ") == proxy


@settings(deadline=None, max_examples=100)
@given(proxies())
def test_stages_spell_the_whole_proxy(proxy):
    words = [primitive.name for primitive in proxy.primitives]
    assert parse_proxy(" > ".join(words)) == proxy
    assert words[0] == proxy.prefix.layers
    assert proxy.aggregate in words


def test_fields():
    assert parse_proxy("convolutions > swish > norm > above_mean > cosine > trace > log > max > neg") == Proxy(
        Prefix("convolutions", ("swish", "norm"), "above_mean"), "cosine", "trace", ("log",), "max", ("neg",)
    )


def test_defaults():
    assert parse_proxy("gram > trace") == Proxy(Prefix("activations", (), None), "gram", "trace", (), "mean", ())


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("activations > gram > trace > mean", "gram > trace"),
        ("gram > trace > abs > mean", "gram > trace > abs"),
        ("gram > trace > mean > abs", "gram > trace > mean > abs"),
        ("convolutions > gram > trace > sum", "convolutions > gram > trace > sum"),
    ],
)
def test_defaults_are_not_printed(text, short):
    assert str(parse_proxy(text)) == short


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("swsh > gram > trace", r"unknown primitive 'swsh': did you mean 'swish'\?"),
        ("gram > slogdett", r"unknown primitive 'slogdett': did you mean 'slogdet'\?"),
        ("gram > trace > meen", r"unknown primitive 'meen': did you mean 'mean'\?"),
        ("GRAM > trace", "unknown primitive 'GRAM'"),
        ("qqqq > gram > trace", "unknown primitive 'qqqq': expected .*above_mean.*trace"),
        ("swish > gram > swish", r"'swish' \(transform\) cannot follow 'gram': a reduction must"),
        ("trace > gram", r"'trace' \(reduction\) cannot follow the start: a transform or a binariser or a kernel must"),
        ("above_mean > swish > gram > trace", r"'swish' \(transform\) cannot follow 'above_mean': a kernel must"),
        ("sign > above_zero > gram > trace", r"'above_zero' \(binariser\) cannot follow 'sign': a kernel must"),
        ("gram > cosine > trace", r"'cosine' \(kernel\) cannot follow 'gram': a reduction must"),
        ("gram > trace > slogdet", r"'slogdet' .* cannot follow 'trace': an augment or an aggregate must"),
        ("gram > trace > mean > max", r"'max' \(aggregate\) cannot follow 'mean': an augment must"),
        ("gram > trace > mean > abs > sum", r"'sum' \(aggregate\) cannot follow 'abs': an augment must"),
        ("swish > activations > gram > trace", r"'activations' \(layers\) cannot follow 'swish'"),
        ("hamming > trace", "'hamming' needs a binary feature"),
        ("swish > hamming > trace", "'hamming' needs a binary feature; put one of .*above_mean.* before it"),
        pytest.param(
            "sign > hamming > trace",
            "'hamming' needs",
        ),
        ("relu > abs > exp > gram > trace", "3 transforms; expected at most 2"),
        ("gram > trace > abs > log > neg", "3 augments; expected at most 2"),
        ("gram > trace > mean > abs > log > neg", "3 augments; expected at most 2"),
        ("gram > trace > abs > mean > log > neg", "3 augments; expected at most 2"),
        ("gram > > trace", "an empty stage"),
        ("gram > trace >", "an empty stage"),
        ("> gram > trace", "an empty stage"),
        ("", "an empty stage"),
        ("swish", r"ends in a feature .*: a transform or a binariser or a kernel must follow"),
        ("activations", r"ends in a feature .*: a transform or a binariser or a kernel must follow"),
        ("swish > above_mean", "ends in a binary feature .*: a kernel must follow"),
        ("swish > gram", r"ends in a matrix \[N, N\]: a reduction must follow"),
    ],
)
def test_error(text, message):
    with pytest.raises(InputError, match=message):
        parse_proxy(text)


@pytest.mark.parametrize(
    "text", ["swsh > gram > trace", "gram > trace > slogdet", "swish", "gram > > trace", "hamming > trace"]
)
def test_error_names_the_proxy_in_one_line(text):
    with pytest.raises(InputError) as caught:
        parse_proxy(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@functools.cache
def evaluator(prefix, networks=12, samples=6):
    """Random statistics of networks of one to five layers, whose values have both signs and many magnitudes."""
    rng = np.random.default_rng(0)

    def layer():
        size = int(rng.integers(8, 60))
        if prefix.binariser in (None, "sign"):
            scale = np.exp(rng.normal(-1, 1.5))
            return scale * (rng.normal(size=(samples, size)) + rng.normal(0, 0.3))
        return (rng.uniform(size=(samples, size)) > rng.uniform(0.2, 0.8)).astype(float)

    def network():
        features = [layer() for _ in range(rng.integers(1, 6))]
        return Statistics(
            {prefix: np.stack([b @ b.T for b in features]).astype(np.float32)},
            {prefix: np.stack([b.sum(axis=1) for b in features])},
            {prefix: np.array([b.shape[1] for b in features])},
            {prefix.layers: np.ones(len(features), dtype=bool)},
            {prefix.layers: np.ones(len(features), dtype=np.int64)},
            "",
            {},
        )

    return Evaluator([network() for _ in range(networks)])


def ranks(proxy):
    scores = evaluator(proxy.prefix.canonical()).scores(proxy)
    digits = np.array([float(f"{score:.7e}") for score in scores])
    return rankdata(np.nan_to_num(digits, nan=0, posinf=np.inf, neginf=-np.inf))


MIXED = ["gram > slogdet", "pearson > off_diagonal", "covariance > off_diagonal"]
HEADS = [*MIXED, "distance > eigenvalue_min", "above_zero > hamming > abslog"]
CONSTANT = [("pearson", "trace"), ("cosine", "trace"), ("distance", "trace")]


@pytest.mark.parametrize("head", MIXED)
def test_random_layers_have_both_signs(head):
    proxy = parse_proxy(head)
    values = evaluator(proxy.prefix).layer_values(proxy.prefix, proxy.kernel, proxy.reduction)
    assert 0.2 < (values < 0).mean() < 0.8


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_canonical_end_ranks_alike(head, aggregate):
    start = parse_proxy(head)
    for augments, after in TAILS:
        proxy = Proxy(start.prefix, start.kernel, start.reduction, augments, aggregate, after)
        np.testing.assert_array_equal(ranks(proxy), ranks(proxy.canonical()), err_msg=str(proxy))


@settings(deadline=None, max_examples=300)
@given(proxies().filter(lambda p: (p.kernel, p.reduction) not in CONSTANT))
def test_canonical_ranks_alike(proxy):
    np.testing.assert_array_equal(ranks(proxy), ranks(proxy.canonical()))


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_canonical_end_is_no_longer(aggregate):
    for augments, after in TAILS:
        proxy = Proxy(Prefix(), "gram", "trace", augments, aggregate, after).canonical()
        assert len(proxy.augments) + len(proxy.after) <= len(augments) + len(after)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_canonical_end_twice_is_canonical(aggregate):
    for augments, after in TAILS:
        proxy = Proxy(Prefix(), "gram", "trace", augments, aggregate, after).canonical()
        assert proxy.canonical() == proxy


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("gram > trace > mean > log1p", "gram > trace"),
        ("gram > trace > mean > log1p > log1p", "gram > trace"),
        ("gram > trace > log1p", "gram > trace > log1p"),
        ("gram > trace > neg > neg", "gram > trace"),
        ("gram > trace > neg", "gram > trace > mean > neg"),
        ("gram > trace > neg > mean > neg", "gram > trace"),
        ("gram > trace > neg > last > abs", "gram > trace > last > abs"),
        ("gram > trace > neg > max", "gram > trace > neg > max"),
        ("gram > trace > neg > spread", "gram > trace > neg > spread"),
        ("gram > trace > pow2 > sqrt", "gram > trace > abs"),
        ("gram > trace > abs > pow2", "gram > trace > pow2"),
        ("gram > trace > pow2", "gram > trace > pow2"),
        ("gram > trace > mean > pow2", "gram > trace > mean > abs"),
        ("gram > trace > mean > log", "gram > trace > mean > abs"),
        ("gram > trace > mean > sqrt > neg", "gram > trace > mean > abs > neg"),
        ("leaky_relu > above_zero > gram > trace", "above_zero > gram > trace"),
        ("swish > tanh > sign > gram > trace", "sign > gram > trace"),
        ("swish > relu > sign > gram > trace", "above_zero > gram > trace"),
        ("min_max > above_mean > gram > trace", "above_mean > gram > trace"),
        ("sigmoid > exp > above_median > gram > trace", "above_median > gram > trace"),
        ("swish > above_mean > gram > trace", "swish > above_mean > gram > trace"),
        ("relu > above_median > gram > trace", "relu > above_median > gram > trace"),
        ("tanh > scale > above_zero > gram > trace", "tanh > scale > above_zero > gram > trace"),
        ("tanh > swish > gram > trace", "tanh > swish > gram > trace"),
        ("convolutions > tanh > sign > gram > trace", "convolutions > sign > gram > trace"),
    ],
)
def test_canonical(text, canonical):
    assert str(parse_proxy(text).canonical()) == canonical


def feature():
    """Pre-activations of one layer: skewed, with channels of different spread, some entries exactly zero."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, 8, 8, generator=generator)
    weight = torch.randn(12, 3, 3, 3, generator=generator)
    x = torch.nn.functional.conv2d(x, weight, padding=1) * torch.linspace(0.02, 0.2, 12).view(-1, 1, 1) + 0.1
    x += 0.2 * x.square()
    x[:, ::2, 0, :2] = 0
    return x[None]


def simplified(last, binariser):
    firsts = [(), *((first,) for first in TRANSFORMS)]
    prefixes = [Prefix(transforms=(*first, last), binariser=binariser) for first in firsts]
    return [prefix for prefix in prefixes if prefix.canonical() != prefix]


CHANGED = [(last, binariser) for last in TRANSFORMS for binariser in BINARISERS if simplified(last, binariser)]
FLIPPED = 8  # entries of 6,144 that rounding may carry over a threshold


@pytest.mark.parametrize(("last", "binariser"), CHANGED)
def test_canonical_prefix_has_equal_statistics(last, binariser):
    x = feature()
    for prefix in simplified(last, binariser):
        given, simple = moments(x, [prefix]), moments(x, [prefix.canonical()])
        assert given.sizes == simple.sizes
        assert (given.sums - simple.sums).abs().sum() <= FLIPPED, str(prefix)
        assert (given.gram - simple.gram).abs().max() <= FLIPPED, str(prefix)


@pytest.mark.parametrize("binariser", BINARISERS)
def test_binarisers_differ_on_that_feature(binariser):
    x = feature()
    sums = moments(x, [Prefix(binariser=binariser)]).sums
    for other in set(BINARISERS) - {binariser}:
        assert (moments(x, [Prefix(binariser=other)]).sums - sums).abs().sum() > 10 * FLIPPED


@pytest.mark.parametrize("first", [None, *TRANSFORMS])
def test_canonical_prefix_twice_is_canonical(first):
    for second in TRANSFORMS:
        for binariser in (None, *BINARISERS):
            prefix = Prefix(transforms=(*filter(None, [first]), second), binariser=binariser).canonical()
            assert prefix.canonical() == prefix


CONSTANT = {"exp", "sigmoid", *(name for name in TRANSFORMS if name.startswith("softmax") or "attention" in name)}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_constant_prefix_has_only_ones(name):
    x = feature()
    x = torch.where(x == 0, 1, x)
    prefixes = [Prefix(transforms=(name,), binariser=binariser) for binariser in BINARISERS]
    ones = {prefix for prefix in prefixes for found in [moments(x, [prefix])] if (found.gram == found.sizes[0]).all()}
    assert {prefix for prefix in prefixes if prefix.constant} <= ones
    assert any(prefix.constant for prefix in prefixes) == (name in CONSTANT)


def test_a_prefix_with_zeros_is_not_constant():
    assert not Prefix(transforms=("relu", "abs"), binariser="above_zero").constant
