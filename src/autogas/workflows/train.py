"""Train one network until it is good: checkpoints, samples and metrics as it goes, and the network at the end."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, cast

from pydantic import BaseModel, Field

from autogas.errors import InputError
from autogas.files import replacing
from autogas.runs import Run, progress
from autogas.settings import SettingError, on_command_line, over, takes
from autogas.spaces import Arch, Space
from autogas.training.export import GENERATOR_FILE, save_generator
from autogas.training.kinds import TRAINED, Training, all_settings, read_training
from autogas.training.logs import check_loggers, loggers
from autogas.training.loop import Row
from autogas.training.loop import train as run_loop
from autogas.training.machine import Graphs, Machine, Precision, check_machine, launch
from autogas.training.pictures import loss_curves
from autogas.training.profiling import profiled
from autogas.workflows.keywords import TrainKeywords
from autogas.workflows.opening import from_anywhere, open_run, resumed_settings


class TrainSettings(BaseModel):
    """How one network is trained, beside what its kind of training asks for."""

    arch: str = Field(
        description="architecture of the space, a published name, or the folder of a search whose winner is meant",
        json_schema_extra=on_command_line(argument=True),
    )
    log_every: int = Field(100, ge=1, description="steps between rows of losses")
    checkpoint_every: int = Field(5000, ge=1, description="steps between checkpoints, samples and metrics")
    tensorboard: bool = Field(False, description="write logs for TensorBoard")
    csv: bool = Field(False, description="write losses and metrics to csv/metrics.csv")
    devices: int = Field(1, ge=1, description="on how many of them")
    precision: Precision = Field("32-true", description="32-true or bf16-mixed")
    graphs: Graphs = Field(
        "auto", description="steps as CUDA graphs: auto, where one GPU trains a GAN; on, translators too; off"
    )
    compile: bool = Field(False, description="make kernels for the networks first, which takes a minute or more")


@takes(TrainSettings, *all_settings())
def train(
    arch: str | None = None,
    *,
    space: str | Space[Arch] | None = None,
    recipe: Mapping[str, object] | None = None,
    out: str | None = None,
    resume: str | None = None,
    **settings: Unpack[TrainKeywords],
) -> Run:
    """Train a network of any space that has a training: a generator, a translator, an autoencoder, a discriminator.

    The run folder holds ``losses.jsonl`` and ``losses.png``, a checkpoint, samples at every checkpoint in ``samples/``,
    the metrics measured there in the record, and at the end ``generator.safetensors`` and the final metrics in
    ``results.json``.

    Args:
        arch: an architecture or the name of a published one, or the folder of a search whose winner is meant.
        space: of the architecture, or its name; None: the search's, or ``eagan-generator``.
        recipe: settings of the training that differ from the published ones: fields of ``GANRecipe``,
            ``DiffusionRecipe``, ``Pix2PixRecipe``, ``CycleGANRecipe``, ``GauGANRecipe`` or ``AutoencoderRecipe``.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        **settings: fields of ``TrainSettings``, and those of the space's kind of training, see
            ``autogas.training.kinds``.

    Raises:
        InputError: bad settings or images, or a training that diverged or collapsed: its files stay intact.
    """
    if recipe is not None and not isinstance(recipe, Mapping):
        raise SettingError("recipe", recipe, "expected settings by name")
    given = of_a_search({"arch": arch, "recipe": dict(recipe or {}), **_of(space), **settings})
    if resume is not None:
        given = resumed_settings("train", from_anywhere(given), resume, lambda settings: read(settings).settings)
    training = read(from_anywhere(given))
    s = how(training)
    check_loggers(tensorboard=s.tensorboard)
    arch_of_space = training.space.parse(s.arch)
    check(training, s)
    training.folder = None if resume is None else Path(resume)
    training.prepare()
    device = training.settings.device
    code = training.space.makers
    with open_run("train", training.settings, out=out, resume=resume, code=code) as run:
        (run.path / "samples").mkdir(exist_ok=True)
        training.folder = run.path
        training.keep()
        start = time.perf_counter()
        where = {"device": device, "devices": s.devices, "precision": s.precision, "compile": s.compile}
        launch(_train, training.settings.model_dump_json(), str(run.path), **where, graphs=s.graphs)
        trained = time.perf_counter()
        results = training.evaluate(run.path / GENERATOR_FILE)
        cost = training.space.cost(arch_of_space)
        run.write_costs({"train_seconds_this_time": trained - start, "evaluate_seconds": time.perf_counter() - trained})
        about = {"arch": str(arch_of_space), "params": cost.params, "macs": cost.macs, "steps": training.steps}
        run.finish({**about, **results.model_dump()})
    return run


def profile(
    arch: str,
    *,
    space: str | Space[Arch] | None = None,
    steps: int = 5,
    rows: int = 20,
    **settings: Unpack[TrainKeywords],
) -> str:
    """Where the time of a step goes: the operations that take most of it, as a table; nothing is kept.

    Args:
        arch: as for ``train``.
        space: as for ``train``.
        steps: how many are measured, after as many that are not.
        rows: operations to show.
        **settings: as for ``train``; on a GPU steps are profiled without a graph, which has no operations.

    Raises:
        InputError: as ``train``.
    """
    training = read(from_anywhere(of_a_search({"arch": arch, "recipe": {}, **_of(space), **settings})))
    s, settings_json = how(training), training.settings.model_dump_json()
    training.space.parse(s.arch)
    check(training, s)
    if training.steps < 3:
        raise InputError(f"{training.steps} steps to profile: expected 3 or more, to warm up, to time and to look into")
    steps = min(steps, training.steps // 3)
    training.prepare()
    device = training.settings.device
    where = {"device": device, "devices": s.devices, "precision": s.precision, "compile": s.compile}
    return launch(_profiled, settings_json, steps, rows, **where, graphs="off")


def _profiled(machine: Machine, settings_json: str, steps: int, rows: int) -> str:
    training = read(json.loads(settings_json))
    task = training.task(training.space.parse(how(training).arch))
    return profiled(task, machine, steps=steps, rows=rows, seed=training.settings.seed)


def _of(space: str | Space[Arch] | None) -> dict[str, str | Space[Arch]]:
    return {} if space is None else {"space": space}


def read(given: Mapping[str, Any]) -> Training[Any, Any]:
    """The training that the space of these settings asks for."""
    return read_training({"space": TRAINED, **given}, TrainSettings)


def how(training: Training[Any, Any]) -> TrainSettings:
    """Its settings, as those of this workflow."""
    return cast("TrainSettings", training.settings)


def check(training: Training[Any, Any], s: TrainSettings) -> None:
    """Raise ``InputError`` for what cannot be trained here or so."""
    training.check_devices(s.devices)
    if s.compile:
        training.check_compile()
    check_machine(training.settings.device, s.devices, s.graphs, compile=s.compile)


def of_a_search(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with a search's winner and its space where the architecture is the folder of one."""
    arch = given["arch"]
    if not isinstance(arch, str | Path) or not Path(arch).is_dir():
        return dict(given)
    found = winner(Path(arch))
    return {**given, **found, "space_settings": over(found["space_settings"], given)}


