"""What a report shows, as read from the run folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autogas.benchmarks.published import FIGURE_1
from autogas.errors import InputError
from autogas.proxies.named import TRIVIAL
from autogas.runs import Run

Values = NDArray[np.float64]
ARCH = "arch"
# Workflow: what its results must hold, and its tables with the columns that must be there.
NEEDED: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "discover": (
        ("benchmark", "winner", "test", "validation_tau"),
        {"candidates": ("strategy", "proxy", "fitness", "reason"), "scores": (ARCH,)},
    ),
    "discover-across": (("benchmarks", "winner", "test", "fall", "reachable", "validation_tau_a"), {"candidates": ()}),
    "rank": (("benchmark", "test"), {"scores": (ARCH,)}),
    "reproduce": (("tables", "claims"), {"scores": ()}),
    "search": (("winner", "controls", "sample"), {"candidates": (ARCH, "iteration", "score", "macs", "reason")}),
    "build": (("trained", "failed", "quality"), {"trained": (ARCH, "seed")}),
}


@dataclass(frozen=True)
class RunData:
    """The files of one finished run.

    Attributes:
        workflow: which workflow made it.
        settings: what determined it.
        results: its ``results.json``.
        fields: what each setting means.
        costs: its ``costs.json``, empty when there is none.
        tables: its Parquet tables by name.
    """

    workflow: str
    settings: Mapping[str, Any]
    results: Mapping[str, Any]
    fields: Mapping[str, Mapping[str, Any]]
    costs: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Panel:
    """One scorer against measured quality.

    Attributes:
        name: of the scorer.
        row: its row of the correlation table.
        archs: names of the architectures, ``[n]``.
        quality: measured, as recorded, ``[n]``.
        scores: NaN where the scorer failed, ``[n]``.
    """

    name: str
    row: Mapping[str, Any]
    archs: tuple[str, ...]
    quality: Values
    scores: Values

    @property
    def trivial(self) -> bool:
        """Whether the scorer never runs a network."""
        return self.name in TRIVIAL


@dataclass(frozen=True)
class Trace:
    """Best fitness so far of one strategy, at the candidates that improved it.

    Attributes:
        strategy: its name.
        evaluated: how many candidates it judged.
        at: number of the candidate (1 is the first) of each improvement.
        best: fitness reached there.
        proxies: the expressions that reached it.
    """

    strategy: str
    evaluated: int
    at: list[int] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    proxies: list[str] = field(default_factory=list)


def read(run: Run) -> RunData:
    """Read a run folder; raises ``InputError`` when it is unfinished, unknown or lacks a file."""
    if run.workflow not in NEEDED:
        raise InputError(f"{str(run.path)!r} is a run of {run.workflow}: expected runs of {', '.join(NEEDED)}")
    keys, tables = NEEDED[run.workflow]
    results = run.results
    missing = [key for key in keys if key not in results]
    if missing:
        raise InputError(f"{str(run.path)!r} has a results.json without {', '.join(missing)}")
    if run.workflow == "build":
        tables = {"trained": (*tables["trained"], results["quality"]["metric"])}
    if run.workflow == "discover-across":
        tables = {**tables, **{f"scores-{name}": (ARCH,) for name in results["benchmarks"]}}
    read_tables = {name: _table(run, name, columns) for name, columns in tables.items()}
    return RunData(run.workflow, run.settings, results, run.fields, run.costs, read_tables)


def _table(run: Run, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = run.read_table(name)
    except (OSError, ValueError) as error:
        raise InputError(f"{str(run.path)!r} has no readable {name}.parquet: {error}") from None
    missing = [column for column in columns if column not in table]
    if missing and not table.empty:
        raise InputError(f"{str(run.path)!r} has a {name}.parquet without {', '.join(missing)}")
    if run.workflow == "build" and table.empty:
        raise InputError(f"{str(run.path)!r} has no training that ended well: there is nothing to draw")
    return table


def panels(data: RunData) -> list[Panel]:
    """Every scorer of the correlation table with its scores, in the table's order."""
    return _panels(data.tables["scores"], data.results["benchmark"], data.results["test"])


def panels_across(data: RunData) -> dict[str, list[Panel]]:
    """The scorers of a discovery on several benchmarks, by benchmark."""
    return {
        name: _panels(data.tables[f"scores-{name}"], benchmark, data.results["test"][name])
        for name, benchmark in data.results["benchmarks"].items()
    }


