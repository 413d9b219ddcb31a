"""Tiny run folders, as the workflows leave them."""

import math

import pandas as pd
import pytest

from autogas.runs import Run
from autogas.settings import described
from autogas.training.kinds.autoencoder import AutoencoderSettings
from autogas.training.kinds.base import joined
from autogas.workflows.build import BuildSettings
from autogas.workflows.discover import DiscoverSettings
from autogas.workflows.rank import RankSettings

PAPER = "swish > above_mean > gram > slogdet > pow2"
WINNER = "tanh > gram > eigenvalue_min > log1p > sum > neg"
ARCHS = ["64-1-basic", "64-2-basic", "64-12-basic", "64-21-basic", "64-111-basic"]
QUALITY = [0.31, 0.42, 0.53, 0.44, 0.65]


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def row(name, value, expression="", failed=0, **changes):
    tau = estimate(value, None if value is None else value - 0.1, None if value is None else value + 0.1)
    names = ("kendall_b", "kendall_a", "spearman", "pearson", "within")
    return {
        "name": name,
        "expression": expression,
        "failed": failed,
        "count": 5,
        **dict.fromkeys(names, tau),
        **changes,
    }


def discover_files(archs=ARCHS, metric="ssim", benchmark="tiny"):
    settings = {
        "benchmark": benchmark,
        "space_settings": {},
        "population": 4,
        "seed": 3,
        "controls": True,
        "test": None,
    }
    candidates = pd.DataFrame(
        [
            ("evolution", 0, "gram > trace", 0.1, ""),
            (
                "evolution",
                0,
                "exp > gram > trace",
                math.nan,
                "inf on 3 of 5 networks, first on number 0: exp > gram > trace",
            ),
            ("evolution", 1, "relu > pearson > trace", math.nan, "constant on all networks: pearson > trace"),
            ("evolution", 1, WINNER, 0.6, ""),
            ("random", 0, PAPER, 0.2, ""),
            ("random", 0, "norm > gram > trace", -0.2, ""),
        ],
        columns=["strategy", "iteration", "proxy", "fitness", "reason"],
    )
    table = [
        row("num_downsamples", 0.8, kendall_a=estimate(0.5, 0.4, 0.6), within=estimate(None)),
        row("discovered", 0.7, WINNER, failed=1, within=estimate(0.1, -0.1, 0.3)),
        row("random search", 0.65, "gram > trace"),
        row("autogas", 0.6, PAPER),
        row("num_skips", None, within=None),
    ]
    scores = {
        "num_downsamples": [-2.0, -1.0, -1.0, -1.0, 0.0],
        "discovered": [0.1, math.nan, 0.3, 0.2, 0.5],
        "random search": [1.0, 100.0, 1000.0, 1e4, 1e5],
        "autogas": [1.0, 3.0, 2.0, 4.0, 5.0],
        "num_skips": [0.0] * 5,
    }
    results = {
        "benchmark": {"name": benchmark, "metric": metric, "higher_is_better": True, "architectures": 40},
        "winner": {"proxy": WINNER, "validation_tau": 0.6},
        "evaluated": {"evolution": 4, "random": 2},
        "validation": ["64-3-basic", "64-4-basic"],
        "validation_tau": {"discovered": 0.6, "autogas": 0.5, "random search": 0.55},
        "ignored_input": {"validation": 0, "test": 1},
        "noise_ceiling": [0.91, 12],
        "enumeration": {
            "expressions": 12345,
            "distinct_rankings": 67,
            "failed": 8,
            "optimum": {"proxy": "gram > trace > pow2", "validation_tau": 0.62},
            "winner_place": 2,
            "top": [{"proxy": "gram > trace > pow2", "validation_tau": 0.62}, {"proxy": WINNER, "validation_tau": 0.6}],
            "histogram": {"counts": [0, 3, 50, 14], "low": -1.0, "high": 1.0},
        },
        "test": table,
    }
    networks = {"count": 7, "build": 1.5, "forward": 2.25, "statistics": 130.0}
    costs = {"networks": networks, "seconds": {"search": 4.5, "enumeration": 5400.0, "test_features": 0.5}}
    tables = {"candidates": candidates, "scores": pd.DataFrame({"arch": archs, metric: QUALITY, **scores})}
    return settings, results, costs, tables


def rank_files(archs=ARCHS, metric="ssim", benchmark="tiny"):
    settings = {"benchmark": benchmark, "proxies": ["autogas", PAPER, "params"], "everything": True, "test": None}
    results = {
        "benchmark": {"name": benchmark, "metric": metric, "higher_is_better": True, "architectures": 40},
        "noise_ceiling": None,
        "unscored": {archs[1]: "the output ignores the input"},
        "test": [row("autogas", 0.6, PAPER), row(PAPER, 0.6, PAPER, failed=1), row("params", -0.3)],
    }
    scores = {
        "autogas": [1.0, 3.0, 2.0, 4.0, 5.0],
        PAPER: [1.0, math.nan, 2.0, 4.0, 5.0],
        "params": [5e6, 3e7, 2e8, 1e7, 1e6],
    }
    costs = {"networks": {"count": 5, "build": 1.0, "forward": 2.0, "statistics": 3.0}, "seconds": {"scoring": 9.0}}
    return settings, results, costs, {"scores": pd.DataFrame({"arch": archs, metric: QUALITY, **scores})}


def build_files(archs=ARCHS):
    settings = {
        "space": "transnas",
        "space_settings": {},
        "count": 6,
        "images": "cifar10",
        "train_images": 9,
        "recipe": {"steps": 30, "batch_size": 32, "learning_rate": 0.005, "beta1": 0.5},
    }
    rows = [(arch, 0, quality) for arch, quality in zip(archs, QUALITY, strict=True)]
    rows += [
        (arch, seed, quality + 0.01 * seed)
        for seed in (1, 2)
        for arch, quality in zip(archs[:3], QUALITY[:3], strict=True)
    ]
    versions = {"torch": "2.6.0", "python": "3.11.2"}
    results = {
        "quality": {"metric": "ssim", "higher_is_better": True, "measured": "SSIM on held-out images"},
        "trained": len(rows),
        "failed": {"64-9-basic/seed0": "out of memory"},
        "provenance": {"settings": settings, "versions": versions, "machine": "x86_64", "commit": None},
    }
    costs = {"seconds_this_time": 90.0, "train_seconds": 600.0}
    return settings, results, costs, {"trained": pd.DataFrame(rows, columns=["arch", "seed", "ssim"])}


MODELS = {
    "discover": DiscoverSettings,
    "rank": RankSettings,
    "build": joined(BuildSettings, AutoencoderSettings),
}
FILES = {"discover": discover_files, "rank": rank_files, "build": build_files}


@pytest.fixture
def make_run(tmp_path):
    """Make a finished run; ``change(settings, results, costs, tables)`` may change its files first."""
    runs = []

    def make(workflow, change=None, folder="run", **arguments):
        files = FILES[workflow](**arguments)
        if change is not None:
            change(*files)
        settings, results, costs, tables = files
        run = Run.start(workflow, settings, tmp_path / folder, fields=described(MODELS[workflow]))
        runs.append(run)
        for name, table in tables.items():
            run.write_table(name, table)
        run.write_costs(costs)
        run.finish(results)
        return run

    yield make
    for run in runs:
        run.record.close()
