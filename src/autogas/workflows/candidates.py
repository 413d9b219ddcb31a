"""Architectures of a search: their costs, scores and latencies, each worked out once and recorded."""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from autogas.errors import InputError
from autogas.evolution import known_strategy
from autogas.proxies.named import DEFAULT_PROXY, get_proxy
from autogas.runs import Failure, Run, parallel_map
from autogas.settings import on_command_line, split_at_commas
from autogas.spaces import Cost, Space, get_space
from autogas.workflows.scoring import Scoring, score_record, scoring_inputs, space_key

Objective: TypeAlias = Literal["score", "params", "macs"]
Limit: TypeAlias = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]
FULL_SIZE = "at full size: "
"""Starts the keys of scores at full size on the record."""
LATENCY_RUNS = 7
ENUMERABLE = 100_000


def score_alone() -> list[Objective]:
    """The objective of the paper."""
    return ["score"]


class SearchSettings(BaseModel):
    """What determines a search; the defaults are the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str = Field(description="search space", json_schema_extra=on_command_line(argument=True))
    proxy: str = Field(DEFAULT_PROXY, description="what is maximised: a name or an expression")
    space_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="settings of the space that differ",
        json_schema_extra=on_command_line(flag="--set"),
    )
    scored_at: dict[str, Any] | None = Field(
        None, description="settings of the space at which candidates are scored; None: the space's usual small size"
    )
    strategy: Annotated[str, AfterValidator(known_strategy)] = Field(
        "evolution", description="how candidates are found: evolution, random, or a plug-in's"
    )
    objectives: Annotated[list[Objective], BeforeValidator(split_at_commas)] = Field(
        default_factory=score_alone, description="score alone, or score against costs: a Pareto front by NSGA-II"
    )
    population: int | None = Field(None, ge=1, description="candidates an iteration; None: 32, translators 10")
    iterations: int | None = Field(None, ge=1, description="rounds of ask and tell; None: 150, translators 500")
    sampling_ratio: float = Field(0.9, gt=0, le=1, description="share of the population that parents come from")
    top_k: int = Field(5, ge=1, description="parents an iteration")
    max_params: Limit = Field(None, description="most parameters")
    max_macs: Limit = Field(None, description="most multiply-accumulate operations for one sample")
    max_latency: Limit = Field(None, description="most milliseconds for one sample on this device")
    sample: int = Field(100, ge=0, description="random architectures to compare with, and to see what size explains")
    agreement: int = Field(20, ge=0, description="of them, scored at full size too")
    batch_size: int | None = Field(
        None, ge=2, description="samples that networks are scored on; None: 16, spade-translation 4"
    )
    images: str | None = Field(
        None, description="score on images of this source; None: on noise, discriminators on their data set"
    )
    seed: int = Field(0, ge=0, description="of weights, noise and search")
    device: str = Field("cpu", description="where networks run")

    @cached_property
    def searched(self) -> Space[Any]:
        """The space that is searched, which knows what is not said here."""
        return get_space(self.space, **self.space_settings)

    @property
    def candidates(self) -> int:
        """Candidates an iteration."""
        return self.population or self.searched.search_population

    @property
    def rounds(self) -> int:
        """Rounds of ask and tell."""
        return self.iterations or self.searched.search_iterations

    @property
    def samples(self) -> int:
        """Samples that networks are scored on."""
        return self.batch_size or self.searched.scored_samples

    @property
    def source(self) -> str | None:
        """Images that networks are scored on."""
        return self.images or self.searched.scored_images

    @field_validator("objectives")
    @classmethod
    def _score_first(cls, value: list[Objective]) -> list[Objective]:
        if value[:1] != ["score"] or len(set(value)) != len(value):
            raise ValueError("expected score, score,macs, score,params and score,macs,params")
        return value

    @property
    def budget(self) -> str:
        """The limits in words; empty without any."""
        limits = {"parameters": self.max_params, "MACs": self.max_macs, "ms": self.max_latency}
        return ", ".join(f"at most {value:g} {name}" for name, value in limits.items() if value is not None)


def spaces_of(s: SearchSettings) -> tuple[Space[Any], Space[Any]]:
    """The space that is searched, and the one in which candidates are scored: smaller where nothing is said."""
    space = s.searched
    usual = {name: value for name, value in space.smaller.items() if value < space.settings[name]}
    return space, get_space(s.space, **{**s.space_settings, **(usual if s.scored_at is None else s.scored_at)})


def check(s: SearchSettings) -> Budget:
    """The space under its budget; says at once what is wrong with it, the proxy or the images."""
    get_proxy(s.proxy)
    for space in spaces_of(s):
        scoring_inputs(space_key(space), s.source, s.samples, s.seed)
    within = Budget(spaces_of(s)[0], s)
    if within.members == []:
        raise InputError(f"no architecture of {s.space} is inside the budget ({s.budget})")
    return within


class Budget:
    """A space under a budget of parameters and MACs: the operators of a search, with costs.

    Attributes:
        members: all architectures inside the budget, where costs are formulas and the space can be enumerated, or None.
    """

    def __init__(self, space: Space[Any], s: SearchSettings) -> None:
        self.space = space
        self.max_params = math.inf if s.max_params is None else s.max_params
        self.max_macs = math.inf if s.max_macs is None else s.max_macs
        self.limited = s.max_params is not None or s.max_macs is not None
        self.cost: Callable[[Any], Cost] = functools.lru_cache(maxsize=1 << 16)(space.cost)
        few = space.costs_by_formula and len(space) <= ENUMERABLE
        self.members = list(filter(self.admits, space.enumerate())) if few and self.limited else None

    def admits(self, arch: Any) -> bool:
        """Whether an architecture is inside the budget."""
        if not self.limited:
            return True
        cost = self.cost(arch)
        return cost.params <= self.max_params and cost.macs <= self.max_macs

    def sample(self, rng: np.random.Generator) -> Any:
        """Uniform over ``members`` where they are known, else a draw of the space, which may be outside."""
        return self.space.sample(rng) if self.members is None else self.members[int(rng.integers(len(self.members)))]

    def mutate(self, arch: Any, rng: np.random.Generator) -> Any:
        """As the space does."""
        return self.space.mutate(arch, rng)

    def crossover(self, first: Any, second: Any, rng: np.random.Generator) -> Any:
        """As the space does."""
        return self.space.crossover(first, second, rng)


class Candidates:
    """Architectures of a search with their scores and latencies; what is on record is not worked out again."""

    def __init__(self, s: SearchSettings, within: Budget, run: Run, jobs: int) -> None:
        self.s = s
        self.within = within
        self.run = run
        self.jobs = jobs
        self.space, self.scored_in = spaces_of(s)
        self.cost = self.within.cost
        self.scoring = Scoring(proxies=[s.proxy], batch_size=s.samples, images=s.source, seed=s.seed, device=s.device)

    @property
    def resized(self) -> bool:
        """Whether candidates are scored at another size than they are searched for."""
        return space_key(self.space) != space_key(self.scored_in)

    def admits(self, arch: Any) -> bool:
        """Whether an architecture is inside the whole budget."""
        limit = self.s.max_latency
        return self.within.admits(arch) and (limit is None or self.latency(arch) <= limit)

    def latency(self, arch: Any, space: Space[Any] | None = None) -> float:
        """Milliseconds of a forward pass of one sample at full size, measured once."""
        space = space or self.space
        key = f"latency of {arch} in {space_key(space)}"
        known = self.run.record.get(key)
        if known is None:
            known = {"milliseconds": measure_latency(space, arch, self.s.device)}
            self.run.record.put([(key, known)])
        return float(known["milliseconds"])

    def scores(self, archs: Sequence[Any], *, full_size: bool = False) -> list[float]:
        """The proxy's scores, NaN where there is none."""
        prefix = FULL_SIZE if full_size else ""
        space = space_key(self.space if full_size else self.scored_in)
        task = functools.partial(score_candidate, space=space, scoring_json=self.scoring.model_dump_json())
        todo = [text for text in dict.fromkeys(map(str, archs)) if prefix + text not in self.run.record]
        for text, result in parallel_map(task, todo, jobs=self.jobs):
            value = {"score": None, "reason": result.reason, "seconds": {}} if isinstance(result, Failure) else result
            self.run.record.put([(prefix + text, value)])
        found = [self.run.record[prefix + str(arch)]["score"] for arch in archs]
        return [math.nan if score is None else score for score in found]

    def row(self, arch: Any) -> dict[str, Any]:
        """An architecture as results hold it."""
        (score,) = self.scores([arch])
        cost = self.cost(arch)
        finite = score if math.isfinite(score) else None
        return {"arch": str(arch), "score": finite, "params": cost.params, "macs": cost.macs}

    def spent(self) -> dict[str, Any]:
        """Mean seconds of a candidate by part (None: the scorer has none), and all of it in bare forward passes."""
        candidates = (value for key, value in self.run.record.items() if not key.startswith(FULL_SIZE))
        each = [value["seconds"] for value in candidates if value.get("seconds")]

        def mean(part: str) -> float | None:
            found = [seconds[part] for seconds in each if part in seconds]
            return statistics.fmean(found) if found else None

        means = {part: mean(part) for part in ("build", "forward", "total")}
        forwards = means["total"] / means["forward"] if means["total"] and means["forward"] else None
        return {"candidate": {"count": len(each), **means, "forwards": forwards}}


def score_candidate(text: str, space: tuple[str, str], scoring_json: str) -> dict[str, Any]:
    """Score of one architecture by the only proxy, with the reason where there is none."""
    start = time.perf_counter()
    record = score_record(text, space, scoring_json)
    ((name, score),) = record["scores"].items()
    reason = record["failures"].get(name, record["reason"])
    return {
        "score": score,
        "reason": reason,
        "seconds": {**record["seconds"], "total": time.perf_counter() - start},
    }


def measure_latency(space: Space[Any], arch: Any, device: str) -> float:
    """Median milliseconds of forward passes of one sample, in evaluation mode, after one to warm up."""
    model = space.build(arch).to(device).eval()
    inputs = tuple(x.to(device) for x in space.inputs(batch_size=1))
    seconds = []
    with torch.no_grad():
        for _ in range(1 + LATENCY_RUNS):
            start = time.perf_counter()
            model(*inputs)
            if inputs[0].is_cuda:
                torch.cuda.synchronize(inputs[0].device)
            seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[1:])
