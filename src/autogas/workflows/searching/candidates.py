"""Architectures of a search: their scores and latencies, each worked out once and recorded."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence
from typing import Any

from autogas.files import or_nan, or_none
from autogas.proxies.statistics.bank import code_of
from autogas.runs import Failure, Run, parallel_map
from autogas.runs.folder import MEASURED
from autogas.spaces import Space
from autogas.workflows.latency import timed_by_torch
from autogas.workflows.scoring import Scoring, score_record, space_key
from autogas.workflows.searching.budget import REDRAWS, Budget
from autogas.workflows.searching.settings import SearchSettings, spaces_of

FULL_SIZE = "at full size: "
"""Starts the keys of scores at full size on the record."""
LATENCY_RUNS = 7


class Candidates:
    """Architectures of a search with their scores and latencies; what is on record is not worked out again."""

    def __init__(self, s: SearchSettings, within: Budget, run: Run, jobs: int | None) -> None:
        self.s = s
        self.within = within
        self.run = run
        self.jobs = jobs
        self.space, self.scored_in = spaces_of(s)
        self.cost = self.within.cost
        self.measured: dict[str, float] = {}  # milliseconds of those that are inside the rest of the budget
        self.scoring = Scoring(
            proxies=[s.proxy],
            batch_size=s.batch_size,
            images=s.images,
            seed=s.seed,
            device=s.device,
            code=code_of(self.space),
        )

    @property
    def resized(self) -> bool:
        """Whether candidates are scored at another size than they are searched for."""
        return space_key(self.space) != space_key(self.scored_in)

    def admits(self, arch: Any) -> bool:
        """Whether an architecture is inside the whole budget."""
        limit = self.s.max_latency
        if not self.within.admits(arch):
            return False
        if limit is None:
            return True
        latency = self.measured[str(arch)] = self.latency(arch)
        if len(self.measured) >= REDRAWS and min(self.measured.values()) > limit:
            raise self.within.nothing_inside(min(self.measured.values()))
        return latency <= limit

    def latency(self, arch: Any, space: Space[Any] | None = None) -> float:
        """Milliseconds of a forward pass of one sample at full size, measured once."""
        space = self.space if space is None else space
        key = f"{MEASURED}{arch} in {space_key(space)}"
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
        return [or_nan(self.run.record[prefix + str(arch)]["score"]) for arch in archs]

    def row(self, arch: Any) -> dict[str, Any]:
        """An architecture as results hold it."""
        (score,) = self.scores([arch])
        cost = self.cost(arch)
        return {"arch": str(arch), "score": or_none(score), "params": cost.params, "macs": cost.macs}

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
    """Median milliseconds of forward passes of one sample, in evaluation mode, on one thread."""
    model, inputs = space.build(arch).eval(), space.inputs(batch_size=1)
    return timed_by_torch(model, inputs, device=device, seconds=0.0, runs=LATENCY_RUNS)["median"]
