import itertools
from collections import Counter

import numpy as np
import pytest

from autogas.proxies.language.expression import Prefix, Proxy, parse_proxy
from autogas.proxies.language.grammar import Grammar, default_prefixes, papers
from autogas.proxies.primitives import REGISTRY, Stage

KERNELS, REDUCTIONS, AUGMENTS, AGGREGATES = (
    papers(stage) for stage in (Stage.KERNEL, Stage.REDUCTION, Stage.AUGMENT, Stage.AGGREGATE)
)
SMALL = Grammar([Prefix(), Prefix(transforms=("swish",), binariser="above_mean")])
ALL = list(SMALL.enumerate())
INSIDE = set(ALL)


def parts(proxy):
    return proxy.prefix, proxy.kernel, proxy.reduction, (proxy.augments, proxy.aggregate, proxy.after)


def test_thirty_default_prefixes():
    prefixes = default_prefixes()
    assert len(prefixes) == len(set(prefixes)) == 30


@pytest.mark.parametrize("prefix", default_prefixes(), ids=str)
def test_default_prefix_is_canonical(prefix):
    assert prefix.canonical() == prefix
    assert prefix.layers == "activations"
    assert not prefix.constant


def test_default_grammar_holds_the_paper():
    assert parse_proxy("swish > above_mean > gram > slogdet > pow2").prefix in Grammar().prefixes


def test_prefixes_become_canonical_and_distinct():
    given = [Prefix(transforms=("swish",), binariser="sign"), Prefix(binariser="sign"), Prefix(transforms=("tanh",))]
    assert Grammar(given).prefixes == (Prefix(binariser="sign"), Prefix(transforms=("tanh",)))


def test_enumeration_is_distinct():
    assert len(INSIDE) == len(ALL)


def test_length():
    assert len(SMALL) == len(ALL) == (len(KERNELS) - 1 + len(KERNELS)) * len(REDUCTIONS) * len(SMALL.tails)


PLAIN = {
    "abs": np.abs,
    "pow2": np.square,
    "sqrt": lambda x: np.sqrt(np.abs(x)),
    "log": lambda x: np.log(np.abs(x)),
    "log1p": lambda x: np.sign(x) * np.log1p(np.abs(x)),
    "neg": np.negative,
    "mean": np.mean,
    "sum": np.sum,
    "l2_norm": np.linalg.norm,
    "max": np.max,
    "min": np.min,
    "spread": np.std,
    "last": lambda x: x[-1],
}


def order(networks, augments, aggregate, after):
    """Order of networks by the score of an end, one network at a time."""
    scores = []
    for layers in networks:
        value = layers
        for word in (*augments, aggregate, *after):
            value = PLAIN[word](value)
        scores.append(value)
    return tuple(np.argsort(scores, kind="stable"))


def test_ends_are_all_ways_to_rank_and_none_twice():
    rng = np.random.default_rng(5)
    networks = [rng.normal(size=rng.integers(2, 7)) * rng.lognormal() for _ in range(80)]
    sequences = [s for n in range(3) for s in itertools.product(AUGMENTS, repeat=n)]
    every = {
        order(networks, s[:cut], aggregate, s[cut:])
        for aggregate in AGGREGATES
        for s in sequences
        for cut in range(len(s) + 1)
    }
    ours = [order(networks, *tail) for tail in SMALL.tails]
    assert set(ours) == every
    assert len(set(ours)) == len(ours)


def test_ends_are_distinct():
    assert len(set(SMALL.tails)) == len(SMALL.tails)


def test_enumerated_proxies_are_canonical():
    assert [str(proxy) for proxy in ALL if proxy.canonical() != proxy] == []


def test_enumerated_proxies_parse():
    for proxy in ALL[::53]:
        assert parse_proxy(str(proxy)) == proxy


@pytest.mark.parametrize("binariser", [None, "sign", "above_zero", "above_mean", "above_median"])
def test_hamming_needs_zeros_and_ones(binariser):
    kernels = {kernel for _, kernel, _ in Grammar([Prefix(binariser=binariser)]).heads}
    expected = set(KERNELS) if str(binariser).startswith("above") else set(KERNELS) - {"hamming"}
    assert kernels == expected


