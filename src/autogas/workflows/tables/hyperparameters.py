"""Table 7 of the paper: what a search finds with other batches, populations and intervals, by real quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from autogas.benchmarks import Benchmark
from autogas.benchmarks.published import TABLE_7
from autogas.errors import InputError
from autogas.evolution import Evolution
from autogas.proxies.named import PAPERS_PROXY
from autogas.runs import Run
from autogas.seeding import numpy_generator
from autogas.workflows.judging.beyond import shares_beaten
from autogas.workflows.judging.correlations import about_benchmark
from autogas.workflows.tables.rows import SIGNIFICANT, ReproduceSettings, inner_rank, interval

Values = NDArray[np.float64]
EVALUATIONS = 640
"""Architectures that a search scores; a quarter of the benchmark where that is less."""
REDRAWS = 1000
"""Draws of an architecture that the benchmark does not hold before a place stays empty."""
LEAST_SHARE = 0.01
"""Of its space that a benchmark must hold, so that a mutant is ever in it."""


@dataclass(frozen=True)
class Setting:
    """How architectures are searched.

    Attributes:
        batch: samples that networks are scored on.
        individuals: population.
        interval: batches of candidates after which parents are chosen anew.
    """

    batch: int = 16
    individuals: int = 32
    interval: int = 1


SETTINGS: Mapping[str, Setting] = {
    "ours": Setting(),
    "Batch Size (20)": Setting(batch=20),
    "Batch Size (40)": Setting(batch=40),
    "Number of Individuals (16)": Setting(individuals=16),
    "Number of Individuals (64)": Setting(individuals=64),
    "EA iteration interval (5)": Setting(interval=5),
    "EA iteration interval (10)": Setting(interval=10),
}
CLAIMS = (
    ("Batch Size (20)", "Batch Size (40)"),
    ("Number of Individuals (16)", "Number of Individuals (64)"),
    ("EA iteration interval (10)", "EA iteration interval (5)"),
)
"""Which of two the paper finds better."""


def table7(
    bench: Benchmark, run: Run, s: ReproduceSettings, *, jobs: int | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The winner's score and quality for every setting, mean over seeds, and whether the paper's order holds.

    Searches stay among the architectures of the benchmark, so that the quality of every winner is known. The paper does
    not say what an interval is: here parents are chosen anew after so many batches.

    Raises:
        InputError: a benchmark that holds too little of its space to search in it.
    """
    if len(bench) < LEAST_SHARE * len(bench.space):
        raise InputError(
            f"benchmark {bench.name}: it holds {len(bench)} of {len(bench.space):.3g} architectures, "
            "expected a hundredth or more to search in"
        )
    scores = {
        batch: inner_rank(bench, run, [PAPERS_PROXY], s, everything=True, jobs=jobs, batch_size=batch)
        .read_table("scores")
        .set_index("arch")[PAPERS_PROXY]
        for batch in sorted({setting.batch for setting in SETTINGS.values()})
    }
    worse = shares_beaten(bench.goodness)
    place = {str(arch): i for i, arch in enumerate(bench.archs)}
    lines, qualities = [], {}
    for name, setting in SETTINGS.items():
        known = {str(arch): float(score) for arch, score in scores[setting.batch].items()}
        winners = [winner(bench, known, setting, seed) for seed in range(s.repeats)]
        at = [place[arch] for arch in winners]
        qualities[name] = bench.goodness[at]
        quality, low, high = interval(bench.quality[at])
        lines.append(
            {
                "setting": name,
                "score": float(np.mean([known[arch] for arch in winners])),
                "quality": quality,
                "low": low,
                "high": high,
                "percentile": 100 * float(np.mean(worse[at])),
                "paper": TABLE_7.get(name, "-"),
            }
        )
    table = {
        "title": f"table7, {bench.name}: {bench.metric} of the winner by {PAPERS_PROXY}, mean of {s.repeats} seeds, "
        f"{budget(bench)} architectures scored",
        "benchmark": about_benchmark(bench),
        "lines": lines,
    }
    return table, [claim(bench, qualities, better, worse) for better, worse in CLAIMS]


def budget(bench: Benchmark) -> int:
    """Architectures that a search scores."""
    return min(EVALUATIONS, len(bench) // 4)


def winner(bench: Benchmark, scores: Mapping[str, float], setting: Setting, seed: int) -> str:
    """The architecture with the highest score that evolution comes across."""
    rng = numpy_generator("table7", setting.individuals, setting.interval, setting.batch, seed)
    asked: list[Any] = []  # since parents were chosen

    def admits(arch: Any) -> bool:
        return str(arch) in scores and arch not in asked

    strategy = Evolution(bench.space, population=setting.individuals, rng=rng, admits=admits, redraws=REDRAWS)
    left = budget(bench)
    while left > 0:
        for _ in range(setting.interval):
            batch = strategy.ask()[:left]
            left -= len(batch)
            asked += batch
        if not asked:
            break
        strategy.tell(asked, [scores[str(arch)] for arch in asked])
        asked.clear()
    assert strategy.best is not None
    return str(strategy.best[0])


def claim(bench: Benchmark, qualities: Mapping[str, Values], better: str, worse: str) -> dict[str, Any]:
    """Whether one setting finds better architectures: Wilcoxon's rank-sum test, as seeds are not paired."""
    first, second = qualities[better], qualities[worse]
    p = float(stats.mannwhitneyu(first, second, alternative="greater").pvalue)
    sign = 1 if bench.higher_is_better else -1
    test = (
        f"{bench.metric} {sign * first.mean():.4g} against {sign * second.mean():.4g}, {len(first)} seeds each, "
        f"p = {p:.3f} (one-sided rank-sum test)"
    )
    return {"benchmark": bench.name, "claim": f"{better} beats {worse}", "held": p < SIGNIFICANT, "test": test}
