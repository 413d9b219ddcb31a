"""Table 5 of the paper: does each stage contribute, does evolution beat random search? With tests behind it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from autogas.benchmarks import Benchmark, load_benchmark
from autogas.benchmarks.correlation import compare, kendall_many, ranks_failures_last
from autogas.benchmarks.published import TABLE_5_I, TABLE_5_II, TABLE_5_III, TABLE_5_IV, PaperRow
from autogas.errors import InputError
from autogas.evolution import Evolution, RandomSearch, Strategy
from autogas.proxies.language.expression import Expression, parse_proxy
from autogas.proxies.language.grammar import Grammar, default_prefixes
from autogas.proxies.named import get_proxy
from autogas.proxies.statistics.bank import FeatureBank
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.runs import Failure, Run, parallel_map
from autogas.seeding import numpy_generator
from autogas.workflows.judging.correlations import correlation_table, default_test
from autogas.workflows.judging.fitness import Fitness
from autogas.workflows.tables.rows import SIGNIFICANT, ReproduceSettings, beside, interval, printed, table

Values = NDArray[np.float64]
Positions = NDArray[np.intp]
POOL = 4
"""Seeds draw their validation architectures from so many times their number."""


def grammars() -> dict[str, Grammar]:
    """The whole grammar, and what is left of it without a stage or with one kernel alone."""
    prefixes = default_prefixes()
    return {
        "full": Grammar(),
        "without Transform": Grammar([p for p in prefixes if not p.transforms]),
        "without Encoding": Grammar([p for p in prefixes if p.binariser is None], kernels=("gram",)),
        "without Reduction": Grammar(reductions=("normalized_sum",)),
        "without Augment": Grammar(augments=()),
        "Gram-matrix": Grammar(kernels=("gram",)),
        "Pearson": Grammar(kernels=("pearson",)),
        "Hamming": Grammar(kernels=("hamming",)),
    }


def table5(
    bench: Benchmark, run: Run, s: ReproduceSettings, *, jobs: int | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The four parts of the table, and whether the claim of each row holds.

    Two readings of each ablation are given: the paper's formula without the stage, and a search in the grammar without
    it, repeated with several seeds. A seed draws its own validation architectures from a pool of up to four times as
    many; all are judged on the same unseen test architectures.

    Raises:
        InputError: a pool with no more architectures than a seed draws.
    """
    pool, test, bank = parts(bench, s)
    bank.fill([bench.archs[i] for i in pool], jobs=jobs)  # which the searches will read
    evaluator = Evaluator(bank.load_all([bench.archs[i] for i in test], jobs=jobs))

    key = f"{bench.name}/seed"
    todo = [seed for seed in range(s.repeats) if f"{key}{seed}" not in run.record]
    task = functools.partial(search_all, benchmark=bench.name, settings_json=s.model_dump_json())
    for seed, result in parallel_map(task, todo, jobs=jobs, description="searches"):
        if isinstance(result, Failure):
            raise InputError(f"benchmark {bench.name}: the search with seed {seed} failed: {result.reason}")
        run.record.put([(f"{key}{seed}", result)])

    def taus(part: str) -> dict[str, Values]:
        records = [run.record[f"{key}{seed}"] for seed in range(s.repeats)]
        return {name: np.array([record[name][part] for record in records]) for name in records[0]}

    found, seen = taus("test_tau"), taus("validation_tau")

    def formulas(title: str, rows: Sequence[PaperRow]) -> dict[str, Any]:
        scores = {row.proxy: evaluator.scores(_expression(row.proxy)) for row in rows}
        ours = {row["name"]: row for row in correlation_table(bench, test, scores, {})}
        return table(title, bench, [beside(row, ours[row.proxy]) for row in rows])

    def searches(title: str, names: Mapping[str, tuple[float, ...]]) -> dict[str, Any]:
        rows = [_search_row(name, found[name], paper) for name, paper in names.items()]
        return table(title, bench, rows)

    count = len(test)
    papers = {row.method: row.values for row in (*TABLE_5_II, *TABLE_5_III)}
    full = {"full": TABLE_5_IV["evolution"]}
    tables = [
        formulas(f"table5 I, {bench.name}: formulas on {count} test architectures", TABLE_5_I),
        formulas(f"table5 II, {bench.name}: the paper's formula without a stage", [TABLE_5_I[1], *TABLE_5_II]),
        searches(
            f"table5 II, {bench.name}: evolution without a stage, mean of {s.repeats} seeds",
            full | {row.method: papers[row.method] for row in TABLE_5_II},
        ),
        formulas(f"table5 III, {bench.name}: the paper's formula with another kernel", TABLE_5_III),
        searches(
            f"table5 III, {bench.name}: evolution with one kernel, mean of {s.repeats} seeds",
            {row.method: papers[row.method] for row in TABLE_5_III},
        ),
        searches(
            f"table5 IV, {bench.name}: how the proxy is found, mean of {s.repeats} seeds",
            full | {"random": TABLE_5_IV["random"]},
        ),
    ]
    vanilla, paper = (evaluator.scores(_expression(row.proxy)) for row in TABLE_5_I)
    goodness = bench.goodness[test]
    claims = [
        claim_of_formulas(bench.name, "I: the paper's proxy beats the vanilla Gram matrix", paper, vanilla, goodness),
        *(
            claim_of_searches(bench.name, f"II: {row.method[8:].lower()} contributes", found["full"], found[row.method])
            for row in TABLE_5_II
        ),
        *(
            claim_of_searches(bench.name, f"III: Gram beats {name}", found["Gram-matrix"], found[name])
            for name in ("Pearson", "Hamming")
        ),
        claim_of_searches(bench.name, "IV: evolution beats random search", found["full"], found["random"]),
        claim_of_searches(
            bench.name, "IV, on what both search on: evolution beats random search", seen["full"], seen["random"]
        ),
    ]
    return tables, claims


