"""Search architectures with a proxy, without training: evolution under a budget, or a front of score against cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from autogas.benchmarks import correlate
from autogas.errors import InputError
from autogas.evolution import Evolution, RandomSearch, Strategy
from autogas.evolution.pareto import NSGA2
from autogas.proxies.named import get_proxy
from autogas.runs import Run, progress
from autogas.seeding import numpy_generator
from autogas.spaces.translation.base import TranslationSpace
from autogas.workflows.candidates import Candidates, SearchSettings, spaces_of
from autogas.workflows.common import Stopwatch, as_json, open_run, read_settings
from autogas.workflows.scoring import scoring_inputs, space_key

Row: TypeAlias = dict[str, Any]
REDRAWS = 500
ENUMERABLE = 100_000
BEST = 10


def search(
    space: str | None = None,
    proxy: str | None = None,
    *,
    out: str | None = None,
    resume: str | None = None,
    jobs: int = 1,
    **settings: Any,
) -> Run:
    """Search a space with a proxy; see :class:`SearchSettings` for the settings.

    The run folder holds ``results.json`` (equal for equal settings, whatever the number of jobs), and every candidate
    in order in ``candidates.parquet``, and ``costs.json`` with seconds and latencies.

    Args:
        space: its name.
        proxy: name or expression; default the paper's.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        jobs: processes that build and run networks.
        **settings: fields of :class:`SearchSettings`.

    Raises:
        InputError: bad settings, no architecture inside the budget, or none that the proxy can score.
    """
    given = {"space": space, **({} if proxy is None else {"proxy": proxy}), **settings}
    s = read_settings("search", SearchSettings, given, resume)
    check(s)
    run = open_run("search", s, out=out, resume=resume)
    candidates = Candidates(s, run, jobs)
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
    ranked = sorted((row for row in rows if row["reason"] == ""), key=lambda row: -row["score"])
    run.write_table("candidates", pd.DataFrame(rows))
    run.write_costs({"seconds": seconds.laps, **candidates.spent(), "latency_ms": latencies(candidates, controls)})
    run.finish(
        {
            "winner": candidates.row(winner),
            "evaluated": len(rows),
            "failed": len(rows) - len(ranked),
            "best": [{key: row[key] for key in ("arch", "score", "params", "macs")} for row in ranked[:BEST]],
            "front": [candidates.row(arch) for arch in strategy.front()] if isinstance(strategy, NSGA2) else None,
            "sample": about_sample,
            "controls": controls,
        }
    )
    return run


def check(s: SearchSettings) -> None:
    """Say at once what is wrong with the space, the proxy or the images."""
    get_proxy(s.proxy)
    for space in spaces_of(s):
        scoring_inputs(space_key(space), s.source, s.samples, s.seed)


def evolve(candidates: Candidates, s: SearchSettings) -> tuple[Strategy[Any], list[Row]]:
    """Run the loop; returns the strategy and every candidate in order."""
    strategy = strategy_of(candidates, s)
    rows: list[Row] = []
    for iteration in progress(range(s.rounds), s.rounds, "search"):
        batch = strategy.ask()
        if not batch:  # the budget holds no more
            break
        scores = candidates.scores(batch)
        strategy.tell(batch, scores)
        for arch, score in zip(batch, scores, strict=True):
            cost, reason = candidates.cost(arch), candidates.run.record[str(arch)]["reason"]
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
    if not rows:
        raise InputError(f"no architecture of {s.space} inside the budget ({budget(s)}) among {REDRAWS} draws")
    if strategy.best is None:
        raise InputError(f"none of {len(rows)} candidates has a score by {s.proxy!r}: {rows[0]['reason']}")
    return strategy, rows


def strategy_of(candidates: Candidates, s: SearchSettings) -> Strategy[Any]:
    """The paper's Algorithm 1, random search, or NSGA-II where there is more than one objective."""
    rng = numpy_generator("search", s.strategy, s.seed)
    common: dict[str, Any] = {
        "population": s.candidates,
        "rng": rng,
        "admits": candidates.admits,
        "redraws": REDRAWS,
    }
    if s.strategy == "random":
        return RandomSearch(candidates.space, **common)
    if len(s.objectives) > 1:
        wanted = s.objectives[1:]
        return NSGA2(
            candidates.space, costs=lambda arch: [getattr(candidates.cost(arch), name) for name in wanted], **common
        )
    return Evolution(candidates.space, sampling_ratio=s.sampling_ratio, top_k=s.top_k, **common)


