"""Discover a proxy: evolve expressions until they rank validation architectures, then judge the winner on unseen ones.

Algorithm 1 of Auto-GAS (Li et al., ECCV 2024), with random search and the enumeration of the whole grammar as controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from autogas.benchmarks import Benchmark
from autogas.benchmarks.correlation import Kendall
from autogas.benchmarks.store import with_space_settings
from autogas.errors import InputError
from autogas.evolution import known_strategy, make_strategy
from autogas.files import or_nan, or_none
from autogas.proxies.language.expression import Expression, measured_prefixes, parse_proxy
from autogas.proxies.language.grammar import Grammar
from autogas.proxies.named import DEFAULT_PROXY, EXPRESSIONS, PAPERS_PROXY, TRIVIAL
from autogas.proxies.primitives.registry import all_functions
from autogas.proxies.statistics.bank import FeatureBank
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import Statistics
from autogas.runs import Run, progress
from autogas.seeding import numpy_generator
from autogas.settings import (
    MOST,
    Device,
    SamplingRatio,
    ScoredBatch,
    Settings,
    SpaceSettings,
    all_is_none,
    must_be_usual,
    on_command_line,
    takes,
)
from autogas.workflows.judging.correlations import (
    about_benchmark,
    benchmark_at_hand,
    check_metric,
    correlation_table,
    default_test,
    name_of,
    trivial_scores,
)
from autogas.workflows.judging.fitness import Enumeration, Fitness, Judged, histogram
from autogas.workflows.keywords import DiscoverKeywords
from autogas.workflows.opening import DEFAULT_BENCHMARK, open_run, read_settings
from autogas.workflows.seconds import Stopwatch, seconds_spent

FINALISTS = ("discovered", DEFAULT_PROXY, PAPERS_PROXY, "random search", "enumeration optimum")
"""Names of expressions that may be judged on test architectures."""


UNUSED = {
    "enumerate": ("population", "iterations", "sampling_ratio", "top_k"),
    "random": ("sampling_ratio", "top_k"),
}
"""Settings that say nothing to a strategy."""


class DiscoverSettings(Settings):
    """What determines a discovery; but for the fitness, tau-a, the defaults are the paper's."""

    benchmark: str = Field(
        DEFAULT_BENCHMARK,
        description="where measured quality comes from",
        json_schema_extra=on_command_line(always=True),
    )
    space_settings: SpaceSettings = Field(default_factory=dict)
    strategy: Annotated[str, AfterValidator(lambda name: known_strategy(name, "enumerate"))] = Field(
        "evolution", description="how candidates are found: evolution, random, enumerate, or a plug-in's"
    )
    population: int = Field(20, ge=1, le=MOST, description="candidates an iteration")
    iterations: int = Field(100, ge=1, le=MOST, description="rounds of ask and tell")
    sampling_ratio: SamplingRatio = 0.9
    top_k: int = Field(5, ge=1, description="parents an iteration")
    fitness: Kendall = Field("kendall_a", description="Kendall's tau-a, or tau-b, the paper's, which leaves out ties")
    validation: Annotated[int | None, BeforeValidator(all_is_none)] = Field(
        50,
        ge=3,
        description="architectures that candidates are judged on, or all: four sevenths of the benchmark",
        json_schema_extra=on_command_line(text=True),
    )
    test: int | None = Field(None, ge=3, description="unseen architectures for the report; None: 200, or all if fewer")
    batch_size: ScoredBatch = Field(16, description="samples of noise that networks are scored on")
    controls: bool = Field(True, description="also run random search and the enumeration, for comparison")
    seed: int = Field(0, ge=0, description="of weights, noise, split and search")
    device: Device = "cpu"

    @model_validator(mode="after")
    def _used(self) -> DiscoverSettings:
        must_be_usual(self, UNUSED.get(self.strategy, ()), f"with strategy {self.strategy}")
        return self


