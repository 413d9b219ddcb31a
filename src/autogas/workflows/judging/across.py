"""Fitness of a proxy on several benchmarks at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from autogas.benchmarks.correlation import kendall_of_ranks, ranks_failures_last
from autogas.evolution import known_strategy
from autogas.proxies.language.expression import MAX_TERMS, Expression, Proxy
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.settings import (
    MOST,
    Device,
    SamplingRatio,
    ScoredBatch,
    Settings,
    all_is_none,
    must_be_usual,
    on_command_line,
)

Values = NDArray[np.float64]
Kind = Literal["worst", "mean", "balanced", "pareto"]
RACE = (25, 100)
"""Architectures after which a candidate that lies behind the parents by ``MARGIN`` standard errors is dropped."""
MARGIN = 2.0
STANDARD_ERROR = 0.45
"""Of tau-a on one architecture, roughly; it falls with the root of their number."""
WITHIN = ":within"
"""What the name of a benchmark ends with where only architectures of equal counts are compared."""

UNUSED = {
    "evolution": ("rounds", "starts"),
    "enumerate": ("population", "iterations", "sampling_ratio", "top_k", "rounds", "starts"),
    "ascent": ("population", "iterations", "sampling_ratio"),
    "random": ("sampling_ratio", "rounds", "starts"),
}
"""Settings that say nothing to a strategy."""


class AcrossSettings(Settings):
    """What determines a discovery on several benchmarks."""

    benchmarks: list[str] = Field(
        min_length=2,
        description="where measured quality comes from",
        json_schema_extra=on_command_line(flag="--benchmark", always=True),
    )
    objective: Kind = Field(
        "worst",
        description="the space ranked worst counts, or the mean, or the worst and a quarter of the mean (balanced);"
        " pareto: a front over benchmarks by NSGA-II",
    )
    within_counts: bool = Field(
        False,
        description="the order within equal counts (of stages, skips, ...) counts as another benchmark, NAME:within,"
        " where a tenth of all pairs have equal ones",
    )
    targets: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=dict,
        description="by benchmark, tau-a that counts as 1; of others what the best single term reaches",
        json_schema_extra=on_command_line(flag="--target"),
    )
    strategy: Annotated[str, AfterValidator(lambda name: known_strategy(name, "enumerate", "ascent"))] = Field(
        "evolution", description="how candidates are found; ascent: each term in turn gives way to the best of all"
    )
    terms: int = Field(3, ge=1, le=MAX_TERMS, description="terms of a sum at most")
    penalty: float = Field(0.002, ge=0, description="fitness that each word of an expression costs")
    rounds: int = Field(
        1,
        ge=1,
        le=MOST,
        description="of an ascent: climbs start from the best single terms, in later rounds from crossings of ends",
    )
    starts: list[str] = Field(
        default_factory=list,
        description="of an ascent: proxies or expressions of the grammar that it climbs from, too",
        json_schema_extra=on_command_line(flag="--start"),
    )
    population: int = Field(50, ge=1, le=MOST, description="candidates an iteration")
    iterations: int = Field(100, ge=1, le=MOST, description="rounds of ask and tell")
    sampling_ratio: SamplingRatio = 0.9
    top_k: int = Field(20, ge=1, description="parents an iteration")
    validation: Annotated[int | None, BeforeValidator(all_is_none)] = Field(
        None,
        ge=3,
        description="validation architectures of each at most, or all: four sevenths",
        json_schema_extra=on_command_line(text=True),
    )
    test: int | None = Field(None, ge=3, description="test architectures of each at most; None: all the others")
    batch_size: ScoredBatch = Field(16, description="samples of noise that networks are scored on")
    seed: int = Field(0, ge=0, description="of weights, noise, splits and search")
    scoring_seeds: int = Field(
        1,
        ge=1,
        description="validation architectures are scored with so many seeds of weights and noise, each as if another",
    )
    device: Device = "cpu"

    @model_validator(mode="after")
    def _front_by_evolution(self) -> AcrossSettings:
        if self.objective == "pareto" and self.strategy != "evolution":
            raise ValueError(f"objective pareto with strategy {self.strategy}: accepted with evolution")
        if self.objective == "pareto":
            must_be_usual(self, ("sampling_ratio", "top_k"), "with objective pareto")
        must_be_usual(self, UNUSED.get(self.strategy, ()), f"with strategy {self.strategy}")
        within = [f"{name}{WITHIN}" for name in self.benchmarks]
        named = [*self.benchmarks, *(within if self.within_counts else ())]
        for name in self.targets.keys() - set(named):
            if name in within:
                raise ValueError(f"targets: {name!r} is accepted with within_counts")
            raise ValueError(f"targets: {name!r} is no benchmark of this run; expected {', '.join(named)}")
        return self


@dataclass
class Ground:
    """Validation architectures of one benchmark, with one seed of weights and noise after another.

    Attributes:
        evaluator: of their statistics.
        goodness: measured quality, bigger is better.
        reachable: tau-a that counts as 1, which other values are shares of.
        space: of the benchmark; several of one have one vote.
        labels: ``[architectures]``; if given, only those of equal label are compared.
    """

    evaluator: Evaluator
    goodness: Values
    reachable: float = 1.0
    space: str = ""
    labels: NDArray[np.intp] | None = None
    _scores: dict[Proxy, Values] = field(default_factory=dict)

    def scores(self, expression: Expression) -> Values:
        """Score of every architecture; terms are remembered."""
        for _, term in expression.terms:
            if term not in self._scores:
                self._scores[term] = self.evaluator.scores(term)
        return sum((factor * self._scores[term] for factor, term in expression.terms), np.zeros(len(self.goodness)))

    def tau(self, scores: Values, count: int | None = None) -> float:
        """Kendall's tau-a of the first ``count`` architectures; a network without a score ranks last."""
        part = scores[:count]
        ranks = ranks_failures_last(np.where(np.isfinite(part), part, np.nan)).astype(np.int32)
        if self.labels is None:
            return float(kendall_of_ranks(self.goodness[:count], ranks[None], "kendall_a")[0])
        concordant = pairs = 0.0
        for label in np.unique(self.labels[:count]):
            equal = np.flatnonzero(self.labels[:count] == label)
            tau = kendall_of_ranks(self.goodness[equal], ranks[None, equal], "kendall_a")[0]
            compared = len(equal) * (len(equal) - 1) / 2
            concordant += 0.0 if math.isnan(tau) else compared * tau  # NaN: all of this label have one score
            pairs += compared
        return concordant / pairs if pairs else 0.0

    def within(self, labels: NDArray[np.intp]) -> Ground:
        """The same architectures and scores, compared with those of equal label only; it has a vote of its own."""
        return replace(self, labels=labels, space=f"{self.space}{WITHIN}")


