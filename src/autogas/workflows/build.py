"""Build a benchmark: sample architectures, really train each, measure it on held-out images."""

from __future__ import annotations

import functools
import json
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from autogas.benchmarks import save_benchmark
from autogas.errors import InputError
from autogas.runs import Failure, Run, parallel_map
from autogas.seeding import numpy_generator
from autogas.spaces import get_space
from autogas.workflows.common import open_run, read_settings, versions
from autogas.workflows.trainings import BuildSettings, training_of

DEFAULT_SPACE = "transnas"


@functools.lru_cache(maxsize=1)
def shared_images(settings_json: str) -> Any:
    """What all trainings of a build share, loaded once in each process."""
    settings = read_build_settings(json.loads(settings_json))
    return training_of(settings.space).load(settings)


def train_one(item: tuple[str, int], settings_json: str) -> dict[str, Any]:
    """Train one architecture with one seed; the unit of work that the record keeps."""
    settings = read_build_settings(json.loads(settings_json))
    return training_of(settings.space).fit(settings, shared_images(settings_json), *item).model_dump()


def read_build_settings(given: Mapping[str, Any]) -> BuildSettings:
    """Settings of the class that fits the space, which is ``transnas`` unless said."""
    return training_of(given.get("space", DEFAULT_SPACE)).settings.model_validate(given)


def build(*, out: str | None = None, resume: str | None = None, jobs: int = 1, **given: Any) -> Run:
    """Train every sampled architecture that the run has not trained yet.

    The settings are those of the space's :class:`~autogas.workflows.trainings.Training`. The run folder holds
    ``trained.parquet``, one row for each architecture and seed: ``arch``, ``seed``, then the fields of
    :class:`~autogas.training.autoencoder.AutoencoderResult` or :class:`~autogas.workflows.trainings.GANResult`.
    """
    kind = training_of((given if resume is None else Run.open(resume, "build").settings).get("space", DEFAULT_SPACE))
    settings = read_settings("build", kind.settings, given, resume)
    metric = kind.metric
    work = prepare(settings)
    with open_run("build", settings, out=out, resume=resume) as run:
        settings_json = settings.model_dump_json()
        todo = [item for item in work if metric not in run.record.get(_key(item), {})]

        start = time.perf_counter()
        task = functools.partial(train_one, settings_json=settings_json)
        for item, result in parallel_map(task, todo, jobs=jobs, description="training"):
            value = {"error": result.reason} if isinstance(result, Failure) else result
            run.record.put([(_key(item), value)])

        rows, failed = [], {}
        for item in work:
            value = run.record[_key(item)]
            if "error" in value:
                failed[_key(item)] = value["error"]
            else:
                rows.append({"arch": item[0], "seed": item[1], **value})
        if not rows:
            raise InputError(f"no training succeeded; the first failed with: {next(iter(failed.values()))}")
        table = pd.DataFrame(rows)
        run.write_table("trained", table)
        run.write_costs(
            {"seconds_this_time": time.perf_counter() - start, "train_seconds": table["train_seconds"].sum()}
        )
        run.finish({"trained": len(rows), "failed": failed, "provenance": provenance(settings)})
    return run


def prepare(settings: BuildSettings) -> list[tuple[str, int]]:
    """Architecture and seed of every training, first seeds first; a bad source or space is said at once."""
    space = get_space(settings.space, **settings.space_settings)
    within = get_space(settings.repeat_space) if settings.repeat_space else None
    shared_images(settings.model_dump_json())
    archs = [str(arch) for arch in space.sample_distinct(settings.count, numpy_generator("build", settings.seed))]
    again = [arch for i, arch in enumerate(archs) if i < settings.repeats or (within and within.holds(arch))]
    return [(arch, 0) for arch in archs] + [(arch, seed) for seed in range(1, settings.seeds) for arch in again]


def store_built(run: Run, *, name: str | None = None, folder: Path | None = None) -> Path:
    """Store the table of a finished run as a benchmark, by default under the run folder's name."""
    settings = read_build_settings(run.settings)
    training = training_of(settings.space)
    trained = run.read_table("trained")
    return save_benchmark(
        name or run.path.resolve().name,
        trained,
        space=settings.space,
        space_settings=settings.space_settings,
        metric=training.metric,
        higher_is_better=training.higher_is_better,
        provenance={**run.results["provenance"], "train_seconds": round(float(trained["train_seconds"].sum()))},
        folder=folder,
    )


def _key(item: tuple[str, int]) -> str:
    return f"{item[0]}/seed{item[1]}"


def provenance(settings: BuildSettings) -> dict[str, Any]:
    """How a benchmark came to be: settings, versions, hardware, commit."""
    here = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    shown = settings.model_dump(mode="json")
    for source in {"images", "held_out"} & shown.keys():
        shown[source] = shown[source] and Path(shown[source]).name
    return {
        "settings": shown,
        "versions": versions(("torch", "torchvision", "torchmetrics", "numpy")) | {"python": platform.python_version()},
        "machine": f"{platform.machine()}, one thread a training, torch {torch.backends.cpu.get_cpu_capability()}",
        "commit": commit.stdout.strip() or None,
    }