@takes(DiscoverSettings)
def discover(
    benchmark: str | Benchmark = DEFAULT_BENCHMARK,
    *,
    out: str | None = None,
    resume: str | None = None,
    jobs: int | None = None,
    **settings: Unpack[DiscoverKeywords],
) -> Run:
    """Discover a proxy on a benchmark; see ``DiscoverSettings`` for the settings.

    The run folder holds ``results.json`` (equal for equal settings, whatever the number of jobs),
    ``candidates.parquet`` (every candidate in order), ``scores.parquet`` (test scores) and ``costs.json`` (seconds).

    Args:
        benchmark: a name or a benchmark.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        jobs: processes; None: as ``AUTOGAS_JOBS`` says in the environment, or one a core.
        **settings: fields of ``DiscoverSettings``.
    """
    name = name_of(benchmark)
    s = read_settings("discover", DiscoverSettings, {"benchmark": name, **settings}, resume)
    bench = benchmark_at_hand(benchmark, s.benchmark)
    bench = with_space_settings(bench, s.space_settings)
    split = bench.split(validation=s.validation, test=default_test(bench, s.test), seed=s.seed)
    check_metric(bench, (*FINALISTS, *TRIVIAL))
    digests = {"benchmark": bench.digest}
    with open_run("discover", s, out=out, resume=resume, inputs=digests, code=all_functions()) as run:
        seconds = Stopwatch()

        with seconds("validation_features"):
            bank = FeatureBank(bench.space, batch_size=s.batch_size, seed=s.seed, device=s.device)
            validation = bank.load_all([bench.archs[i] for i in split.validation], jobs=jobs)
            judge = Fitness(validation, bench.goodness[split.validation], s.fitness)

        grammar = Grammar()
        searches: dict[str, Search] = {}
        enumeration: Enumeration | None = None
        if s.strategy != "enumerate":
            with seconds("search"):
                searches[s.strategy] = found_by(s.strategy, grammar, judge, s, run)
        if s.controls and s.strategy == "evolution":
            with seconds("random_control"):
                searches["random"] = found_by("random", grammar, judge, s, run)
        if s.controls or s.strategy == "enumerate":
            with seconds("enumeration"):
                enumeration = judge.enumerate(grammar)
                if not enumeration.top:
                    raise InputError(f"none of {enumeration.expressions} expressions had a finite, varying score")
        finalists = named_finalists(s.strategy, searches, enumeration)
        winner = finalists["discovered"]

        with seconds("test_features"):
            needed = measured_prefixes(finalists.values())
            test = bank.load_all([bench.archs[i] for i in split.test], prefixes=needed, jobs=jobs)
        table, scores = judged_on_test(bench, split.test, test, finalists)
        validation_tau = {name: or_none(judge(proxy).fitness) for name, proxy in finalists.items()}

        candidates = [frame for _, frame in searches.values()]
        run.write_table("candidates", pd.concat(candidates, ignore_index=True) if candidates else pd.DataFrame())
        run.write_table("scores", scores)
        run.write_costs(
            {"seconds": seconds.laps, "networks": seconds_spent([network.seconds for network in [*validation, *test]])}
        )
        run.finish(
            {
                "benchmark": about_benchmark(bench),
                "fitness": s.fitness,
                "winner": {"proxy": str(winner), "validation_tau": validation_tau["discovered"]},
                "evaluated": {name: len(frame) for name, (_, frame) in searches.items()},
                "validation": [str(bench.archs[i]) for i in split.validation],
                "ignored_input": {
                    "validation": sum(bool(network.failure) for network in validation),
                    "test": sum(bool(network.failure) for network in test),
                },
                "noise_ceiling": bench.noise_ceiling(),
                "validation_tau": validation_tau,
                "enumeration": enumeration and summary(enumeration, validation_tau["discovered"]),
                "test": table,
            }
        )
    return run


Search: TypeAlias = tuple[Expression, pd.DataFrame]


def found_by(name: str, grammar: Grammar, judge: Fitness, s: DiscoverSettings, run: Run) -> Search:
    """Run evolution or random search; what is on record is not judged again.

    Returns the best candidate, and all in order: ``strategy``, ``iteration``, ``proxy``, ``fitness``, ``reason``.
    """
    rng = numpy_generator("discover", name, s.seed)
    options = {"sampling_ratio": s.sampling_ratio, "top_k": s.top_k}
    strategy = make_strategy(name, grammar, population=s.population, rng=rng, **options)
    rows = []
    for iteration in progress(range(s.iterations), s.iterations, name):
        batch = strategy.ask()
        verdicts = judged(batch, judge, run)
        strategy.tell(batch, [verdict.fitness for verdict in verdicts])
        rows += [
            {"strategy": name, "iteration": iteration, "proxy": str(p), "fitness": v.fitness, "reason": v.reason}
            for p, v in zip(batch, verdicts, strict=True)
        ]
    if strategy.best is None:
        raise InputError(f"none of {len(rows)} candidates had a finite, varying score: {rows[0]['reason']}")
    return strategy.best[0], pd.DataFrame(rows)


def judged(batch: Sequence[Expression], judge: Fitness, run: Run) -> list[Judged]:
    """Verdicts on a batch, read from the record where it has them and written to it otherwise."""
    verdicts, new = [], []
    for proxy in batch:
        known = run.record.get(str(proxy))
        if known is not None:
            verdict = Judged(or_nan(known["fitness"]), known["reason"])
        else:
            verdict = judge(proxy)
            new.append((str(proxy), {"fitness": or_none(verdict.fitness), "reason": verdict.reason}))
        verdicts.append(verdict)
    run.record.put(new)
    return verdicts


def named_finalists(
    strategy: str, searches: dict[str, Search], enumeration: Enumeration | None
) -> dict[str, Expression]:
    """The expressions that are judged on test architectures, by their name in the report."""
    optimum = parse_proxy(enumeration.top[0][1]) if enumeration is not None else None
    discovered = optimum if strategy == "enumerate" else searches[strategy][0]
    assert discovered is not None
    known = (DEFAULT_PROXY, PAPERS_PROXY)
    named = {"discovered": discovered, **{name: parse_proxy(EXPRESSIONS[name]) for name in known}}
    if strategy == "evolution" and "random" in searches:
        named["random search"] = searches["random"][0]
    if strategy != "enumerate" and optimum is not None:
        named["enumeration optimum"] = optimum
    return named


def judged_on_test(
    bench: Benchmark, test: NDArray[np.intp], statistics: Sequence[Statistics], proxies: dict[str, Expression]
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Correlations of expressions and trivial scorers on test architectures, and the scores behind them."""
    archs = [bench.archs[i] for i in test]
    evaluator = Evaluator(statistics)
    scores = {name: evaluator.scores(proxy) for name, proxy in proxies.items()} | trivial_scores(bench.space, archs)
    table = correlation_table(bench, test, scores, {name: str(proxy) for name, proxy in proxies.items()})
    return table, pd.DataFrame({"arch": [str(arch) for arch in archs], bench.metric: bench.quality[test], **scores})


def summary(enumeration: Enumeration, winner_tau: float | None) -> dict[str, Any]:
    """What the results keep of an enumeration."""
    return {
        "expressions": enumeration.expressions,
        "distinct_rankings": enumeration.rankings,
        "failed": enumeration.failed,
        "optimum": {"proxy": enumeration.top[0][1], "validation_tau": enumeration.top[0][0]},
        "winner_place": None if winner_tau is None else enumeration.place(winner_tau),
        "top": [{"proxy": text, "validation_tau": tau} for tau, text in enumeration.top],
        "histogram": histogram(enumeration.taus),
    }
