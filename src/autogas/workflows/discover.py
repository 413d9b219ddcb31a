"""Discover a proxy: evolve expressions until they rank validation architectures, then judge the winner on unseen ones.

Algorithm 1 of Auto-GAS (Li et al., ECCV 2024), with random search and the enumeration of the whole grammar as controls.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from autogas.benchmarks import Benchmark, load_benchmark
from autogas.benchmarks.store import with_space_settings
from autogas.evolution import Evolution, RandomSearch, Strategy
from autogas.proxies.bank import FeatureBank
from autogas.proxies.expression import Proxy, parse_proxy
from autogas.proxies.grammar import Grammar
from autogas.proxies.named import DEFAULT_PROXY, get_proxy
from autogas.proxies.statistics import Statistics
from autogas.runs import Run, progress
from autogas.seeding import numpy_generator
from autogas.workflows.common import correlation_table, default_test, open_run, seconds_spent, trivial_scores
from autogas.workflows.judge import Enumeration, Judge, Verdict, histogram


class DiscoverSettings(BaseModel):
    """What determines a discovery; the defaults are the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str
    space_settings: dict[str, Any] = Field(default_factory=dict, description="settings of the space that differ")
    strategy: Literal["evolution", "random", "enumerate"] = "evolution"
    population: int = Field(20, ge=1)
    iterations: int = Field(100, ge=1)
    sampling_ratio: float = Field(0.9, gt=0, le=1)
    top_k: int = Field(5, ge=1)
    validation: int = Field(50, ge=3, description="architectures that candidates are judged on")
    test: int | None = Field(None, ge=3, description="unseen architectures for the report; None: 200, or all if fewer")
    batch_size: int = Field(16, ge=2)
    controls: bool = Field(True, description="also run random search and the enumeration, for comparison")
    seed: int = Field(0, ge=0)
    device: str = "cpu"


def discover(
    benchmark: str | Benchmark,
    *,
    out: str | None = None,
    resume: str | None = None,
    jobs: int = 1,
    **settings: Any,
) -> Run:
    """Discover a proxy on a benchmark; see :class:`DiscoverSettings` for the settings.

    The run folder holds ``results.json`` (equal for equal settings, whatever the number of jobs), ``candidates.parquet``
    (every candidate in order), ``scores.parquet`` (test scores) and ``costs.json`` (seconds).

    Args:
        benchmark: a name or a benchmark.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        jobs: processes that build and run networks.
        **settings: fields of :class:`DiscoverSettings`.
    """
    name = benchmark if isinstance(benchmark, str) else benchmark.name
    prepare = lambda: DiscoverSettings(benchmark=name, **settings)  # noqa: E731
    run, s = open_run("discover", DiscoverSettings, prepare, out=out, resume=resume)
    bench = load_benchmark(s.benchmark) if isinstance(benchmark, str) else benchmark
    bench = with_space_settings(bench, s.space_settings)
    split = bench.split(validation=s.validation, test=default_test(bench, s.test), seed=s.seed)
    clock = time.perf_counter()

    bank = FeatureBank(bench.space, batch_size=s.batch_size, seed=s.seed, device=s.device)
    validation = bank.load_all([bench.archs[i] for i in split.validation], jobs=jobs)
    judge = Judge(validation, bench.goodness[split.validation])
    seconds = {"validation_features": time.perf_counter() - clock}

    clock = time.perf_counter()
    grammar = Grammar()
    winner, candidates = search(s.strategy, grammar, judge, s, run)
    seconds["search"] = time.perf_counter() - clock

    control, enumeration = None, None
    if s.strategy == "enumerate" or s.controls:
        clock = time.perf_counter()
        enumeration = judge.enumerate(grammar)
        seconds["enumeration"] = time.perf_counter() - clock
    if s.strategy == "enumerate":
        assert enumeration is not None
        winner = parse_proxy(enumeration.top[0][1])
    elif s.controls:
        clock = time.perf_counter()
        control, more = search("random", grammar, judge, s, run)
        candidates = pd.concat([candidates, more], ignore_index=True) if s.strategy != "random" else candidates
        seconds["random_control"] = time.perf_counter() - clock

    clock = time.perf_counter()
    test = bank.load_all([bench.archs[i] for i in split.test], jobs=jobs)
    seconds["test_features"] = time.perf_counter() - clock
    report = judged_on_test(bench, split.test, test, finalists(winner, control, enumeration))
    run.write_table("candidates", candidates)
    run.write_table("scores", report["scores"])
    run.write_costs({"seconds": seconds, "networks": seconds_spent([*validation, *test])})
    run.finish(
        {
            "benchmark": {"name": bench.name, "metric": bench.metric, "architectures": len(bench)},
            "winner": {"proxy": str(winner), "validation_tau": judge(winner).fitness},
            "evaluated": {name: int(n) for name, n in candidates["strategy"].value_counts().items()},
            "validation": [str(bench.archs[i]) for i in split.validation],
            "ignored_input": {"validation": len(judge.evaluator.failures), "test": report["failed"]},
            "noise_ceiling": bench.noise_ceiling(),
            "enumeration": enumeration and summary(enumeration, judge(winner).fitness),
            "test": report["table"],
        }
    )
    return run


