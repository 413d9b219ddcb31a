"""The tables that ship in the package, against the spaces they were drawn from."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from autogas.benchmarks import load_benchmark
from autogas.benchmarks.store import EMBEDDED

SEEDS_OF_DENOISERS = {2: 120}
TABLES = {
    "mini-autoencoder": ("ssim", True, {1: 135, 3: 15, 10: 150}),
    "mini-gan": ("fid_cifarnet", False, {1: 80, 3: 20}),
    "mini-gan-2": ("fid_cifarnet", False, {2: 70, 3: 30}),
    "mini-diffusion": ("denoising_loss", False, SEEDS_OF_DENOISERS),
}
"""Metric, whether higher is better, and how many architectures have how many seeds."""


@pytest.fixture(params=TABLES)
def name(request):
    return request.param


def test_what_ships_is_listed_here():
    assert {path.stem for path in EMBEDDED.glob("*.parquet")} == TABLES.keys()


def test_size_metric_and_provenance(name):
    bench = load_benchmark(name)
    metric, higher, seeds = TABLES[name]
    assert (bench.metric, bench.higher_is_better) == (metric, higher)
    assert len(set(map(str, bench.archs))) == len(bench) == sum(seeds.values()) == bench.provenance["settings"]["count"]
    rows = pd.read_parquet(EMBEDDED / f"{name}.parquet")
    assert rows.groupby("arch").size().value_counts().to_dict() == seeds
    assert np.isfinite(bench.quality).all()
    assert bench.provenance.keys() >= {"commit", "machine", "settings", "train_seconds", "versions"}


@pytest.mark.parametrize("name", ["mini-gan", "mini-gan-2"])
def test_sizes_of_gans_are_those_of_their_space(name):
    bench = load_benchmark(name)
    for row in pd.read_parquet(EMBEDDED / f"{name}.parquet").to_dict("records"):
        cost = bench.space.cost(bench.space.parse(row["arch"]))
        assert (cost.params, cost.macs) == (row["params"], row["macs"])


def test_no_formula_was_found_on_the_gans_of_mini_gan_2():
    assert not {*map(str, load_benchmark("mini-gan").archs)} & {*map(str, load_benchmark("mini-gan-2").archs)}


@pytest.mark.parametrize("name", [name for name, (*_, seeds) in TABLES.items() if len(seeds) > 1 or 1 not in seeds])
def test_quality_is_the_mean_over_seeds(name):
    bench = load_benchmark(name)
    assert bench.repeats is not None
    means = {arch: math.fsum(rows[bench.metric]) / len(rows) for arch, rows in bench.repeats.groupby("arch")}
    found = {str(arch): quality for arch, quality in zip(bench.archs, bench.quality, strict=True)}
    assert {arch: found[arch] for arch in means} == pytest.approx(means)


def test_no_node_of_mini_gan_is_without_input():
    genes = np.array([json.loads(str(arch)) for arch in load_benchmark("mini-gan").archs])
    assert genes.shape == (100, 3, 7)
    assert genes[..., 2:4].any(axis=-1).all()
    assert genes[..., 4:].any(axis=-1).all()


@pytest.mark.parametrize(("name", "tau", "count"), [("mini-gan", 0.235, 20), ("mini-gan-2", 0.240, 100)])
def test_seeds_of_gans_agree_as_documented(name, tau, count):
    assert load_benchmark(name).noise_ceiling() == (pytest.approx(tau, abs=1e-3), count)


def test_denoisers_lie_in_bands_of_equal_macs():
    bench = load_benchmark("mini-diffusion")
    bands = bench.provenance["settings"]["macs_band"]
    macs = np.array([bench.space.cost(arch).macs for arch in bench.archs])
    nearest = np.abs(macs[:, None] / bands - 1)
    assert (nearest.min(axis=1) <= 0.05).all()
    counts = np.bincount(nearest.argmin(axis=1))
    assert counts.max() - counts.min() <= 1 + len(bench) // 20


def test_seeds_of_denoisers_agree_as_documented():
    assert load_benchmark("mini-diffusion").noise_ceiling() == (pytest.approx(0.723, abs=1e-3), 120)
