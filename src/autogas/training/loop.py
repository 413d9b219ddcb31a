"""The training loop: steps of any task, with checkpoints, exact resume, and an eye on divergence and collapse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from autogas.errors import InputError
from autogas.files import checksum, damaged, replacing
from autogas.seeding import derive_seed, torch_generator
from autogas.training.checkpoint import load_tensors, restore_state, save_tensors, state_tensors
from autogas.training.machine import Machine

CHECKPOINT_FILE = "checkpoint.safetensors"
LOSSES_FILE = "losses.jsonl"
LEAST_SPREAD = 5e-4
"""Standard deviation between samples, of pixels in [0, 1], below which all samples are the same image."""
WATCHED_SAMPLES = 16

Row = dict[str, float]
"""``step`` (steps done), and the mean of each loss since the last row, by name."""


class DivergenceError(InputError):
    """A loss or a weight is not finite."""


class CollapseError(InputError):
    """All samples are the same image."""


class Task(Protocol):
    """What is trained. Everything that changes from step to step is in its modules and optimisers."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Networks by name, averaged copies among them."""
        ...

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Their optimisers, by name."""
        ...

    def step(self, step: int, generator: torch.Generator, machine: Machine) -> Mapping[str, Tensor]:
        """Update the networks once; returns scalar losses by name.

        Args:
            step: steps done before this one, for schedules.
            generator: on the CPU, seeded for this step: what is drawn from it does not depend on earlier steps.
            machine: where to compute.
        """
        ...

    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """Images ``[count, 3, H, W]`` in [0, 1], as the trained network makes them."""
        ...


def train(
    task: Task,
    machine: Machine,
    *,
    steps: int,
    seed: int = 0,
    folder: Path | None = None,
    log_every: int = 100,
    checkpoint_every: int = 1000,
    equal_until: int = 0,
    observe: Callable[[Sequence[Row]], None] | None = None,
    track: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, _: steps,
) -> list[Row]:
    """Train to ``steps`` steps, from the checkpoint in ``folder`` if there is one; returns the rows of all steps.

    A run that was killed and continued equals one that was not, bit for bit on the CPU.

    Args:
        task: what to train; its modules are moved to the device.
        machine: where.
        steps: how many in all.
        seed: of everything that is drawn.
        folder: for ``checkpoint.safetensors`` and ``losses.jsonl``; None keeps nothing.
        log_every: steps a row.
        checkpoint_every: steps between checkpoints.
        equal_until: up to this step, samples may be the same image: some networks start so.
        observe: called in the main process with all rows when there is a new one, before a checkpoint is written: what
            it writes is never older than the checkpoint.
        track: wraps the steps that remain and their number, for a progress bar.

    Raises:
        DivergenceError: a loss or weight is not finite. What was written stays as it was.
        CollapseError: all samples are the same image.
        InputError: a checkpoint that cannot be read or is of other networks.
    """
    prepare(task, machine)
    start, rows = (0, []) if folder is None else _resume(task, folder)
    losses: list[Mapping[str, Tensor]] = []
    gpus = [machine.device] if machine.device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        for step in track(range(start, steps), steps - start):
            torch.manual_seed(derive_seed("dropout", seed, step))
            losses.append(task.step(step, torch_generator("train", seed, step), machine))
            done = step + 1
            saves = done % checkpoint_every == 0 or done == steps
            if done % log_every == 0 or saves:
                row = _mean_losses(losses, done, machine)
                losses = []
                rows.append(row)
                with torch.compiler.set_stance("force_eager"):  # whose batches are of other sizes
                    _check(task, row, seed, machine, collapse=done > equal_until)
                    if machine.main and observe is not None:
                        observe(rows)
                if machine.main:
                    _keep(task, row, folder, saves=saves)
                machine.wait()
    return rows


def prepare(task: Task, machine: Machine) -> None:
    """Bring a task to the device, and its optimisers into the form that is fastest there."""
    for module in task.modules.values():
        module.to(machine.device)
        if machine.compile and any(weight.requires_grad for weight in module.parameters()):
            module.compile(dynamic=False)
    machine.tune(task.optimizers.values())


def _mean_losses(losses: list[Mapping[str, Tensor]], done: int, machine: Machine) -> Row:
    """The row of the last steps: losses are read from the device only now, once."""
    names = list(losses[0])
    means = torch.stack([torch.stack([step[name].detach().float() for name in names]) for step in losses]).mean(0)
    return {"step": done, **dict(zip(names, machine.mean(means).tolist(), strict=True))}


def _check(task: Task, row: Row, seed: int, machine: Machine, *, collapse: bool) -> None:
    """Raise for what cannot go on; all processes come to the same verdict."""
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    bad += [
        name
        for name, module in task.modules.items()
        if not all(bool(tensor.isfinite().all()) for tensor in module.parameters())
    ]
    if bad:
        raise DivergenceError(f"training diverged by step {row['step']}: {', '.join(bad)} not finite")
    samples = task.samples(WATCHED_SAMPLES, torch_generator("watched", seed)).float()
    spread = float(machine.mean(samples.std(0).mean()))
    if not math.isfinite(spread):
        raise DivergenceError(f"training diverged by step {row['step']}: samples not finite")
    if collapse and spread < LEAST_SPREAD:
        raise CollapseError(
            f"training collapsed by step {row['step']}: {WATCHED_SAMPLES} samples differ by {spread:.1e} of 1, "
            f"expected {LEAST_SPREAD:.0e} or more"
        )


def _keep(task: Task, row: Row, folder: Path | None, *, saves: bool) -> None:
    if folder is None:
        return
    losses = folder / LOSSES_FILE
    with losses.open("a") as file:
        file.write(json.dumps(row) + "\n")
    if saves:
        tensors, so_far = state_tensors(task.modules, task.optimizers), losses.read_bytes()
        about = {"step": row["step"], "losses": {"bytes": len(so_far), "checksum": checksum([so_far])}}
        save_tensors(folder / CHECKPOINT_FILE, tensors, about)


def _resume(task: Task, folder: Path) -> tuple[int, list[Row]]:
    """Put the task and its losses into the state of the last checkpoint; returns the steps done, 0 without one."""
    path, losses = folder / CHECKPOINT_FILE, folder / LOSSES_FILE
    step, kept = 0, b""
    if path.exists():
        tensors, about = load_tensors(path)
        restore_state(tensors, task.modules, task.optimizers)
        try:
            step, size, digest = int(about["step"]), int(about["losses"]["bytes"]), about["losses"]["checksum"]
        except (KeyError, TypeError, ValueError):
            raise InputError(f"checkpoint {str(path)!r}: of another version or no training: start again") from None
        kept = losses.read_bytes()[:size] if losses.exists() else b""
        if checksum([kept]) != digest:
            raise damaged(losses, "it is not what the checkpoint was written beside", "start the training again")
    with replacing(losses) as temporary:  # without the rows of steps that are done again
        temporary.write_bytes(kept)
    return step, [json.loads(line) for line in kept.splitlines()]