def search(name: str, grammar: Grammar, judge: Judge, s: DiscoverSettings, run: Run) -> tuple[Proxy, pd.DataFrame]:
    """Evolution or random search for ``iterations`` of ``population`` candidates; what the run recorded is not redone.

    Returns the best candidate and all of them in order: ``strategy``, ``iteration``, ``proxy``, ``fitness``, ``reason``.
    """
    if name == "enumerate":
        return get_proxy(DEFAULT_PROXY), pd.DataFrame(columns=["strategy", "iteration", "proxy", "fitness", "reason"])  # type: ignore[return-value]
    rng = numpy_generator("discover", name, s.seed)
    strategy: Strategy[Proxy]
    if name == "evolution":
        strategy = Evolution(grammar, population=s.population, sampling_ratio=s.sampling_ratio, top_k=s.top_k, rng=rng)
    else:
        strategy = RandomSearch(grammar, population=s.population, rng=rng)
    rows = []
    for iteration in progress(range(s.iterations), s.iterations, name):
        batch = strategy.ask()
        verdicts = judged(batch, judge, run)
        strategy.tell(batch, [verdict.fitness for verdict in verdicts])
        rows += [
            {"strategy": name, "iteration": iteration, "proxy": str(p), "fitness": v.fitness, "reason": v.reason}
            for p, v in zip(batch, verdicts, strict=True)
        ]
    best = strategy.best
    assert best is not None, "no candidate had a finite score"
    return best[0], pd.DataFrame(rows)


def judged(batch: Sequence[Proxy], judge: Judge, run: Run) -> list[Verdict]:
    """Verdicts on a batch, read from the record where it has them and written to it otherwise."""
    verdicts, new = [], []
    for proxy in batch:
        known = run.record.get(str(proxy))
        if known is not None:
            verdict = Verdict(math.nan if known["fitness"] is None else known["fitness"], known["reason"])
        else:
            verdict = judge(proxy)
            fitness = verdict.fitness if math.isfinite(verdict.fitness) else None
            new.append((str(proxy), {"fitness": fitness, "reason": verdict.reason}))
        verdicts.append(verdict)
    run.record.put(new)
    return verdicts


def finalists(winner: Proxy, control: Proxy | None, enumeration: Enumeration | None) -> dict[str, Proxy]:
    """The expressions that are judged on test architectures, by their name in the report."""
    paper = get_proxy(DEFAULT_PROXY)
    assert isinstance(paper, Proxy)
    named: dict[str, Proxy] = {"discovered": winner, DEFAULT_PROXY: paper}
    if control is not None:
        named["random search"] = control
    if enumeration is not None and enumeration.top:
        named["enumeration optimum"] = parse_proxy(enumeration.top[0][1])
    return named


def judged_on_test(
    bench: Benchmark,
    test: np.ndarray[Any, np.dtype[np.intp]],
    statistics: Sequence[Statistics],
    proxies: dict[str, Proxy],
) -> dict[str, Any]:
    """Scores and correlations of expressions and trivial scorers on test architectures."""
    from autogas.proxies.evaluate import Evaluator

    archs = [bench.archs[i] for i in test]
    evaluator = Evaluator(statistics)
    scores = {name: evaluator.scores(proxy) for name, proxy in proxies.items()} | trivial_scores(bench.space, archs)
    about = {name: str(proxy) for name, proxy in proxies.items()}
    table = correlation_table(bench, test, scores, about)
    frame = pd.DataFrame({"arch": [str(a) for a in archs], bench.metric: bench.quality[test], **scores})
    return {"table": table, "scores": frame, "failed": len(evaluator.failures)}


def summary(enumeration: Enumeration, winner_tau: float) -> dict[str, Any]:
    """What the results keep of an enumeration."""
    return {
        "expressions": enumeration.expressions,
        "distinct_rankings": enumeration.rankings,
        "failed": enumeration.failed,
        "optimum": {"proxy": enumeration.top[0][1], "validation_tau": enumeration.top[0][0]},
        "winner_place": enumeration.place(winner_tau),
        "top": [{"proxy": text, "validation_tau": tau} for tau, text in enumeration.top[:20]],
        "histogram": histogram(enumeration.taus),
    }