@dataclass(frozen=True)
class Objective:
    """One number from tau-a on several benchmarks: of the space ranked worst, the mean over spaces, or of both.

    Attributes:
        reachable: by benchmark, tau-a that counts as 1.
        spaces: by benchmark; several benchmarks of one space count by their mean.
        kind: as in ``AcrossSettings``; that of a front is the worst.
    """

    reachable: Mapping[str, float]
    spaces: Mapping[str, str]
    kind: Kind

    def __call__(self, taus: Mapping[str, Values]) -> Values:
        """Of many candidates, from their tau-a by benchmark; NaN where one of them is."""
        of_space: dict[str, list[Values]] = {}
        for name, values in taus.items():
            of_space.setdefault(self.spaces[name], []).append(values / self.reachable[name])
        shares = np.stack([np.mean(each, axis=0) for each in of_space.values()])
        worst: Values = shares.min(axis=0)
        mean: Values = shares.mean(axis=0)
        return {"mean": mean, "balanced": worst + mean / 4}.get(self.kind, worst)


class AcrossFitness:
    """Fitness of a proxy on several grounds.

    Args:
        grounds: by name of the benchmark.
        settings: objective and penalty.
    """

    def __init__(self, grounds: Mapping[str, Ground], settings: AcrossSettings) -> None:
        self.grounds = grounds
        self.settings = settings

    def __call__(self, expression: Expression, bar: float = -math.inf) -> tuple[float, dict[str, float]]:
        """Fitness and tau-a by benchmark; NaN where fewer than half of the networks have a score.

        Args:
            expression: the candidate.
            bar: fitness below which nothing interests: the race ends early for one that will hardly reach it.
        """
        scores = {name: ground.scores(expression) for name, ground in self.grounds.items()}
        with np.errstate(invalid="ignore"):
            if any(np.isfinite(s).mean() < 0.5 for s in scores.values()):
                return math.nan, {}
        for count in (*RACE, None):
            taus = {name: ground.tau(scores[name], count) for name, ground in self.grounds.items()}
            fitness = self.combined(taus) - self.settings.penalty * expression.complexity
            if count is not None and fitness < bar - self._margin(count):
                break
        return fitness, taus

    def _margin(self, count: int) -> float:
        """Of fitness after so many architectures, in shares of what is reachable where that is least."""
        least = min(ground.reachable for ground in self.grounds.values())
        return MARGIN * STANDARD_ERROR / math.sqrt(count) / least

    def each(self, expression: Expression, taus: Mapping[str, float]) -> list[float]:
        """Share of what is reachable on each ground, less the penalty: the objectives of a Pareto front."""
        cost = self.settings.penalty * expression.complexity
        return [tau / self.grounds[name].reachable - cost for name, tau in taus.items()]

    def combined(self, taus: Mapping[str, float]) -> float:
        """The objective, from tau-a by benchmark."""
        return float(self.objective({name: np.array([tau]) for name, tau in taus.items()})[0])

    @property
    def objective(self) -> Objective:
        """What many tau-a by benchmark are worth."""
        reachable = {name: ground.reachable for name, ground in self.grounds.items()}
        spaces = {name: ground.space or name for name, ground in self.grounds.items()}
        return Objective(reachable, spaces, self.settings.objective)
