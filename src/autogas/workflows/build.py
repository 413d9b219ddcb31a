"""Build a benchmark: sample architectures, really train each, measure it on held-out images."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Unpack, cast

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, Field

from autogas.benchmarks import save_benchmark
from autogas.errors import InputError
from autogas.files import read_table
from autogas.paths import store_folder
from autogas.runs import Failure, Run, parallel_map
from autogas.seeding import numpy_generator
from autogas.settings import takes
from autogas.spaces import SPACES, Arch, Space, by_name, get_space
from autogas.training.kinds import BUILT, Training, TrainingSettings, all_settings, read_training, training_of
from autogas.training.machine import Precision
from autogas.versions import versions
from autogas.workflows.keywords import BuildKeywords
from autogas.workflows.opening import PATHS, from_anywhere, open_run, resumed_settings


class BuildSettings(BaseModel):
    """Which architectures are trained for a benchmark, beside what their kind of training asks for."""

    count: int = Field(300, ge=1, description="architectures, sampled uniformly")
    repeats: int = Field(30, ge=0, description="how many of them are trained with several seeds, for the noise ceiling")
    repeat_space: str | None = Field(None, description="a space within: its architectures are all repeated")
    macs_band: list[Annotated[float, Field(gt=0)]] = Field(
        default_factory=list, description="draw equally many architectures within 5 % of each of these MACs instead"
    )
    seeds: int = Field(3, ge=2, description="seeds that repeated architectures are trained with")
    measurements: int = Field(
        1, ge=1, description="how often each is measured, evenly over its training, last at the end"
    )
    precision: Precision = Field("32-true", description="32-true or bf16-mixed")


def shared_training(settings_json: str) -> Training[Any, Any]:
    """The training of all architectures, its images loaded once in each process."""
    return _prepared(settings_json, SPACES.get(json.loads(settings_json)["space"]))


@functools.lru_cache(maxsize=1)
def _prepared(settings_json: str, _space: object) -> Training[Any, Any]:
    """Of a space that is another once its name is registered anew."""
    training = read(json.loads(settings_json))
    training.prepare()
    return training


def train_one(item: tuple[str, int], settings_json: str) -> dict[str, Any]:
    """Train one architecture with one seed; the unit of work that the record keeps."""
    training = shared_training(settings_json)
    s = which(training)
    return training.row(*item, precision=s.precision, measurements=s.measurements)


def read(given: Mapping[str, Any]) -> Training[Any, Any]:
    """The training that the space asks for, which is ``transnas`` unless said."""
    whole = {"space": BUILT, **given}
    return read_training({**training_of(by_name(whole["space"])[0]).short, **whole}, BuildSettings)


def which(training: Training[Any, Any]) -> BuildSettings:
    """Its settings, as those of this workflow."""
    return cast("BuildSettings", training.settings)


@takes(BuildSettings, *all_settings())
def build(
    *,
    space: str | Space[Arch] | None = None,
    out: str | None = None,
    resume: str | None = None,
    jobs: int | None = None,
    **settings: Unpack[BuildKeywords],
) -> Run:
    """Train every sampled architecture that the run has not trained yet.

    The run folder holds ``trained.parquet``, one row for each architecture and seed: ``arch``, ``seed``, then what
    ``Training.row`` returns.

    Args:
        space: whose architectures are trained, or its name; None: ``transnas``.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        jobs: processes; None: as ``AUTOGAS_JOBS`` says in the environment, or one a core.
        **settings: fields of ``BuildSettings``, and those of the space's kind of training, see
            ``autogas.training.kinds``; ``seed`` is that of the sample of architectures.

    Raises:
        InputError: bad settings or images, or no training that succeeded.
    """
    given: dict[str, Any] = {**settings} if space is None else {"space": space, **settings}
    if resume is not None:
        given = resumed_settings("build", from_anywhere(given), resume, lambda settings: read(settings).settings)
    s = read(from_anywhere(given)).settings
    settings_json = s.model_dump_json()
    training = shared_training(settings_json)
    metric = training.quality.metric
    work = prepare(training) if resume is None else read_work(resume) or prepare(training)
    source = provenance(s)
    with open_run("build", s, out=out, resume=resume, code=training.space.makers) as run:
        run.write_table(WORK, pd.DataFrame(work, columns=["arch", "seed"]))
        todo = [item for item in work if run.record.get(_key(item), {}).get(metric) is None]

        start = time.perf_counter()
        task = functools.partial(train_one, settings_json=settings_json)
        for item, result in parallel_map(task, todo, jobs=jobs, description="training"):
            value = {"error": result.reason} if isinstance(result, Failure) else result
            run.record.put([(_key(item), value)])

        rows, failed = [], {}
        for item in work:
            value = run.record[_key(item)]
            if value.get(metric) is None:
                failed[_key(item)] = value.get("error", f"{metric} is not finite")
            else:
                rows.append({"arch": item[0], "seed": item[1], **value})
        if not rows:
            raise InputError(f"no training succeeded; the first failed with: {next(iter(failed.values()))}")
        table = pd.DataFrame(rows)
        run.write_table("trained", table)
        run.write_costs(
            {"seconds_this_time": time.perf_counter() - start, "train_seconds": table["train_seconds"].sum()}
        )
        run.finish(
            {
                "quality": asdict(training.quality),
                "trained": len(rows),
                "failed": failed,
                "provenance": source,
            }
        )
    return run


def prepare(training: Training[Any, Any]) -> list[tuple[str, int]]:
    """Architecture and seed of every training, first seeds first."""
    s, space = which(training), training.space
    within = get_space(s.repeat_space) if s.repeat_space else None
    rng = numpy_generator("build", training.settings.seed)
    drawn = in_bands(space, s.count, s.macs_band, rng) if s.macs_band else space.sample_distinct(s.count, rng)
    archs = [str(arch) for arch in drawn]
    again = [arch for i, arch in enumerate(archs) if i < s.repeats or (within and within.holds(arch))]
    return [(arch, 0) for arch in archs] + [(arch, seed) for seed in range(1, s.seeds) for arch in again]


WORK = "work"
"""Table of the trainings of a run: drawing them can take minutes."""


def read_work(resume: str) -> list[tuple[str, int]]:
    """What ``prepare`` returned when the run was started; empty if it ended before."""
    run = Run.open(resume, "build")
    if not (run.path / f"{WORK}.parquet").exists():
        return []
    try:
        table = run.read_table(WORK)
    except InputError:  # a damaged one is drawn again
        return []
    return [(str(arch), int(seed)) for arch, seed in zip(table["arch"], table["seed"], strict=True)]


BAND = 0.05
DRAWS = 100_000
"""Architectures that may be drawn before a band counts as too narrow."""
EMPTY = 2000
"""Those after which one that holds none counts as empty."""


def in_bands(space: Space[Any], count: int, bands: Sequence[float], rng: np.random.Generator) -> list[Any]:
    """As many distinct architectures of about equal MACs for each band, the bands in turn.

    Raises:
        InputError: a band that random architectures hardly ever fall into.
    """
    found: dict[float, dict[Any, None]] = {band: {} for band in bands}
    known: dict[Any, float] = {}
    each = -(-count // len(found))
    for drawn in range(DRAWS):
        if drawn == EMPTY and not all(found.values()):
            break
        open_bands = [band for band, members in found.items() if len(members) < each]
        if not open_bands:
            break
        arch = space.sample(rng)
        if arch not in known:
            known[arch] = space.cost(arch).macs
        macs = known[arch]
        fits = [band for band in open_bands if abs(macs - band) <= BAND * band]
        if fits and not any(arch in members for members in found.values()):  # bands may overlap
            found[fits[0]][arch] = None
    short = [band for band, members in found.items() if len(members) < each]
    if short:
        raise InputError(
            f"macs_band={short[0]:g}: {len(found[short[0]])} of {drawn + 1:,} random architectures are in it, "
            f"whose MACs are {min(known.values()):.3g} to {max(known.values()):.3g}"
        )
    return [arch for row in zip(*found.values(), strict=True) for arch in row][:count]


def store_built(run: Run, *, name: str | None = None, folder: Path | None = None) -> Path:
    """Store the table of a finished run as a benchmark, by default under the run folder's name."""
    trained, results = run.read_table("trained"), run.results
    return save_benchmark(
        name or run.path.resolve().name,
        trained,
        space=run.settings["space"],
        space_settings=run.settings["space_settings"],
        metric=results["quality"]["metric"],
        higher_is_better=results["quality"]["higher_is_better"],
        provenance={**results["provenance"], "train_seconds": round(float(trained["train_seconds"].sum()))},
        folder=folder,
    )


