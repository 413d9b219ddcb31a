"""Evolution, enumeration or random search? At the same number of evaluations in the language of sums of two terms.

    python experiments/strategies.py --out runs/strategies

Every seed draws other validation architectures of three benchmarks. Enumeration judges every single term; the other two
judge as many sums of at most two terms, evolution in rounds of fifty from random ones. What counts is what the winner
of each reaches on the other architectures: the worst of its tau-a as a share of the best single term's there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from autogas.benchmarks import load_benchmark
from autogas.benchmarks.correlation import dense_ranks, kendall_of_ranks
from autogas.evolution import Evolution, RandomSearch, Strategy
from autogas.proxies.language.expression import Expression, Proxy, Sum
from autogas.proxies.language.sum_grammar import SumGrammar
from autogas.proxies.statistics.bank import FeatureBank
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.runs import progress
from autogas.seeding import numpy_generator

POOL = {"transnas-macro": 400, "transnas-micro": 400, "mini-gan": 100}
"""Architectures of each benchmark; half of them validate."""
PENALTY = 0.002
POPULATION = 50
Values = NDArray[np.float64]


class Table:
    """Scores of all single terms on the architectures of one benchmark.

    Attributes:
        scores: ``float32 [terms, architectures]``, minus infinity where there is none.
        goodness: ``[architectures]``.
    """

    def __init__(self, name: str, grammar: SumGrammar, out: Path, jobs: int) -> None:
        bench = load_benchmark(name)
        chosen = numpy_generator("strategies", name).permutation(len(bench))[: POOL[name]]
        self.goodness = bench.goodness[chosen]
        file = out / f"{name}.npy"
        if not file.exists():
            bank = FeatureBank(bench.space, prefixes=grammar.prefixes)
            evaluator = Evaluator(bank.load_all([bench.archs[i] for i in chosen], jobs=jobs))
            terms = list(grammar.terms())
            found = np.empty((len(terms), len(chosen)), dtype=np.float32)
            for row, term in enumerate(progress(terms, len(terms), name)):
                with np.errstate(over="ignore"):
                    found[row] = evaluator.scores(term)
            np.save(file, found)
        self.scores = np.load(file)

    def tau(self, scores: Values, part: NDArray[np.intp]) -> float:
        """Tau-a on some architectures; NaN where fewer than half have a score, as in a discovery."""
        failed = ~np.isfinite(scores[part])
        if failed.mean() > 0.5:
            return math.nan
        ranks = dense_ranks(np.where(failed, 0.0, scores[part])[None]) + 1
        ranks[0, failed] = 0
        return float(kendall_of_ranks(self.goodness[part], ranks, "kendall_a")[0])


class Game:
    """One seed: validation and test architectures of every benchmark, and fitness on both."""

    def __init__(self, tables: dict[str, Table], place: dict[Proxy, int], seed: int) -> None:
        self.tables = tables
        self.place = place
        self.parts: dict[str, tuple[NDArray[np.intp], NDArray[np.intp]]] = {}
        for name, table in tables.items():
            order = numpy_generator("strategies", "split", seed, name).permutation(len(table.goodness))
            self.parts[name] = order[: len(order) // 2], order[len(order) // 2 :]
        self.reachable = [
            {name: self._best_single(name, side) for name in tables} for side in (0, 1)
        ]  # of validation, of test

    def _best_single(self, name: str, side: int) -> float:
        table, part = self.tables[name], self.parts[name][side]
        return float(np.nanmax(np.abs([table.tau(row, part) for row in table.scores.astype(np.float64)])))

    def worst(self, expression: Expression, side: int) -> float:
        """The smallest share of what is reachable; NaN where there is none."""
        shares = []
        for name, table in self.tables.items():
            with np.errstate(invalid="ignore"):
                scores = sum(
                    (factor * table.scores[self.place[term]].astype(np.float64) for factor, term in expression.terms),
                    np.zeros(len(table.goodness)),
                )
            shares.append(table.tau(scores, self.parts[name][side]) / self.reachable[side][name])
        return float(min(shares)) if np.isfinite(shares).all() else math.nan

    def fitness(self, expression: Expression) -> float:
        """On validation architectures, less what its words cost."""
        return self.worst(expression, 0) - PENALTY * expression.complexity


def singles(grammar: SumGrammar) -> Iterator[Sum]:
    """Every term, and its negative where that is judged better: a sign is no evaluation of its own."""
    for term in grammar.terms():
        yield Sum(((1.0, term),))


def enumerated(game: Game, grammar: SumGrammar) -> Sum:
    """The best single term, with its better sign."""
    best, value = None, -math.inf
    for one in singles(grammar):
        for signed in (one, Sum(((-1.0, one.terms[0][1]),))):
            fitness = game.fitness(signed)
            if fitness > value:
                best, value = signed, fitness
    assert best is not None
    return best


def searched(game: Game, strategy: Strategy[Sum], evaluations: int) -> Sum:
    """The best of so many candidates; one that comes again costs nothing and counts nothing."""
    known: dict[str, float] = {}
    for _ in range(10 * evaluations // POPULATION):
        batch = strategy.ask()
        for genome in batch:
            if str(genome) not in known:
                known[str(genome)] = game.fitness(genome)
        strategy.tell(batch, [known[str(genome)] for genome in batch])
        if len(known) >= evaluations:
            break
    assert strategy.best is not None
    return strategy.best[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", default=list(POOL), help="which of the three")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_intermixed_args()
    options.out.mkdir(parents=True, exist_ok=True)
    grammar = SumGrammar(2)
    tables = {name: Table(name, grammar, options.out, options.jobs) for name in options.benchmarks}
    place = {term: i for i, term in enumerate(grammar.terms())}
    reached: dict[str, list[float]] = {"enumeration": [], "random": [], "evolution": []}
    for seed in range(options.seeds):
        file = options.out / f"seed-{seed}.json"
        if not file.exists():
            game = Game(tables, place, seed)
            winners = {"enumeration": enumerated(game, grammar)}
            for name in ("random", "evolution"):
                rng = numpy_generator("strategies", name, seed)
                strategy: Strategy[Sum] = (
                    RandomSearch(grammar, population=POPULATION, rng=rng)
                    if name == "random"
                    else Evolution(grammar, population=POPULATION, sampling_ratio=0.9, top_k=20, rng=rng)
                )
                winners[name] = searched(game, strategy, len(place))
            rows = {name: [str(one), game.worst(one, 0), game.worst(one, 1)] for name, one in winners.items()}
            file.write_text(json.dumps(rows, indent=1))
        rows = json.loads(file.read_text())
        for name, (_, _, test) in rows.items():
            reached[name].append(test)
        print(seed, {name: f"{val:.3f} -> {test:.3f}" for name, (_, val, test) in rows.items()}, flush=True)
    for name, values in reached.items():
        print(f"{name:<12} {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} of what one term can reach, on test")
    for first, second in itertools.combinations(reached, 2):
        p = wilcoxon(reached[first], reached[second]).pvalue
        better = sum(a > b for a, b in zip(reached[first], reached[second], strict=True))
        print(f"{first} above {second} in {better} of {options.seeds} seeds, Wilcoxon's signed ranks p = {p:.4f}")


if __name__ == "__main__":
    main()