def budget(s: SearchSettings) -> str:
    """The limits in words."""
    limits = {"parameters": s.max_params, "MACs": s.max_macs, "ms": s.max_latency}
    return ", ".join(f"at most {value:g} {name}" for name, value in limits.items() if value is not None) or "no limit"


def draw(candidates: Candidates, s: SearchSettings) -> list[Any]:
    """Random architectures inside the budget, in the order in which the space draws them."""
    rng = numpy_generator("search sample", s.seed)
    drawn: dict[Any, None] = {}
    for _ in range(s.sample * REDRAWS):
        if len(drawn) == s.sample:
            break
        arch = candidates.space.sample(rng)
        if candidates.admits(arch):
            drawn[arch] = None
    return list(drawn)


def compare(candidates: Candidates, sample: Sequence[Any], s: SearchSettings) -> Row:
    """Scores of the sample, how much of them is only size, and whether scoring at another size keeps the order."""
    scores = np.array(candidates.scores(sample))
    costs = [candidates.cost(arch) for arch in sample]
    finite = scores[np.isfinite(scores)]
    checked = list(sample[: s.agreement]) if candidates.smaller else []
    full = np.array(candidates.scores(checked, full_size=True))
    return {
        "count": len(sample),
        "best": float(finite.max()) if len(finite) else None,
        "median": float(np.median(finite)) if len(finite) else None,
        "spearman": {name: spearman([getattr(c, name) for c in costs], scores) for name in ("params", "macs")},
        "agreement": {"count": len(checked), "spearman": spearman(full, scores[: len(checked)])} if checked else None,
    }


def spearman(first: Any, second: Any) -> Row | None:
    """Spearman's correlation with its 95 % interval; None for fewer than three pairs."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if len(first) < 3 or not np.isfinite(first).any():
        return None
    found: Row | None = as_json(correlate(first, second))["spearman"]
    return found


def control_rows(candidates: Candidates, winner: Any, sample: Sequence[Any], seen: Sequence[Any]) -> list[Row]:
    """What the winner is held against: the largest inside the budget, a random one, and the uncompressed original."""
    rows = [{"name": "winner", **candidates.row(winner)}]
    if candidates.s.max_params is not None or candidates.s.max_macs is not None:
        largest = max(inside(candidates, seen), key=lambda arch: candidates.cost(arch).macs)
        rows.append({"name": "largest inside the budget", **candidates.row(largest)})
    if sample:
        rows.append({"name": "random", **candidates.row(sample[0])})
    if isinstance(candidates.space, TranslationSpace):
        space, arch = candidates.space.original()
        cost = space.cost(arch)
        rows.append({"name": "original", "arch": str(arch), "score": None, "params": cost.params, "macs": cost.macs})
    return rows


def inside(candidates: Candidates, seen: Sequence[Any]) -> Iterator[Any]:
    """Every architecture inside the budget where they can all be looked at, else those that were."""
    every = candidates.space.enumerate() if len(candidates.space) <= ENUMERABLE else seen
    return filter(candidates.admits, every)


def latencies(candidates: Candidates, controls: Sequence[Row]) -> dict[str, float]:
    """Milliseconds for one sample of each control at full size, by name."""
    found = {}
    for row in controls:
        space = candidates.space
        if row["name"] == "original":
            assert isinstance(space, TranslationSpace)
            space, _ = space.original()
        found[row["name"]] = candidates.latency(space.parse(row["arch"]), space)
    return found