def _key(item: tuple[str, int]) -> str:
    return f"{item[0]}/seed{item[1]}"


def provenance(settings: TrainingSettings) -> dict[str, Any]:
    """How a benchmark came to be: settings, versions, hardware, commit."""
    return {
        "settings": _without_folders(settings.model_dump(mode="json")),
        "versions": versions(("torch", "torchvision", "torchmetrics", "numpy")) | {"python": platform.python_version()},
        "machine": _machine(settings.device),
        "commit": _commit(),
    }


def _without_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as others may read them: of files and folders only their names."""
    named = {name: Path(value).name if name in PATHS and value else value for name, value in settings.items()}
    return {**named, "recipe": _without_folders(settings["recipe"])} if settings.get("recipe") else named


def check_free(name: str, folder: Path | None, resume: str | None) -> None:
    """Raise ``InputError`` where there is a benchmark of this name, unless it is what the resumed run made."""
    path = (folder or store_folder()) / f"{name}.parquet"
    if not path.exists():
        return
    if resume is not None:
        with contextlib.suppress(InputError, LookupError, TypeError):
            made = read_table(path)[1]["provenance"]["settings"]
            if made == _without_folders(Run.open(resume).settings):
                return
    raise InputError(f"benchmark {name!r} is there already, in {str(path)!r}: expected another --name, or --replace")


def _machine(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, one thread a training, torch {torch.backends.cpu.get_cpu_capability()}"


def _commit() -> str | None:
    """Of the checkout that this code runs from; None where it runs from none."""
    here = Path(__file__).resolve()

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=here.parent, capture_output=True, text=True, check=False
        ).stdout.strip()

    with contextlib.suppress(OSError):  # no git
        if git("ls-files", here.name):  # and not a checkout of something else around an installed package
            return git("rev-parse", "HEAD") or None
    return None
