"""Train a generator for good: checkpoints, samples and metrics as it goes, and the exported network at the end."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autogas.errors import InputError, unknown
from autogas.files import replacing
from autogas.metrics import FeatureStatistics
from autogas.runs import Run, progress
from autogas.training.export import GENERATOR_FILE, save_generator
from autogas.training.loop import Row
from autogas.training.loop import train as run_loop
from autogas.training.machine import Machine, launch
from autogas.training.pictures import loss_curves
from autogas.training.profiling import profiled
from autogas.workflows.common import from_anywhere, open_run, resumed_settings
from autogas.workflows.gan_trainer import GANTrainer
from autogas.workflows.trainer import AnyTrainer, ExportableTask, Reader
from autogas.workflows.translation_trainer import TranslationTrainer

REFERENCE_FILE = "reference.npz"
DEFAULT_SPACE = "eagan-generator"
TRAINERS: Mapping[str, Reader] = {
    "eagan-generator": GANTrainer.read,
    "resnet-translation": TranslationTrainer.read,
    "spade-translation": TranslationTrainer.read,
}
"""How the networks of each space are trained."""


def train(
    arch: str | None = None,
    *,
    recipe: Mapping[str, Any] | None = None,
    out: str | None = None,
    resume: str | None = None,
    **settings: Any,
) -> Run:
    """Train a generator: of images from latents, or of images from images (``space="resnet-translation"``, …).

    The run folder holds ``losses.jsonl`` and ``losses.png``, a checkpoint, samples at every checkpoint in ``samples/``,
    the metrics measured there in the record, and at the end ``generator.safetensors`` and the final metrics in
    ``results.json``.

    Args:
        arch: an architecture or the name of a published one, or the folder of a search whose winner is meant.
        recipe: settings of the training that differ from the published ones: fields of
            :class:`~autogas.training.gan.GANRecipe`, :class:`~autogas.training.pix2pix.Pix2PixRecipe`,
            :class:`~autogas.training.cyclegan.CycleGANRecipe` or :class:`~autogas.training.gaugan.GauGANRecipe`.
        out: folder to make.
        resume: folder to continue instead; its settings count.
        **settings: fields of :class:`~autogas.workflows.gan_trainer.GANTrainSettings` or
            :class:`~autogas.workflows.translation_trainer.TranslationTrainSettings`.

    Raises:
        InputError: bad settings or images, or a training that diverged or collapsed: its files stay intact.
    """
    given: dict[str, Any] = {"arch": arch, "recipe": dict(recipe or {}), **settings}
    if arch is not None and Path(arch).is_dir():
        found = winner(Path(arch))
        given |= {**found, "space_settings": {**found["space_settings"], **settings.get("space_settings", {})}}
    if resume is not None:
        kind = type(read(Run.open(resume, "train").settings).settings)
        given = resumed_settings("train", kind, given, resume)
    trainer = read(from_anywhere(given))
    s = trainer.settings
    if s.tensorboard and find_spec("tensorboard") is None:
        raise InputError("--tensorboard: needs the package tensorboard; pip install 'autogas[tensorboard]'")
    saved = None if resume is None else Path(resume) / REFERENCE_FILE
    known = trainer.check(saved if saved is not None and saved.exists() else None)
    with open_run("train", s, out=out, resume=resume) as run:
        (run.path / "samples").mkdir(exist_ok=True)
        known.save(run.path / REFERENCE_FILE)
        start = time.perf_counter()
        how = {"device": s.device, "devices": s.devices, "precision": s.precision, "graphs": s.graphs}
        launch(_train, s.model_dump_json(), str(run.path), **how)
        trained = time.perf_counter()
        results = trainer.evaluate(run.path / GENERATOR_FILE, known, trainer.extractor())
        parsed = trainer.space.parse(s.arch)
        cost = trainer.space.cost(parsed)
        run.write_costs({"train_seconds_this_time": trained - start, "evaluate_seconds": time.perf_counter() - trained})
        about = {"arch": str(parsed), "params": cost.params, "macs": cost.macs, "steps": trainer.steps}
        run.finish({**about, **results.model_dump()})
    return run


def profile(arch: str, *, steps: int = 5, rows: int = 20, **settings: Any) -> str:
    """Where the time of a step goes: the operations that take most of it, as a table; nothing is kept.

    Args:
        arch: as for :func:`train`.
        steps: how many are measured, after as many that are not.
        rows: operations to show.
        **settings: as for :func:`train`; on a GPU steps are profiled without a graph, which has no operations.

    Raises:
        InputError: as :func:`train`.
    """
    trainer = read(from_anywhere({"arch": arch, "recipe": {}, **settings}))
    s = trainer.settings
    trainer.check(None)
    return launch(_profiled, s.model_dump_json(), steps, rows, device=s.device, precision=s.precision, graphs="off")


def _profiled(machine: Machine, settings_json: str, steps: int, rows: int) -> str:
    trainer = read(json.loads(settings_json))
    return profiled(trainer.task(), machine, steps=steps, rows=rows, seed=trainer.settings.seed)


def read(given: Mapping[str, Any]) -> AnyTrainer:
    """The kind of training that the space of these settings asks for."""
    space = given.get("space", DEFAULT_SPACE)
    if space not in TRAINERS:
        raise unknown("space", str(space), TRAINERS)
    return TRAINERS[space](given)


def winner(path: Path) -> dict[str, Any]:
    """The architecture that a search found, its space and settings of that; raises ``InputError`` for another run."""
    run = Run.open(path)
    found = run.results.get("winner", {})
    if "arch" not in found:
        raise InputError(f"{str(path)!r} is a run of {run.workflow}: accepted is a search, which has a winner")
    settings = run.settings
    return {"arch": found["arch"], "space": settings["space"], "space_settings": settings.get("space_settings", {})}


def _train(machine: Machine, settings_json: str, folder: str) -> None:
    """What each process does."""
    trainer, path = read(json.loads(settings_json)), Path(folder)
    s, task = trainer.settings, trainer.task()
    loop = functools.partial(
        run_loop,
        task,
        machine,
        steps=trainer.steps,
        seed=s.seed,
        folder=path,
        log_every=s.log_every,
        checkpoint_every=s.checkpoint_every,
        equal_until=trainer.equal_until,
    )
    if not machine.main:
        loop()
        return
    with _observer(trainer, task, path) as observe:
        loop(observe=observe, track=functools.partial(progress, description="training"))
    arch = trainer.space.parse(s.arch)
    save_generator(path / GENERATOR_FILE, task.exported, trainer.space, arch, trainer.trained_for)


@contextlib.contextmanager
def _observer(trainer: AnyTrainer, task: ExportableTask, path: Path) -> Iterator[Callable[[Sequence[Row]], None]]:
    """Writes curves and logs with every row; samples and metrics too when a checkpoint comes."""
    run = Run.open(path)
    known = FeatureStatistics.load(path / REFERENCE_FILE)
    extractor = trainer.extractor()

    def observe(rows: Sequence[Row]) -> None:
        step = int(rows[-1]["step"])
        values: dict[str, float | None] = {name: value for name, value in rows[-1].items() if name != "step"}
        if step % trainer.settings.checkpoint_every == 0 or step == trainer.steps:
            _write(path / "samples" / f"step-{step:08}.png", trainer.picture(task))
            _write(path / "losses.png", loss_curves(rows))
            if step < trainer.steps:
                values |= trainer.measure(task, known, extractor).metrics
            run.record.put([(f"step {step:08}", values)])
        if board is not None:
            for name, value in values.items():
                if value is not None:
                    board.add_scalar(name, value, step)

    with _board(path) if trainer.settings.tensorboard else contextlib.nullcontext() as board:
        yield observe
    run.record.close()


def _board(path: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(path / "tensorboard")


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
