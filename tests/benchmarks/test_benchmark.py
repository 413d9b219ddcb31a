import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from autogas import Benchmark
from autogas.errors import InputError
from autogas.spaces import get_space


def repeats_of(bench, rows, seeds=3):
    """A table of repeats with the quality of ``rows`` architectures, trained with ``seeds`` seeds."""
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        [
            {"arch": str(bench.archs[i]), "seed": seed, "ssim": bench.quality[i] + rng.normal()}
            for i in range(rows)
            for seed in range(seeds)
        ]
    )


def mean_tau(table):
    """Mean of tau-b between every two seeds."""
    columns = [group.sort_values("arch")["ssim"].to_numpy() for _, group in table.groupby("seed")]
    return np.mean([stats.kendalltau(a, b).statistic for a, b in itertools.combinations(columns, 2)])


@pytest.mark.parametrize("count", [7, 8, 20, 70, 350])
def test_split_is_four_to_three_and_disjoint(make_bench, count):
    split = make_bench(count).split(validation=None, test=None)
    assert sorted([*split.validation, *split.test]) == list(range(count))
    assert abs(len(split.validation) - count * 4 / 7) <= 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_smaller_draw_is_a_part_of_the_same_side(make_bench, seed):
    bench = make_bench()
    whole, part = bench.split(validation=None, test=None, seed=seed), bench.split(validation=10, test=12, seed=seed)
    assert (len(part.validation), len(part.test)) == (10, 12)
    assert set(part.validation) <= set(whole.validation)
    assert set(part.test) <= set(whole.test)


def test_split_depends_on_the_seed_alone(make_bench):
    first, again, other = (make_bench().split(validation=20, test=20, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.validation, again.validation)
    assert np.array_equal(first.test, again.test)
    assert set(first.validation) != set(other.validation)


def test_every_architecture_comes_to_either_side(make_bench):
    bench = make_bench(21)
    tested = [set(bench.split(validation=None, test=None, seed=seed).test) for seed in range(40)]
    assert set.union(*tested) == set(range(21))
    assert not set.intersection(*tested)


@pytest.mark.parametrize(("part", "available"), [("validation", 40), ("test", 30)])
@pytest.mark.parametrize("excess", [1, 1000])
def test_more_than_there_are_is_refused(make_bench, part, available, excess):
    everything = {"validation": None, "test": None}
    make_bench().split(**{**everything, part: available})
    with pytest.raises(InputError, match=rf"^--{part} {available + excess}: .*{available}.*70") as error:
        make_bench().split(**{**everything, part: available + excess})
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("count", [-1, 0, 2])
def test_too_few_to_correlate_are_refused(make_bench, part, count):
    with pytest.raises(InputError, match=f"^--{part} {count}: "):
        make_bench().split(**{"validation": 3, "test": 3, part: count})


@pytest.mark.parametrize("part", ["macro", "micro"])
def test_subset_keeps_the_architectures_of_a_space(make_bench, part):
    bench = make_bench()
    subset = bench.subset(get_space(f"transnas-{part}", image_size=128))
    expected = [
        (str(a), q) for a, q in zip(bench.archs, bench.quality, strict=True) if (a.cell is None) == (part == "macro")
    ]
    assert 0 < len(expected) < len(bench)
    assert list(zip(map(str, subset.archs), subset.quality, strict=True)) == expected
    assert subset.name == f"toy/{part}"
    assert subset.space.image_size == 128


def test_subset_keeps_what_is_said_of_the_benchmark(make_bench):
    bench = make_bench(higher_is_better=False, provenance={"from": "here"})
    subset = bench.subset(get_space("transnas-macro"))
    assert (subset.metric, subset.higher_is_better, subset.provenance) == ("ssim", False, {"from": "here"})


def test_an_empty_subset_is_refused(make_bench):
    with pytest.raises(InputError, match=r"toy.*transnas-micro"):
        make_bench(space="transnas-macro").subset(get_space("transnas-micro"))


@pytest.mark.parametrize(("higher", "best"), [(True, np.argmax), (False, np.argmin)])
def test_goodness_is_bigger_for_the_better(make_bench, higher, best):
    bench = make_bench(higher_is_better=higher)
    assert np.argmax(bench.goodness) == best(bench.quality)
    assert np.array_equal(np.abs(bench.goodness), np.abs(bench.quality))


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_noise_ceiling_is_the_mean_tau_between_seeds(make_bench, seeds):
    repeats = repeats_of(make_bench(), rows=12, seeds=seeds)
    ceiling, count = make_bench(repeats=repeats.sample(frac=1, random_state=0)).noise_ceiling()
    assert count == 12
    assert ceiling == pytest.approx(mean_tau(repeats))


def test_noise_ceiling_leaves_out_what_was_trained_once(make_bench):
    repeats = repeats_of(make_bench(), rows=12)
    once = repeats[(repeats["seed"] == 0) | repeats["arch"].isin(repeats["arch"].unique()[:8])]
    ceiling, count = make_bench(repeats=once).noise_ceiling()
    assert count == 8
    assert ceiling == pytest.approx(mean_tau(repeats.iloc[: 8 * 3]))


def test_noise_ceiling_weighs_a_pair_of_seeds_by_its_architectures(make_bench):
    repeats = repeats_of(make_bench(), rows=12)
    few = repeats["arch"].isin(repeats["arch"].unique()[:4])
    ceiling, count = make_bench(repeats=repeats[(repeats["seed"] < 2) | few]).noise_ceiling()
    first = mean_tau(repeats[repeats["seed"] < 2])
    third = [mean_tau(repeats[few & repeats["seed"].isin([seed, 2])]) for seed in (0, 1)]
    assert count == 12
    assert ceiling == pytest.approx((12 * first + 4 * third[0] + 4 * third[1]) / 20)


def test_noise_ceiling_of_a_part_counts_its_own(make_bench):
    bench = make_bench()
    repeats = repeats_of(bench, rows=20)
    macro = repeats[repeats["arch"].str.endswith("basic")]
    ceiling, count = make_bench(repeats=repeats).subset(get_space("transnas-macro")).noise_ceiling()
    assert count == macro["arch"].nunique()
    assert ceiling == pytest.approx(mean_tau(macro))


@pytest.mark.parametrize(("rows", "seeds"), [(2, 3), (10, 1)])
def test_no_noise_ceiling_without_repeats(make_bench, rows, seeds):
    assert make_bench().noise_ceiling() is None
    assert make_bench(repeats=repeats_of(make_bench(), rows, seeds)).noise_ceiling() is None


def test_a_seed_of_one_quality_has_no_part_in_the_noise_ceiling():
    rows = [(arch, seed, float(seed != 1) * i) for i, arch in enumerate("abcd") for seed in range(3)]
    table = pd.DataFrame(rows, columns=["arch", "seed", "ssim"])
    space = get_space("transnas-macro")
    archs = [str(arch) for arch in space.sample_distinct(4, np.random.default_rng(0))]
    table["arch"] = table["arch"].map(dict(zip("abcd", archs, strict=True)))
    parsed = tuple(map(space.parse, archs))
    bench = Benchmark("own", space, parsed, np.arange(4.0), "ssim", repeats=table)
    assert bench.noise_ceiling() == (1.0, 4)
    assert replace(bench, repeats=table[table["seed"] < 2]).noise_ceiling() is None
