"""Discover one proxy for several benchmarks at once.

Fitness is what a proxy reaches on the benchmark that it ranks worst, or on average: Kendall's tau-a on validation
architectures, as a share of what the best single term reaches there. Candidates race over growing samples. Test
architectures are looked at once, at the end, and the fall from validation to test is reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autogas.benchmarks import Benchmark
from autogas.errors import InputError
from autogas.evolution import Strategy, make_strategy
from autogas.evolution.pareto import NSGA2, front
from autogas.files import or_nan, or_none
from autogas.proxies.language.expression import Expression, Sum, measured_prefixes, parse_proxy
from autogas.proxies.language.sum_grammar import SumGrammar
from autogas.proxies.named import DEFAULT_PROXY, EXPRESSIONS, PAPERS_PROXY, TRIVIAL
from autogas.proxies.primitives.registry import all_functions
from autogas.proxies.statistics.bank import FeatureBank
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.runs import Failure, Run, parallel_map, progress
from autogas.seeding import numpy_generator
from autogas.settings import takes
from autogas.workflows.judging.across import WITHIN, AcrossFitness, AcrossSettings, Ground
from autogas.workflows.judging.ascent import Ascent, Pairs
from autogas.workflows.judging.correlations import (
    about_benchmark,
    benchmark_at_hand,
    check_metric,
    correlation_table,
    name_of,
    trivial_scores,
)
from autogas.workflows.judging.together import check_together, counts_of, splits_of, with_equal_counts
from autogas.workflows.keywords import DiscoverAcrossKeywords
from autogas.workflows.opening import open_run, read_settings
from autogas.workflows.seconds import Stopwatch


@takes(AcrossSettings)
def discover_across(
    benchmarks: Sequence[str | Benchmark],
    *,
    out: str | None = None,
    resume: str | None = None,
    jobs: int | None = None,
    **settings: Unpack[DiscoverAcrossKeywords],
) -> Run:
    """Discover one proxy on several benchmarks; see ``AcrossSettings`` for the settings.

    The run folder holds ``results.json`` (equal for equal settings), ``candidates.parquet`` (every candidate in order),
    and ``scores-<benchmark>.parquet`` (test scores).

    Args:
        benchmarks: names or benchmarks, at least two.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        jobs: processes; None: as ``AUTOGAS_JOBS`` says in the environment, or one a core.
        **settings: fields of ``AcrossSettings``.

    Raises:
        InputError: a setting or benchmark that does not exist, fewer than two of them, or an order within counts asked
            for of benchmarks whose architectures have hardly any equal ones.
    """
    several = [benchmarks] if isinstance(benchmarks, str) else benchmarks
    given = {name_of(bench): bench for bench in several}
    for bench in several:
        first = given[name_of(bench)]
        if first is not bench and not (isinstance(bench, str) and first == bench):
            raise InputError(f"two benchmarks have the name {name_of(bench)!r}: expected a name of its own for each")
    s = read_settings(
        "discover-across", AcrossSettings, ({"benchmarks": list(given)} if given else {}) | settings, resume
    )
    loaded = {name: given.get(name, name) for name in s.benchmarks}
    benches = {name: benchmark_at_hand(bench, name) for name, bench in loaded.items()}
    check_together(benches)
    for bench in benches.values():
        check_metric(bench, ("discovered", "best single term", *known_expressions(), *TRIVIAL))
    splits = splits_of(benches, s)
    counted = with_equal_counts(benches, splits, s)
    digests = {f"benchmark {name}": bench.digest for name, bench in benches.items()}
    grammar = SumGrammar(s.terms)
    starts = [grammar.read(str(EXPRESSIONS.get(text, text))) for text in s.starts]
    with open_run("discover-across", s, out=out, resume=resume, inputs=digests, code=all_functions()) as run:
        seconds = Stopwatch()

        grounds, banks = {}, {}
        for name, bench in benches.items():
            chosen = splits[name].validation
            archs = [bench.archs[i] for i in chosen]
            with seconds(f"validation_features {name}"):
                each = [
                    FeatureBank(
                        bench.space,
                        prefixes=[*grammar.prefixes, *measured_prefixes(known_expressions().values())],
                        batch_size=s.batch_size,
                        seed=s.seed + number,
                        device=s.device,
                    )
                    for number in range(s.scoring_seeds)
                ]
                statistics = [network for bank in each for network in bank.load_all(archs, jobs=jobs)]
            banks[name] = each[0]
            goodness = np.tile(bench.goodness[chosen], s.scoring_seeds)
            grounds[name] = Ground(Evaluator(statistics), goodness, space=bench.space.name)
            if name in counted:
                labels = counts_of(bench, chosen)  # of each seed its own: no architecture is compared with itself
                each_seed = np.concatenate([labels + seed * len(labels) for seed in range(s.scoring_seeds)])
                grounds[f"{name}{WITHIN}"] = grounds[name].within(each_seed)
        judge = AcrossFitness(grounds, s)
        with seconds("enumeration"):
            singles, of_terms = best_terms(grammar, judge, s)
        with seconds("search"):
            if s.strategy == "ascent":
                best, candidates = ascend(grammar, judge, s, run, [*starts, *singles[: s.top_k]], of_terms, jobs)
            else:
                best, candidates = race(grammar, judge, s, run, singles)
        finalists: dict[str, Expression] = {"discovered": best, "best single term": singles[0], **known_expressions()}

        about = {name: str(expression) for name, expression in finalists.items()}
        tables, unseen = {}, dict[str, float]()
        for name, bench in benches.items():
            with seconds(f"test {name}"):
                ground, scores = on_test(name, bench, splits[name].test, banks[name], finalists, jobs, run)
            tables[name] = correlation_table(bench, splits[name].test, scores, about)
            unseen[name] = ground.tau(scores["discovered"])
            if name in counted:
                within = ground.within(counts_of(bench, splits[name].test))
                unseen[f"{name}{WITHIN}"] = within.tau(scores["discovered"])
        run.write_table("candidates", candidates)
        run.write_costs({"seconds": seconds.laps})
        validation = {name: _without_nan(judge(expression)[1]) for name, expression in finalists.items()}
        run.finish(
            {
                "benchmarks": {
                    name: {**about_benchmark(bench), "noise_ceiling": bench.noise_ceiling()}
                    for name, bench in benches.items()
                },
                "objective": s.objective,
                "reachable": {name: ground.reachable for name, ground in grounds.items()},
                "winner": {"proxy": str(best), "fitness": judge(best)[0], "complexity": best.complexity},
                "finalists": about,
                "evaluated": len(candidates),
                **front_of(candidates),
                "validation_tau_a": validation,
                "test": tables,
                "test_tau_a": _without_nan(unseen),
                "fall": {name: or_none(or_nan(validation["discovered"].get(name)) - unseen[name]) for name in grounds},
            }
        )
    return run


def _without_nan(taus: Mapping[str, float]) -> dict[str, float | None]:
    return {name: or_none(tau) for name, tau in taus.items()}


def front_of(candidates: pd.DataFrame) -> dict[str, Any]:
    """``front``, if asked for: proxies that no other beats on every benchmark, with tau-a where they were chosen."""
    if "front" not in candidates:
        return {}
    chosen = candidates[candidates["front"]].drop_duplicates("proxy").sort_values("fitness", ascending=False)
    return {"front": chosen.drop(columns=["front", "iteration"]).to_dict("records")}


def known_expressions() -> dict[str, Expression]:
    """The default proxy and the paper's, for comparison."""
    return {name: parse_proxy(EXPRESSIONS[name]) for name in (DEFAULT_PROXY, PAPERS_PROXY)}


