"""Where the time of a training step goes."""

from __future__ import annotations

import time

import torch
from torch.profiler import ProfilerActivity

from autogas.seeding import torch_generator
from autogas.training.loop import Task, prepare
from autogas.training.machine import Machine


def profiled(task: Task, machine: Machine, *, steps: int, rows: int, seed: int = 0) -> str:
    """A table of the operations of some steps that take most time, after as many steps to warm up.

    Args:
        task: what is trained; it is some steps further afterwards.
        machine: where.
        steps: how many.
        rows: operations to show.
        seed: of what is drawn.
    """
    prepare(task, machine)
    cuda = machine.device.type == "cuda"

    def run(first: int) -> float:
        start = time.perf_counter()
        for step in range(first, first + steps):
            task.step(step, torch_generator("train", seed, step), machine)
        if cuda:
            torch.cuda.synchronize(machine.device)
        return (time.perf_counter() - start) / steps

    run(0)
    usual = run(steps)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities, acc_events=True) as seen:
        run(2 * steps)
    by = f"self_{'device' if cuda else 'cpu'}_time_total"
    table = seen.key_averages().table(sort_by=by, row_limit=rows, max_name_column_width=60)
    return f"{usual * 1e3:.1f} ms a step\n{table}"
