"""Reproduce the paper's correlation tables: ours beside the printed ones, with intervals, macro and micro."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import pandas as pd

from autogas.benchmarks import Benchmark, list_benchmarks, load_benchmark
from autogas.benchmarks.published import BEYOND_TABLE_2, FIGURE_1, TABLE_2, TABLE_6, PaperRow
from autogas.runs import Run
from autogas.settings import takes
from autogas.workflows.judging.correlations import correlation_table, default_test
from autogas.workflows.keywords import ReproduceKeywords
from autogas.workflows.opening import open_run, read_settings
from autogas.workflows.seconds import Stopwatch
from autogas.workflows.tables.ablation import table5
from autogas.workflows.tables.hyperparameters import table7
from autogas.workflows.tables.rows import ReproduceSettings, beside, inner_rank, table

OFFICIAL = ("transnas-macro", "transnas-micro")
EMBEDDED = ("mini-autoencoder/macro", "mini-autoencoder/micro")


@takes(ReproduceSettings)
def reproduce(
    name: str | None = None,
    *,
    benchmarks: Sequence[str] | None = None,
    out: str | None = None,
    resume: str | None = None,
    jobs: int | None = None,
    **settings: Unpack[ReproduceKeywords],
) -> Run:
    """Regenerate a table; see ``ReproduceSettings`` for the settings.

    ``results.json`` holds ``tables`` (rows of method, proxy, ours and the paper's) and ``claims``; the runs that the
    tables rest on are folders inside.

    Args:
        name: table2, figure1, table5, table6 or table7.
        benchmarks: their names; default TransNAS-Bench-101 where it is imported, else the embedded benchmark.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        jobs: processes; None: as ``AUTOGAS_JOBS`` says in the environment, or one a core.
        **settings: fields of ``ReproduceSettings``.
    """
    chosen = benchmarks or (default_benchmarks() if resume is None else ())
    given = {"name": name, "benchmarks": list(chosen) or None, **settings}
    s = read_settings("reproduce", ReproduceSettings, given, resume)
    found = [load_benchmark(benchmark) for benchmark in s.benchmarks]
    with open_run("reproduce", s, out=out, resume=resume, inputs={b.name: b.digest for b in found}) as run:
        seconds = Stopwatch()
        tables: list[dict[str, Any]] = []
        claims: list[dict[str, Any]] = []
        costs: dict[str, Any] = {}
        scores: list[pd.DataFrame] = []
        for bench in found:
            with seconds(bench.name):
                if s.name == "table5":
                    more, held = table5(bench, run, s, jobs=jobs)
                    claims += held
                elif s.name == "table7":
                    one, held = table7(bench, run, s, jobs=jobs)
                    more, claims = [one], claims + held
                else:
                    more, inner = ranked_tables(bench, run, s, jobs=jobs)
                    costs[bench.name] = inner.costs["scorers"]
                    scored = inner.read_table("scores").rename(columns={bench.metric: "quality"})
                    scores.append(scored.assign(benchmark=bench.name))
            tables += more
        run.write_table("scores", pd.concat(scores, ignore_index=True) if scores else pd.DataFrame())
        run.write_costs({"seconds": seconds.laps, "scorers": costs})
        run.finish({"tables": tables, "claims": claims})
    return run


def default_benchmarks() -> tuple[str, ...]:
    """The official benchmark's two spaces where they are imported, else the embedded benchmark's."""
    return OFFICIAL if set(OFFICIAL) <= set(list_benchmarks()) else EMBEDDED


def ranked_tables(
    bench: Benchmark, run: Run, s: ReproduceSettings, *, jobs: int | None
) -> tuple[list[dict[str, Any]], Run]:
    """One table for each sample (the test architectures; all), and the ranking behind them."""
    rows = {"table2": TABLE_2, "figure1": FIGURE_1, "table6": TABLE_6}[s.name]
    beyond = BEYOND_TABLE_2 if s.name == "table2" else ()
    everything = s.everything and s.name == "table2"
    proxies = [*(row.proxy for row in rows), *beyond]
    inner = inner_rank(bench, run, proxies, s, everything=everything, jobs=jobs)
    scored = inner.read_table("scores").set_index("arch")
    test = bench.split(validation=None, test=default_test(bench, None), seed=s.seed).test
    samples = {"test architectures": test} | ({"all architectures": np.arange(len(bench))} if everything else {})
    tables = []
    for title, chosen in samples.items():
        names = [str(bench.archs[i]) for i in chosen]
        scores = {name: scored.loc[names, name].to_numpy(dtype=float) for name in proxies}
        ours = {row["name"]: row for row in correlation_table(bench, chosen, scores, {})}
        tables.append(
            table(
                f"{s.name}, {bench.name}: {len(chosen)} {title}",
                bench,
                [beside(row, ours[row.proxy]) for row in rows]
                + [beside(PaperRow(name, name), ours[name]) for name in beyond],
            )
        )
    return tables, inner