def best_terms(
    grammar: SumGrammar, judge: AcrossFitness, s: AcrossSettings
) -> tuple[list[Sum], dict[str, NDArray[np.float32]]]:
    """The best 200 single terms, each with its better sign, best first; sets what counts as 1 on each ground.

    Returns also the scores of all terms ``[terms, architectures]`` by benchmark.
    """
    terms = list(grammar.terms())
    evaluators = {ground.evaluator: len(ground.goodness) for ground in judge.grounds.values()}
    kept = {each: np.empty((len(terms), count), dtype=np.float32) for each, count in evaluators.items()}
    table = np.zeros((len(judge.grounds), len(terms)))
    for column, term in enumerate(progress(terms, len(terms), "single terms")):
        found = {each: each.scores(term) for each in evaluators}
        for each, scores in found.items():
            with np.errstate(over="ignore"):
                kept[each][column] = scores
        for row, ground in enumerate(judge.grounds.values()):
            scores = found[ground.evaluator]
            table[row, column] = ground.tau(scores) if np.isfinite(scores).mean() >= 0.5 else math.nan
    for row, (name, ground) in enumerate(judge.grounds.items()):
        best = np.abs(table[row])[np.isfinite(table[row])].max(initial=0.0)
        if best == 0:
            raise InputError(f"benchmark {name}: no single term ranks its validation architectures at all")
        ground.reachable = s.targets.get(name, float(best))
    taus = dict(zip(judge.grounds, table, strict=True))
    combined = np.stack([judge.objective({name: sign * row for name, row in taus.items()}) for sign in (1, -1)])
    order = np.argsort(-np.nan_to_num(combined.max(axis=0), nan=-np.inf), kind="stable")[:200]
    singles = [Sum(((1.0 if combined[0, i] >= combined[1, i] else -1.0, terms[i]),)) for i in order]
    return singles, {name: kept[ground.evaluator] for name, ground in judge.grounds.items()}


