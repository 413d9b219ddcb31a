"""Rank proxies: score architectures of a benchmark with many proxies at once and correlate with measured quality."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from autogas.benchmarks import Benchmark
from autogas.benchmarks.store import with_space_settings
from autogas.errors import InputError
from autogas.files import or_nan
from autogas.proxies.language.expression import Expression
from autogas.proxies.named import DEFAULT_PROXY, PAPERS_PROXY, TRIVIAL, get_proxy
from autogas.proxies.statistics.bank import code_of
from autogas.runs import Failure, Run, parallel_map
from autogas.settings import Device, ScoredBatch, Settings, SpaceSettings, on_command_line, takes
from autogas.workflows.judging.beyond import beyond_size
from autogas.workflows.judging.correlations import (
    about_benchmark,
    benchmark_at_hand,
    check_metric,
    correlation_table,
    default_test,
    enough,
    name_of,
    trivial_of,
)
from autogas.workflows.keywords import RankKeywords
from autogas.workflows.opening import DEFAULT_BENCHMARK, open_run, read_settings
from autogas.workflows.scoring import Scoring, functions_of, score_record, scoring_inputs, space_key, unscored
from autogas.workflows.seconds import Stopwatch, seconds_spent


class RankSettings(Settings):
    """What determines a ranking."""

    benchmark: str = Field(
        DEFAULT_BENCHMARK,
        description="where measured quality comes from",
        json_schema_extra=on_command_line(always=True),
    )
    proxies: list[str] = Field(
        default_factory=lambda: [DEFAULT_PROXY, PAPERS_PROXY, *TRIVIAL],
        min_length=1,
        description="scorers",
        json_schema_extra=on_command_line(argument=True),
    )
    space_settings: SpaceSettings = Field(default_factory=dict)
    test: int | None = Field(None, ge=3, description="test architectures; None: 200, or all if fewer")
    everything: bool = Field(
        False, description="all architectures of the benchmark instead", json_schema_extra=on_command_line(flag="--all")
    )
    batch_size: ScoredBatch = Field(16, description="samples that networks are scored on")
    images: str | None = Field(None, description="score on images of this source; None: on noise")
    seed: int = Field(0, ge=0, description="of weights, noise and split")
    device: Device = "cpu"


@takes(RankSettings)
def rank(
    benchmark: str | Benchmark = DEFAULT_BENCHMARK,
    proxies: str | Expression | Sequence[str | Expression] | None = None,
    *,
    out: str | None = None,
    resume: str | None = None,
    jobs: int | None = None,
    **settings: Unpack[RankKeywords],
) -> Run:
    """Score and correlate; see ``RankSettings`` for the settings.

    Each architecture is built and run once for all proxies, its scores are recorded as it finishes, and one that fails
    is recorded with the reason and ranks last. The run folder holds ``results.json``, ``scores.parquet`` and
    ``costs.json``.

    Args:
        benchmark: a name or a benchmark.
        proxies: names or expressions, or one of them; default ours, the paper's and the trivial scorers of the space.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        jobs: processes; None: as ``AUTOGAS_JOBS`` says in the environment, or one a core.
        **settings: fields of ``RankSettings``.
    """
    several = [proxies] if isinstance(proxies, str | Expression) else proxies
    if isinstance(several, Sequence):
        texts = (str(proxy).strip() if isinstance(proxy, str | Expression) else proxy for proxy in several)
        several = list(dict.fromkeys(texts))
    if several is None and resume is None:
        judged = benchmark_at_hand(benchmark, name_of(benchmark)).space
        several = [DEFAULT_PROXY, PAPERS_PROXY, *trivial_of(judged)]
    asked = {} if several is None else {"proxies": several}
    s = read_settings("rank", RankSettings, {"benchmark": name_of(benchmark), **asked, **settings}, resume)
    about = {text: str(proxy) for text in s.proxies if isinstance(proxy := get_proxy(text), Expression)}
    bench = benchmark_at_hand(benchmark, s.benchmark)
    bench = with_space_settings(bench, s.space_settings)
    chosen = chosen_architectures(bench, s)
    space = space_key(bench.space)
    code = code_of(bench.space)
    scoring = Scoring(
        proxies=s.proxies, batch_size=s.batch_size, images=s.images, seed=s.seed, device=s.device, code=code
    )
    scoring_inputs(space, s.images, s.batch_size, s.seed)  # a bad source is said at once
    enough(bench, len(chosen))
    check_metric(bench, s.proxies)
    digests = {"benchmark": bench.digest}
    with open_run("rank", s, out=out, resume=resume, inputs=digests, code=functions_of(s.proxies)) as run:
        archs = [str(bench.archs[i]) for i in chosen]

        seconds = Stopwatch()
        todo = [arch for arch in archs if arch not in run.record]
        task = functools.partial(score_record, space=space, scoring_json=scoring.model_dump_json())
        with seconds("scoring"):
            for arch, result in parallel_map(task, todo, jobs=jobs, description="scoring"):
                value = unscored(result.reason) if isinstance(result, Failure) else result
                run.record.put([(arch, value)])

        records = [run.record[arch] for arch in archs]
        scores = {text: np.array([or_nan(record["scores"].get(text)) for record in records]) for text in s.proxies}
        reasons = {arch: record["reason"] for arch, record in zip(archs, records, strict=True) if record["reason"]}
        run.write_table("scores", pd.DataFrame({"arch": archs, bench.metric: bench.quality[chosen], **scores}))
        run.write_costs(
            {
                "seconds": seconds.laps,
                "networks": seconds_spent([record["seconds"] for record in records]),
                "scorers": _costs(s.proxies, records),
            }
        )
        run.finish(
            {
                "benchmark": about_benchmark(bench),
                "noise_ceiling": bench.noise_ceiling(),
                "unscored": reasons,
                "failures": {arch: r["failures"] for arch, r in zip(archs, records, strict=True) if r["failures"]},
                "test": correlation_table(bench, chosen, scores, about),
                "beyond_size": beyond_size(bench, chosen, scores),
            }
        )
    return run


def chosen_architectures(bench: Benchmark, s: RankSettings) -> NDArray[np.intp]:
    """Positions in the benchmark that are scored."""
    if s.everything:
        if s.test is not None:
            raise InputError(f"--test {s.test} and --all: expected one of them")
        return np.arange(len(bench))
    return bench.split(validation=None, test=default_test(bench, s.test), seed=s.seed).test


def _costs(proxies: Sequence[str], records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Mean seconds an architecture for each scorer alone, with all passes it needs, and their ratio to a forward pass.

    Building the network is not in it. Each expression has the pass that serves all expressions of the run. That pass is
    the unit: a bare one, or where there is no expression, one that keeps a graph for gradients; null where neither ran.
    Means are over the architectures that have a score.
    """
    forward = _mean([r["seconds"]["forward"] for r in records if "forward" in r["seconds"]])
    means = {name: _mean([r["costs"][name] for r in records if name in r["costs"]]) for name in proxies}
    return {
        name: {"seconds": mean, "forwards": mean / forward if mean is not None and forward else None}
        for name, mean in means.items()
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