def _panels(scores: pd.DataFrame, benchmark: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Panel]:
    archs = tuple(map(str, scores[ARCH]))
    quality = scores[benchmark["metric"]].to_numpy(dtype=np.float64)
    return [
        Panel(row["name"], row, archs, quality, scores[row["name"]].to_numpy(dtype=np.float64))
        for row in rows
        if row["name"] in scores
    ]


def metric_of(data: RunData) -> str:
    """The name of the metric that is quality in a build."""
    return str(data.results["quality"]["metric"])


def reproduced_panels(data: RunData) -> dict[str, list[Panel]]:
    """The scorers of the paper's Figure 1, as far as they were reproduced, by benchmark."""
    scores = data.tables["scores"]
    if scores.empty:
        return {}
    rows = {(t["benchmark"]["name"], r["proxy"]): r for t in data.results["tables"] for r in t["rows"]}
    out: dict[str, list[Panel]] = {}
    for benchmark, part in scores.groupby("benchmark", sort=False):
        archs, quality = tuple(map(str, part[ARCH])), part["quality"].to_numpy(dtype=np.float64)
        out[str(benchmark)] = [
            Panel(
                name,
                {
                    "kendall_b": rows[str(benchmark), name]["ours"]["kendall"],
                    "kendall_a": rows[str(benchmark), name]["ours"]["kendall_a"],
                },
                archs,
                quality,
                part[name].to_numpy(dtype=np.float64),
            )
            for name in (row.proxy for row in FIGURE_1)
            if name in part and (str(benchmark), name) in rows
        ]
    return out


def first_quality(data: RunData) -> Values:
    """Quality that every architecture of a build reached with the first seed."""
    trained = data.tables["trained"]
    first = trained[trained["seed"] == trained["seed"].min()]
    quality: Values = first[metric_of(data)].to_numpy(dtype=np.float64)
    return quality


def bins_for(quality: Values) -> int:
    """How many bars show a distribution."""
    return min(40, max(5, len(quality) // 8))


def repeats(data: RunData) -> list[Panel]:
    """One panel for each further training seed of a build: its quality against that of the first seed."""
    metric = metric_of(data)
    wide = data.tables["trained"].pivot(index=ARCH, columns="seed", values=metric).sort_index()
    first, *others = wide.columns
    out = []
    for seed in others:
        both = wide[[first, seed]].dropna()
        quality, again = (both[column].to_numpy(dtype=np.float64) for column in (first, seed))
        out.append(Panel(f"{metric}, seed {seed}", {}, tuple(map(str, both.index)), quality, again))
    return out


def traces(data: RunData) -> list[Trace]:
    """Best-so-far curve of every strategy that ran, evolution first."""
    candidates = data.tables["candidates"]
    if candidates.empty:
        return []
    return [_trace(str(name), rows) for name, rows in candidates.groupby("strategy", sort=True)]


def _trace(strategy: str, rows: pd.DataFrame) -> Trace:
    trace = Trace(strategy, len(rows))
    for number, (proxy, fitness) in enumerate(zip(rows["proxy"], rows["fitness"].astype(float), strict=True), start=1):
        if np.isfinite(fitness) and (not trace.best or fitness > trace.best[-1]):
            trace.at.append(number)
            trace.best.append(float(fitness))
            trace.proxies.append(str(proxy))
    return trace


def failure_reasons(candidates: pd.DataFrame) -> list[dict[str, Any]]:
    """Failed candidates counted by reason, most frequent first, each with one example.

    A recorded reason ends in the expression and may name the first network; both are left out of the count.
    """
    counted: dict[str, dict[str, Any]] = {}
    if candidates.empty:
        return []
    for proxy, reason in zip(candidates["proxy"], candidates["reason"], strict=True):
        if reason:
            short = re.sub(r", first on number \d+$", "", str(reason).split(": ", 1)[0])
            entry = counted.setdefault(short, {"reason": short, "count": 0, "example": str(proxy)})
            entry["count"] += 1
    return sorted(counted.values(), key=lambda entry: (-entry["count"], entry["reason"]))


@dataclass(frozen=True)
class Searched:
    """Candidates of a search that have a score, in order.

    Attributes:
        archs: their names.
        scores: ``[n]``.
        macs: ``[n]``.
        best: the best score after each candidate, ``[n]``.
    """

    archs: tuple[str, ...]
    scores: Values
    macs: Values
    best: Values


def searched(data: RunData) -> Searched:
    """Scored candidates of a search."""
    table = data.tables["candidates"]
    table = table[table["reason"] == ""]
    scores = table["score"].to_numpy(dtype=np.float64)
    macs = table["macs"].to_numpy(dtype=np.float64)
    return Searched(tuple(map(str, table[ARCH])), scores, macs, np.maximum.accumulate(scores))