def ascend(
    grammar: SumGrammar,
    judge: AcrossFitness,
    s: AcrossSettings,
    run: Run,
    starts: Sequence[Sum],
    scores: Mapping[str, NDArray[np.float32]],
    jobs: int | None,
) -> tuple[Sum, pd.DataFrame]:
    """Climb from given sums, and in later rounds from crossings of the best ends, as many as there are parents.

    Each climb is on record when it has ended. Returns the best end, judged on all pairs, and all ends in order.
    """
    rng = numpy_generator("discover-across", "ascent", s.seed)
    pairs = {}
    lives: dict[Evaluator, NDArray[np.float32]] = {}  # copied once
    for name, ground in judge.grounds.items():
        live = ground.evaluator.live_networks  # the others have no score whatever the expression
        if ground.evaluator not in lives:
            lives[ground.evaluator] = scores[name][:, live]
        labels = None if ground.labels is None else ground.labels[live]
        pairs[name] = Pairs.draw(lives[ground.evaluator], ground.goodness[live], rng, labels)
    ascent = Ascent(list(grammar.terms()), pairs, judge.objective, penalty=s.penalty, most=s.terms)
    starts = list(dict.fromkeys(starts))
    rows: list[dict[str, Any]] = []
    for number in range(s.rounds):
        left = [start for start in starts if f"from {start}" not in run.record]
        for start, end in parallel_map(ascent.climb, left, jobs=jobs, description=f"ascent, round {number + 1}"):
            if isinstance(end, Failure):
                raise InputError(f"ascent from {start}: {end.reason}")
            fitness, taus = judge(end)
            found = {"proxy": str(end), "fitness": or_none(fitness), "taus": _without_nan(taus)}
            run.record.put([(f"from {start}", found)])
        for start in starts:
            known = run.record[f"from {start}"]
            taus = {name: or_nan(tau) for name, tau in known["taus"].items()}
            rows.append({"iteration": number, "proxy": known["proxy"], "fitness": or_nan(known["fitness"]), **taus})
        ends = {row["proxy"]: row["fitness"] for row in rows if math.isfinite(row["fitness"])}
        if not ends:
            raise InputError(f"none of {len(rows)} ascents ended in a finite, varying score")
        best = [Sum(parse_proxy(text).terms) for text in sorted(ends, key=lambda text: -ends[text])[: s.top_k]]
        starts = crossings(grammar, best, rng)
    return best[0], pd.DataFrame(rows)


