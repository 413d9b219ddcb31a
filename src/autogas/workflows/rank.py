"""Rank proxies: score architectures of a benchmark with many proxies at once and correlate with measured quality."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from autogas.benchmarks import Benchmark, load_benchmark
from autogas.benchmarks.store import with_space_settings
from autogas.errors import InputError
from autogas.proxies.bank import FeatureBank
from autogas.proxies.evaluate import Evaluator
from autogas.proxies.expression import Proxy
from autogas.proxies.named import DEFAULT_PROXY, TRIVIAL, Scorer, get_proxy
from autogas.runs import Failure, Run, parallel_map
from autogas.spaces import get_space
from autogas.workflows.common import (
    Stopwatch,
    about_benchmark,
    correlation_table,
    default_test,
    open_run,
    read_settings,
)


class RankSettings(BaseModel):
    """What determines a ranking."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str = Field(description="where measured quality comes from")
    proxies: list[str] = Field(default_factory=lambda: [DEFAULT_PROXY, *TRIVIAL], min_length=1, description="scorers")
    space_settings: dict[str, Any] = Field(default_factory=dict, description="settings of the space that differ")
    test: int | None = Field(None, ge=3, description="test architectures; None: 200, or all if fewer")
    everything: bool = Field(False, description="all architectures of the benchmark instead")
    batch_size: int = Field(16, ge=2, description="samples of noise that networks are scored on")
    seed: int = Field(0, ge=0, description="of weights, noise and split")
    device: str = Field("cpu", description="where networks run")


def rank(
    benchmark: str | Benchmark,
    proxies: Sequence[str] | None = None,
    *,
    out: str | None = None,
    resume: str | None = None,
    jobs: int = 1,
    **settings: Any,
) -> Run:
    """Score and correlate; see :class:`RankSettings` for the settings.

    Each architecture is built and run once for all proxies, its scores are recorded as it finishes, and one that fails
    is recorded with the reason and ranks last. The run folder holds ``results.json``, ``scores.parquet`` and
    ``costs.json``.

    Args:
        benchmark: a name or a benchmark.
        proxies: names or expressions; default the paper's and the trivial scorers.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        jobs: processes.
        **settings: fields of :class:`RankSettings`.
    """
    name = benchmark if isinstance(benchmark, str) else benchmark.name
    if proxies is not None:
        settings["proxies"] = list(dict.fromkeys(proxies))
    s = read_settings("rank", RankSettings, {"benchmark": name, **settings}, resume)
    about = {text: str(proxy) for text in s.proxies if isinstance(proxy := get_proxy(text), Proxy)}
    bench = load_benchmark(s.benchmark) if isinstance(benchmark, str) else benchmark
    bench = with_space_settings(bench, s.space_settings)
    chosen = chosen_architectures(bench, s)
    run = open_run("rank", s, out=out, resume=resume)
    archs = [str(bench.archs[i]) for i in chosen]

    seconds = Stopwatch()
    todo = [arch for arch in archs if arch not in run.record]
    task = functools.partial(
        score_architecture,
        space=(bench.space.name, json.dumps(dict(bench.space.settings))),
        proxies=tuple(s.proxies),
        options=(s.batch_size, s.seed, s.device),
    )
    with seconds("scoring"):
        for arch, result in parallel_map(task, todo, jobs=jobs, description="scoring"):
            value = {"scores": {}, "reason": result.reason, "seconds": {}} if isinstance(result, Failure) else result
            run.record.put([(arch, value)])

    records = [run.record[arch] for arch in archs]
    scores = {text: np.array([_number(record["scores"].get(text)) for record in records]) for text in s.proxies}
    reasons = {arch: record["reason"] for arch, record in zip(archs, records, strict=True) if record["reason"]}
    run.write_table("scores", pd.DataFrame({"arch": archs, bench.metric: bench.quality[chosen], **scores}))
    run.write_costs({"seconds": seconds.laps, "networks": _spent(records)})
    run.finish(
        {
            "benchmark": about_benchmark(bench),
            "noise_ceiling": bench.noise_ceiling(),
            "unscored": reasons,
            "test": correlation_table(bench, chosen, scores, about),
        }
    )
    return run


def chosen_architectures(bench: Benchmark, s: RankSettings) -> NDArray[np.intp]:
    """Positions in the benchmark that are scored."""
    if s.everything:
        if s.test is not None:
            raise InputError(f"--test {s.test} and --all: accepted is one of them")
        return np.arange(len(bench))
    return bench.split(validation=None, test=default_test(bench, s.test), seed=s.seed).test


def score_architecture(
    text: str, space: tuple[str, str], proxies: Sequence[str], options: tuple[int, int, str]
) -> dict[str, Any]:
    """Scores of one architecture by every proxy; the unit of work that the record keeps."""
    named = {name: get_proxy(name) for name in proxies}
    here = _space(*space)
    arch = here.parse(text)
    scores: dict[str, float | None] = {}
    seconds: dict[str, float] = {}
    reason = ""
    expressions = {name: proxy for name, proxy in named.items() if isinstance(proxy, Proxy)}
    if expressions:
        batch_size, seed, device = options
        prefixes = tuple(dict.fromkeys(proxy.prefix.canonical() for proxy in expressions.values()))
        bank = FeatureBank(here, batch_size=batch_size, seed=seed, device=device)
        statistics = bank.load(arch) if set(prefixes) <= set(bank.prefixes) else None
        if statistics is None:
            bank = FeatureBank(here, prefixes=prefixes, batch_size=batch_size, seed=seed, device=device)
            statistics = bank.measure(arch)
        evaluator = Evaluator([statistics])
        reason = evaluator.failures.get(0, "")
        seconds = dict(statistics.seconds)
        for name, proxy in expressions.items():
            scores[name] = _finite(evaluator.scores(proxy)[0])
    for name, scorer in named.items():
        if isinstance(scorer, Scorer) and scorer.of_architecture is not None:
            scores[name] = _finite(scorer.of_architecture(here, arch))
    return {"scores": scores, "reason": reason, "seconds": seconds}


@functools.lru_cache(maxsize=4)
def _space(name: str, settings: str) -> Any:
    return get_space(name, **json.loads(settings))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _spent(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    keys = ("build", "forward", "statistics")
    return {"count": len(records), **{key: sum(r["seconds"].get(key, 0.0) for r in records) for key in keys}}