def parts(bench: Benchmark, s: ReproduceSettings) -> tuple[Positions, Positions, FeatureBank]:
    """The pool that seeds draw validation architectures from, the test architectures, and where features are kept."""
    split = bench.split(validation=None, test=default_test(bench, None), seed=s.seed)
    if s.validation >= len(split.validation):
        raise InputError(
            f"--validation {s.validation}: every seed draws its own of {len(split.validation)} architectures of "
            f"{bench.name}, expected fewer"
        )
    bank = FeatureBank(bench.space, batch_size=s.batch_size, seed=s.seed, device=s.device)
    return split.validation[: POOL * s.validation], split.test, bank


def search_all(seed: int, benchmark: str, settings_json: str) -> dict[str, Any]:
    """Search every grammar with one seed; the unit of work that the record keeps."""
    s = ReproduceSettings.model_validate_json(settings_json)
    bench = load_benchmark(benchmark)
    pool, test, bank = parts(bench, s)
    validation = pool[numpy_generator("table5", s.seed, seed).permutation(len(pool))[: s.validation]]
    judge = Fitness(bank.load_all([bench.archs[i] for i in validation]), bench.goodness[validation])
    evaluator = Evaluator(bank.load_all([bench.archs[i] for i in test]))
    out: dict[str, Any] = {}
    for name, grammar in grammars().items():
        strategy = Evolution(grammar, population=s.population, rng=numpy_generator(name, seed))
        out[name] = _winner(strategy, judge, s.iterations)
    random = RandomSearch(Grammar(), population=s.population, rng=numpy_generator("random", seed))
    out["random"] = _winner(random, judge, s.iterations)
    for value in out.values():
        scores = evaluator.scores(parse_proxy(value["proxy"]))
        value["test_tau"] = float(kendall_many(bench.goodness[test], ranks_failures_last(scores))[0])
    return out


def _winner(strategy: Strategy[Any], judge: Fitness, iterations: int) -> dict[str, Any]:
    for _ in range(iterations):
        batch = strategy.ask()
        strategy.tell(batch, [judge(proxy).fitness for proxy in batch])
    if strategy.best is None:
        raise InputError("no candidate had a finite, varying score")
    proxy, fitness = strategy.best
    return {"proxy": str(proxy), "validation_tau": fitness}


def claim_of_formulas(where: str, claim: str, first: Values, second: Values, goodness: Values) -> dict[str, Any]:
    """Whether one formula ranks better than another: paired bootstrap over the test architectures."""
    difference = compare(goodness, first, second)
    test = (
        f"tau-b differs by {difference.value:.3f}, 95 % interval {difference.low:.3f} to {difference.high:.3f} "
        "(paired bootstrap over architectures)"
    )
    return {"benchmark": where, "claim": claim, "held": difference.low > 0, "test": test}


def claim_of_searches(where: str, claim: str, first: Values, second: Values) -> dict[str, Any]:
    """Whether one way to search ends better than another: Wilcoxon's signed-rank test over the paired seeds."""
    difference = first - second
    p = 1.0 if not np.any(difference) else float(stats.wilcoxon(first, second, alternative="greater").pvalue)
    wins = int(np.count_nonzero(difference > 0))
    test = (
        f"tau-b {first.mean():.3f} against {second.mean():.3f}, better with {wins} of {len(first)} seeds, "
        f"p = {p:.3f} (one-sided Wilcoxon signed-rank test)"
    )
    return {"benchmark": where, "claim": claim, "held": p < SIGNIFICANT, "test": test}


def _expression(name: str) -> Expression:
    proxy = get_proxy(name)
    assert isinstance(proxy, Expression)
    return proxy


def _search_row(name: str, taus: Values, paper: tuple[float, ...]) -> dict[str, Any]:
    """Mean test tau-b over seeds with its 95 % t-interval, as far as it lies in [-1, 1]."""
    mean, low, high = (float(bound) for bound in np.clip(interval(taus), -1, 1))
    return {
        "method": name,
        "proxy": "",
        "ours": {
            "kendall": {"value": mean, "low": low, "high": high},
            **dict.fromkeys(("kendall_a", "spearman", "pearson", "within")),
        },
        "failed": 0,
        "paper": printed(paper),
        "note": f"from {taus.min():.3f} to {taus.max():.3f}",
    }