def crossings(grammar: SumGrammar, parents: Sequence[Sum], rng: np.random.Generator) -> list[Sum]:
    """As many sums as there are parents, each with terms of two of them."""
    pairs = rng.integers(len(parents), size=(len(parents), 2))
    return list(dict.fromkeys(grammar.crossover(parents[i], parents[j], rng) for i, j in pairs))


def race(
    grammar: SumGrammar, judge: AcrossFitness, s: AcrossSettings, run: Run, singles: Sequence[Sum]
) -> tuple[Sum, pd.DataFrame]:
    """The best candidate, and all in order; what is on record is not judged again. It starts from single terms."""
    rng = numpy_generator("discover-across", s.strategy, s.seed)
    each: dict[Sum, list[float]] = {}  # objectives of a front
    judged: dict[Sum, float] = {}
    strategy: Strategy[Sum]
    if s.objective == "pareto":
        strategy = NSGA2(grammar, costs=lambda g: [-share for share in each[g][1:]], population=s.population, rng=rng)
    else:
        options = {"sampling_ratio": s.sampling_ratio, "top_k": s.top_k}
        name = "random" if s.strategy == "enumerate" else s.strategy
        strategy = make_strategy(name, grammar, population=s.population, rng=rng, **options)
    rows: list[dict[str, Any]] = []
    bars: list[float] = []
    rounds = 0 if s.strategy == "enumerate" else s.iterations
    for iteration in progress(range(rounds + 1), rounds + 1, s.strategy):
        batch = list(singles) if iteration == 0 else strategy.ask()
        racing = len(bars) >= s.top_k and s.objective != "pareto"
        bar = sorted(bars, reverse=True)[s.top_k - 1] if racing else -math.inf
        new, fitness = [], []
        for genome in batch:
            known = run.record.get(str(genome))
            if known is None:
                value, taus = judge(genome, bar)
                known = {"fitness": or_none(value), "taus": _without_nan(taus)}
                new.append((str(genome), known))
            fitness.append(or_nan(known["fitness"]))
            taus = {name: or_nan(tau) for name, tau in known["taus"].items()}
            each[genome] = judge.each(genome, taus)
            rows.append({"iteration": iteration, "proxy": str(genome), "fitness": fitness[-1], **taus})
        run.record.put(new)
        bars += [value for value in fitness if math.isfinite(value)]
        finite = {g: f for g, f in zip(batch, fitness, strict=True) if math.isfinite(f)}
        judged |= finite
        first = [each[g][0] if g in finite else math.nan for g in batch] if s.objective == "pareto" else fitness
        strategy.tell(batch, first)
    if not judged:
        raise InputError(f"none of {len(rows)} candidates had a finite, varying score")
    table = pd.DataFrame(rows)
    if isinstance(strategy, NSGA2):
        table["front"] = table["proxy"].isin(list(map(str, front(strategy.told, strategy.costs))))
    return max(judged, key=lambda g: judged[g]), table


def on_test(
    name: str,
    bench: Benchmark,
    chosen: NDArray[np.intp],
    bank: FeatureBank,
    finalists: Mapping[str, Expression],
    jobs: int | None,
    run: Run,
) -> tuple[Ground, dict[str, NDArray[np.float64]]]:
    """The test architectures of one benchmark, with their scores by the finalists and the trivial scorers."""
    archs = [bench.archs[i] for i in chosen]
    evaluator = Evaluator(bank.load_all(archs, prefixes=measured_prefixes(finalists.values()), jobs=jobs))
    scores = {finalist: evaluator.scores(expression) for finalist, expression in finalists.items()}
    scores |= trivial_scores(bench.space, archs)
    table = {"arch": [str(arch) for arch in archs], bench.metric: bench.quality[chosen], **scores}
    run.write_table(f"scores-{name}", pd.DataFrame(table))
    return Ground(evaluator, bench.goodness[chosen]), scores
