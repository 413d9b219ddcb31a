"""Search architectures with a proxy, without training: evolution under a budget, or a front of score against cost."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias, Unpack

import numpy as np
import pandas as pd

from autogas.benchmarks import correlate
from autogas.errors import InputError
from autogas.evolution import Strategy, make_strategy
from autogas.evolution.pareto import NSGA2, front
from autogas.proxies.language.expression import Expression
from autogas.runs import Run, progress
from autogas.seeding import numpy_generator
from autogas.settings import over, takes
from autogas.spaces import Arch, Space, by_name
from autogas.workflows.judging.correlations import as_json
from autogas.workflows.keywords import SearchKeywords
from autogas.workflows.opening import open_run, read_settings
from autogas.workflows.scoring import functions_of
from autogas.workflows.searching.budget import REDRAWS, check
from autogas.workflows.searching.candidates import Candidates
from autogas.workflows.searching.settings import SearchSettings, spaces_of
from autogas.workflows.seconds import Stopwatch

Row: TypeAlias = dict[str, Any]
BEST = 10
HOPELESS = 20
"""Candidates without a score after which no other is tried."""


@takes(SearchSettings)
def search(
    space: str | Space[Arch] | None = None,
    proxy: str | Expression | None = None,
    *,
    out: str | None = None,
    resume: str | None = None,
    jobs: int | None = None,
    **settings: Unpack[SearchKeywords],
) -> Run:
    """Search a space with a proxy; see ``SearchSettings`` for the settings.

    The run folder holds ``results.json`` (equal for equal settings, whatever the number of jobs; a limit on latency
    makes it depend on the machine), every candidate in order in ``candidates.parquet``, and ``costs.json`` with seconds
    and latencies.

    Args:
        space: its name, or the space itself.
        proxy: name or expression; None: what the space's searches maximise, usually the default proxy.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        jobs: processes; None: as ``AUTOGAS_JOBS`` says in the environment, or one a core.
        **settings: fields of ``SearchSettings``.

    Raises:
        InputError: bad settings, no architecture inside the budget, or none that the proxy can score.
    """
    name = str(proxy) if isinstance(proxy, Expression) else proxy
    given: dict[str, Any] = {**({} if name is None else {"proxy": name}), **settings}
    if space is not None:
        of, own = by_name(space)
        given |= {"space": of, "space_settings": over(own, given)}
    s = read_settings("search", SearchSettings, given, resume)
    within = check(s)
    code = [*spaces_of(s)[0].makers, *functions_of([s.proxy])]
    with open_run("search", s, out=out, resume=resume, code=code) as run:
        candidates = Candidates(s, within, run, jobs)
        seconds = Stopwatch()
        with seconds("search"):
            strategy, rows = evolve(candidates, s)
        assert strategy.best is not None
        winner = strategy.best[0]
        with seconds("sample"):
            sample = draw(candidates, s)
            about_sample = compare(candidates, sample, s)
        with seconds("controls"):
            controls = control_rows(candidates, winner, sample, [*strategy.told, *sample])
            latency = latencies(candidates, controls)
        found = front(strategy.told, functools.partial(costs, candidates)) if len(s.objectives) > 1 else None
        ranked = sorted((row for row in rows if row["reason"] == ""), key=lambda row: -row["score"])
        run.write_table("candidates", pd.DataFrame(rows))
        run.write_costs({"seconds": seconds.laps, **candidates.spent(), "latency_ms": latency})
        run.finish(
            {
                "winner": candidates.row(winner),
                "budget": s.budget,
                "asked": s.population * s.iterations,
                "evaluated": len(rows),
                "failed": len(rows) - len(ranked),
                "best": [{key: row[key] for key in ("arch", "score", "params", "macs")} for row in ranked[:BEST]],
                "front": found and [candidates.row(arch) for arch in found],
                "sample": about_sample,
                "controls": controls,
            }
        )
    return run


def evolve(candidates: Candidates, s: SearchSettings) -> tuple[Strategy[Any], list[Row]]:
    """Run the loop; returns the strategy and every candidate in order."""
    strategy = strategy_of(candidates, s)
    rows: list[Row] = []
    for iteration in progress(range(s.iterations), s.iterations, "search"):
        batch = strategy.ask()
        if not batch:  # the budget holds no more
            break
        scores = candidates.scores(batch)
        strategy.tell(batch, scores)
        for arch, score in zip(batch, scores, strict=True):
            cost, reason = candidates.cost(arch), candidates.run.record[str(arch)]["reason"]
            if not candidates.admits(arch):
                raise InputError(f"strategy {s.strategy} asked for {arch}, which is outside the budget ({s.budget})")
            rows.append(
                {
                    "iteration": iteration,
                    "arch": str(arch),
                    "score": score,
                    "params": cost.params,
                    "macs": cost.macs,
                    "reason": reason,
                }
            )
        if strategy.best is None and len(rows) >= HOPELESS:
            break
    if not rows:
        raise candidates.within.nothing_inside(min(candidates.measured.values(), default=math.inf))
    if strategy.best is None:
        raise InputError(f"none of {len(rows)} candidates has a score by {s.proxy!r}: {rows[0]['reason']}")
    return strategy, rows


def strategy_of(candidates: Candidates, s: SearchSettings) -> Strategy[Any]:
    """That of the settings; evolution is NSGA-II where there is more than one objective."""
    rng = numpy_generator("search", s.strategy, s.seed)
    common: dict[str, Any] = {
        "population": s.population,
        "rng": rng,
        "admits": candidates.admits,
        "redraws": REDRAWS,
    }
    if len(s.objectives) > 1 and s.strategy == "evolution":
        return NSGA2(candidates.within, costs=functools.partial(costs, candidates), **common)
    return make_strategy(s.strategy, candidates.within, sampling_ratio=s.sampling_ratio, top_k=s.top_k, **common)


def costs(candidates: Candidates, arch: Any) -> list[int]:
    """What is to be small beside the score that is to be big."""
    return [getattr(candidates.cost(arch), name) for name in candidates.s.objectives[1:]]


def draw(candidates: Candidates, s: SearchSettings) -> list[Any]:
    """Random architectures inside the budget, in the order in which the space draws them."""
    rng = numpy_generator("search sample", s.seed)
    drawn: dict[Any, None] = {}
    for _ in range(s.sample * REDRAWS):
        if len(drawn) == s.sample:
            break
        arch = candidates.within.sample(rng)
        if candidates.admits(arch):
            drawn[arch] = None
    return list(drawn)


def compare(candidates: Candidates, sample: Sequence[Any], s: SearchSettings) -> Row:
    """Scores of the sample, how much of them is only size, and whether scoring at another size keeps the order."""
    scores = np.array(candidates.scores(sample))
    costs = [candidates.cost(arch) for arch in sample]
    finite = scores[np.isfinite(scores)]
    checked = list(sample[: s.agreement]) if candidates.resized else []
    full = np.array(candidates.scores(checked, full_size=True))
    return {
        "count": len(sample),
        "failed": len(sample) - len(finite),
        "best": float(finite.max()) if len(finite) else None,
        "median": float(np.median(finite)) if len(finite) else None,
        "spearman": {name: spearman([getattr(c, name) for c in costs], scores) for name in ("params", "macs")},
        "agreement": {"count": len(checked), "spearman": spearman(full, scores[: len(checked)])} if checked else None,
    }


def spearman(first: Any, second: Any) -> Row | None:
    """Spearman's correlation with its 95 % interval over the pairs that are finite; None for fewer than three."""
    pairs = np.array([first, second], dtype=float)
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    if pairs.shape[1] < 3:
        return None
    found: Row | None = as_json(correlate(*pairs))["spearman"]
    return found