def test_default_heads_never_pair_hamming_with_other_values():
    hamming = {prefix.binariser for prefix, kernel, _ in Grammar().heads if kernel == "hamming"}
    assert hamming == {"above_zero", "above_mean", "above_median"}


def test_samples_are_inside():
    rng = np.random.default_rng(0)
    assert {SMALL.sample(rng) for _ in range(500)} <= INSIDE


def test_samples_reach_every_word():
    rng = np.random.default_rng(0)
    words = Counter(primitive.function for _ in range(3000) for primitive in SMALL.sample(rng).primitives)
    stages = (Stage.KERNEL, Stage.REDUCTION, Stage.AUGMENT, Stage.AGGREGATE)
    assert all(
        words[primitive.function] > 20 for stage in stages for primitive in map(REGISTRY[stage].get, papers(stage))
    )


def test_a_rare_kernel_is_as_likely_as_a_common_one():
    rng = np.random.default_rng(0)
    drawn = Counter((p.prefix, p.kernel) for p in (SMALL.sample(rng) for _ in range(4000)))
    plain = [drawn[SMALL.prefixes[0], kernel] for kernel in KERNELS if kernel != "hamming"]
    binary = [drawn[SMALL.prefixes[1], kernel] for kernel in KERNELS]
    assert sum(plain) == pytest.approx(2000, abs=150)
    np.testing.assert_allclose(plain, 400, atol=90)
    np.testing.assert_allclose(binary, 2000 / 6, atol=90)


def test_samples_repeat_with_the_seed():
    drawn = [[SMALL.sample(rng) for _ in range(20)] for rng in map(np.random.default_rng, (1, 1, 2))]
    assert drawn[0] == drawn[1] != drawn[2]


def changed(first, second):
    return [a != b for a, b in zip(parts(first), parts(second), strict=True)]


def test_mutants_are_inside_and_differ_in_one_stage():
    rng = np.random.default_rng(0)
    stages = Counter()
    for _ in range(500):
        parent = SMALL.sample(rng)
        mutant = SMALL.mutate(parent, rng)
        assert mutant in INSIDE
        assert sum(changed(parent, mutant)) == 1
        stages[changed(parent, mutant).index(True)] += 1
    assert min(stages[i] for i in range(4)) > 30


def test_mutation_keeps_hamming_on_zeros_and_ones():
    rng = np.random.default_rng(0)
    parent = Proxy(SMALL.prefixes[1], "hamming", "trace")
    mutants = [SMALL.mutate(parent, rng) for _ in range(200)]
    assert {m.prefix for m in mutants if m.kernel == "hamming"} == {SMALL.prefixes[1]}


def test_children_are_inside_and_take_every_stage_from_a_parent():
    rng = np.random.default_rng(0)
    for _ in range(500):
        first, second = SMALL.sample(rng), SMALL.sample(rng)
        child = SMALL.crossover(first, second, rng)
        assert child in INSIDE
        assert all(part in pair for part, *pair in zip(parts(child), parts(first), parts(second), strict=True))


def test_every_stage_comes_from_both_parents():
    rng = np.random.default_rng(0)
    first = parse_proxy("gram > trace > abs > max")
    second = parse_proxy("swish > above_mean > cosine > slogdet > log > sum")
    children = [SMALL.crossover(first, second, rng) for _ in range(200)]
    from_first = np.array([[not different for different in changed(first, child)] for child in children])
    assert ((from_first.mean(axis=0) > 0.3) & (from_first.mean(axis=0) < 0.7)).all()


@pytest.mark.parametrize("turn", [1, -1])
def test_hamming_comes_with_its_prefix(turn):
    rng = np.random.default_rng(0)
    parents = [parse_proxy("gram > trace"), parse_proxy("swish > above_mean > hamming > slogdet")][::turn]
    children = {parts(SMALL.crossover(*parents, rng))[:2] for _ in range(200)}
    plain, binary = SMALL.prefixes
    assert children == {(plain, "gram"), (binary, "gram"), (binary, "hamming")}
