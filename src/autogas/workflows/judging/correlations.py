"""Benchmarks as workflows take them, and how scores correlate with quality there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogas.benchmarks import Benchmark, Correlation, Estimate, correlate, load_benchmark
from autogas.errors import InputError
from autogas.files import or_none
from autogas.proxies.named import TRIVIAL
from autogas.proxies.scorer import SCORERS
from autogas.seeding import numpy_generator
from autogas.spaces import Space, by_name

PAPER_TEST = 200


def name_of(benchmark: str | Benchmark) -> str:
    """A benchmark's name; raises ``InputError`` for what is neither a name nor a benchmark."""
    if isinstance(benchmark, str):
        return benchmark
    if not isinstance(benchmark, Benchmark):
        raise InputError(f"benchmark {benchmark!r}: expected a name or a Benchmark")
    return benchmark.name


def benchmark_at_hand(benchmark: str | Benchmark, name: str) -> Benchmark:
    """The benchmark that was given, its space known by its name to every process, or the one of this name."""
    if isinstance(benchmark, str):
        return load_benchmark(name)
    by_name(benchmark.space)
    return benchmark


def check_metric(bench: Benchmark, names: Iterable[str]) -> None:
    """Raise ``InputError`` for a metric that has the name of another column of a run's tables."""
    if bench.metric in ("arch", *names):
        raise InputError(
            f"benchmark {bench.name}: its metric has the name {bench.metric!r} of a scorer: expected another name"
        )


def about_benchmark(bench: Benchmark) -> dict[str, Any]:
    """What results say of the benchmark."""
    return {
        "name": bench.name,
        "metric": bench.metric,
        "higher_is_better": bench.higher_is_better,
        "architectures": len(bench),
    }


def enough(bench: Benchmark, count: int) -> None:
    """Raise ``InputError`` for fewer architectures than a correlation needs."""
    if count < 3:
        raise InputError(f"benchmark {bench.name}: {count} of its {len(bench)} architectures, expected 3 or more")


def default_test(bench: Benchmark, asked: int | None) -> int | None:
    """The number of test architectures: as asked, else the paper's 200, or all (None) where there are fewer."""
    if asked is not None:
        return asked
    everything = len(bench.split(validation=None, test=None).test)
    return PAPER_TEST if everything >= PAPER_TEST else None


def trivial_scores(space: Space[Any], archs: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Scores of the trivial scorers that the space knows."""
    out = {}
    for name in TRIVIAL:
        of_architecture = SCORERS[name].of_architecture
        assert of_architecture is not None
        try:
            out[name] = np.array([of_architecture(space, arch) for arch in archs])
        except InputError:
            continue
    return out


def trivial_of(space: Space[Any]) -> list[str]:
    """Names of the trivial scorers that the space knows."""
    return list(trivial_scores(space, [space.sample(numpy_generator("trivial", space.name))]))


def strata(space: Space[Any], archs: Sequence[Any]) -> list[str]:
    """Label of equal traits (equal trivial scores) for each architecture."""
    return [", ".join(f"{name}={float(value):.12g}" for name, value in space.traits(arch).items()) for arch in archs]


def correlation_table(
    bench: Benchmark,
    chosen: NDArray[np.intp],
    scores: Mapping[str, NDArray[np.float64]],
    about: Mapping[str, str],
) -> list[dict[str, Any]]:
    """One row a scorer: its correlations with quality on the chosen architectures, best tau-b first."""
    labels = strata(bench.space, [bench.archs[i] for i in chosen])
    rows = []
    for name, values in scores.items():
        finite = np.isfinite(values)
        result = correlate(bench.goodness[chosen], np.where(finite, values, np.nan), strata=labels)
        rows.append(
            {
                "name": name,
                "expression": about.get(name, ""),
                "failed": int(np.count_nonzero(~finite)),
                **as_json(result),
            }
        )
    undefined = -2.0
    taus = {row["name"]: row["kendall_b"]["value"] for row in rows}
    return sorted(rows, key=lambda row: -(undefined if taus[row["name"]] is None else taus[row["name"]]))


def as_json(result: Correlation) -> dict[str, Any]:
    """A correlation as JSON; undefined numbers are null."""

    def estimate(value: Estimate | None) -> dict[str, float | None] | None:
        if value is None:
            return None
        return {"value": or_none(value.value), "low": or_none(value.low), "high": or_none(value.high)}

    names = ("kendall_b", "kendall_a", "spearman", "pearson", "within")
    return {**{name: estimate(getattr(result, name)) for name in names}, "count": result.count}