def control_rows(candidates: Candidates, winner: Any, sample: Sequence[Any], seen: Sequence[Any]) -> list[Row]:
    """What the winner is held against: the largest inside the budget, a random one, and the uncompressed original.

    The largest is that of the whole space where it was enumerated for a budget, else of all that were seen, as where
    each would have to be timed first.
    """
    s = candidates.s
    members = candidates.within.members if s.max_latency is None else None
    size = "params" if s.max_params is not None and s.max_macs is None else "macs"
    by_size = sorted(seen if members is None else members, key=lambda arch: -getattr(candidates.cost(arch), size))
    largest = next(filter(candidates.admits, by_size))
    scored = [arch for arch, score in zip(sample, candidates.scores(sample), strict=True) if math.isfinite(score)]
    rows = [{"name": "winner", **candidates.row(winner)}]
    name = ("largest" if members is not None else "largest seen") + (" inside the budget" if s.budget else "")
    rows.append({"name": name, **candidates.row(largest)})
    rows += [{"name": "random", **candidates.row(arch)} for arch in scored[:1]]
    original = candidates.space.original()
    if original is not None:
        space, arch = original
        cost = space.cost(arch)
        rows.append({"name": "original", "arch": str(arch), "score": None, "params": cost.params, "macs": cost.macs})
    return rows


def latencies(candidates: Candidates, controls: Sequence[Row]) -> dict[str, float]:
    """Milliseconds for one sample of each control at full size, by name."""
    found = {}
    for row in controls:
        space = candidates.space
        original = space.original()
        if row["name"] == "original" and original is not None:
            space, _ = original
        found[row["name"]] = candidates.latency(space.parse(row["arch"]), space)
    return found
