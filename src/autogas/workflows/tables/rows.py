"""What every reproduced table has: settings, and rows of ours beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import stats

from autogas.benchmarks import Benchmark
from autogas.benchmarks.published import MEASURES, PaperRow
from autogas.runs import Run
from autogas.settings import MOST, Device, ScoredBatch, Settings, must_be_usual, on_command_line
from autogas.workflows.judging.correlations import about_benchmark
from autogas.workflows.rank import rank

SIGNIFICANT = 0.05


OF_SEARCHES = ("repeats", "population", "iterations", "validation")
UNUSED = {
    "table2": OF_SEARCHES,
    "figure1": (*OF_SEARCHES, "everything"),
    "table5": ("images", "everything"),
    "table6": (*OF_SEARCHES, "everything"),
    "table7": ("batch_size", "population", "iterations", "validation", "everything"),
}
"""Settings that say nothing to a table."""


class ReproduceSettings(Settings):
    """What determines a reproduction."""

    name: Literal["table2", "figure1", "table5", "table6", "table7"] = Field(
        description="which table or figure", json_schema_extra=on_command_line(argument=True)
    )
    benchmarks: list[str] = Field(
        min_length=1,
        description="where measured quality comes from; None: TransNAS-Bench-101, or the embedded benchmark",
        json_schema_extra=on_command_line(flag="--benchmark", always=True),
    )
    everything: bool = Field(
        True,
        description="table2: on all architectures too, not only on the test ones",
        json_schema_extra=on_command_line(flag="--all"),
    )
    batch_size: ScoredBatch = Field(16, description="samples that networks are scored on")
    images: str | None = Field(None, description="score on images of this source; None: on noise")
    repeats: int = Field(10, ge=2, description="table5, table7: seeds of every search")
    population: int = Field(20, ge=1, le=MOST, description="table5: candidates an iteration")
    iterations: int = Field(100, ge=1, le=MOST, description="table5: rounds of ask and tell")
    validation: int = Field(50, ge=3, description="table5: architectures that candidates are judged on")
    seed: int = Field(0, ge=0, description="of weights, noise, split and search")
    device: Device = "cpu"

    @model_validator(mode="after")
    def _used(self) -> ReproduceSettings:
        must_be_usual(self, UNUSED[self.name], f"with {self.name}")
        return self


def table(title: str, bench: Benchmark, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A table of one benchmark."""
    return {
        "title": title,
        "benchmark": about_benchmark(bench),
        "noise_ceiling": bench.noise_ceiling(),
        "rows": rows,
    }


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean over seeds, and its 95 % t-interval."""
    mean, count = float(values.mean()), len(values)
    half = float(stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def printed(values: Sequence[float]) -> dict[str, float | None]:
    """The paper's numbers by name; None for what it does not print."""
    return {name: values[i] if i < len(values) else None for i, name in enumerate(MEASURES)}


def beside(paper: PaperRow, ours: dict[str, Any]) -> dict[str, Any]:
    """Our estimates beside the printed numbers."""
    return {
        "method": paper.method,
        "proxy": paper.proxy,
        "ours": {
            "kendall": ours["kendall_b"],
            "kendall_a": ours["kendall_a"],
            "spearman": ours["spearman"],
            "pearson": ours["pearson"],
            "within": ours["within"],
        },
        "failed": ours["failed"],
        "paper": printed(paper.values),
        "note": paper.note,
    }


def inner_rank(
    bench: Benchmark,
    run: Run,
    proxies: Sequence[str],
    s: ReproduceSettings,
    *,
    everything: bool,
    jobs: int | None,
    batch_size: int | None = None,
) -> Run:
    """The ranking that a table rests on, in a folder of the run; continued when it is there."""
    batch = "" if batch_size is None else f"-batch-{batch_size}"
    folder = run.path / f"rank-{bench.name.replace('/', '-')}{batch}"
    there = (folder / "settings.json").exists()
    return rank(
        bench,
        proxies,
        out=None if there else str(folder),
        resume=str(folder) if there else None,
        jobs=jobs,
        everything=everything,
        batch_size=batch_size or s.batch_size,
        images=s.images,
        seed=s.seed,
        device=s.device,
    )