def winner(path: Path) -> dict[str, Any]:
    """The architecture that a search found, its space and settings of that; raises ``InputError`` for another run."""
    run = Run.open(path)
    found = run.results.get("winner", {})
    if "arch" not in found:
        raise InputError(f"{str(path)!r} is a run of {run.workflow}: expected a search, which has a winner")
    settings = run.settings
    return {"arch": found["arch"], "space": settings["space"], "space_settings": settings.get("space_settings", {})}


def _train(machine: Machine, settings_json: str, folder: str) -> None:
    """What each process does."""
    training, path = read(json.loads(settings_json)), Path(folder)
    training.folder = path
    s = how(training)
    arch = training.space.parse(s.arch)
    task = training.task(arch)
    loop = functools.partial(
        run_loop,
        task,
        machine,
        steps=training.steps,
        seed=training.settings.seed,
        folder=path,
        log_every=s.log_every,
        checkpoint_every=s.checkpoint_every,
        equal_until=training.equal_until,
    )
    if not machine.main:
        loop()
        return
    with _observer(training, task, path) as observe:
        loop(observe=observe, track=functools.partial(progress, description="training"))
    space, kept = training.kept(arch)
    save_generator(path / GENERATOR_FILE, task.exported, space, kept, training.trained_for)


@contextlib.contextmanager
def _observer(training: Training[Any, Any], task: Any, path: Path) -> Iterator[Callable[[Sequence[Row]], None]]:
    """Writes curves and logs with every row; samples and metrics too when a checkpoint comes."""
    run, s = Run.open(path), how(training)

    def observe(rows: Sequence[Row]) -> None:
        step = int(rows[-1]["step"])
        values: dict[str, float | None] = {name: value for name, value in rows[-1].items() if name != "step"}
        if step % s.checkpoint_every == 0 or step == training.steps:
            _write(path / "samples" / f"step-{step:08}.png", training.picture(task))
            _write(path / "losses.png", loss_curves(rows))
            if step < training.steps:
                values |= training.measure(task, final=False).metrics
            run.record.put([(f"step {step:08}", values)])
        history[:] = rows
        log(values, step)

    history: list[Row] = []

    def past() -> list[tuple[int, dict[str, float | None]]]:
        steps = [int(row["step"]) for row in history]
        known = {key: run.record[key] for key in run.record}
        losses: list[dict[str, float | None]] = [{k: v for k, v in row.items() if k != "step"} for row in history]
        return [(at, row | known.get(f"step {at:08}", {})) for at, row in zip(steps, losses, strict=True)]

    with contextlib.closing(run.record), loggers(path, tensorboard=s.tensorboard, csv=s.csv, past=past) as log:
        yield observe


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
