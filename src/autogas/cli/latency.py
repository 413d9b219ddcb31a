"""``autogas latency``: how long a network takes."""

from __future__ import annotations

from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.printing import emit
from autogas.cli.user_code import guarded
from autogas.workflows.latency import MOST_SAMPLES, MOST_THREADS
from autogas.workflows.latency import latency as workflow


def latency(
    run: Annotated[str | None, typer.Argument(help="Folder of a training, or its generator.safetensors.")] = None,
    space: Annotated[str | None, typer.Option(help="Instead: space of --arch.")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of --space, with random weights.")] = None,
    set_: parsing.SpaceSettings = None,
    batch_size: Annotated[int, typer.Option(min=1, max=MOST_SAMPLES, help="Samples a pass.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=MOST_THREADS, help="Threads on the CPU.")] = 1,
    device: parsing.Device = "cpu",
    json: parsing.Json = False,
) -> None:
    """Time a forward pass, by torch and by onnxruntime: the median and the 95th percentile."""
    with guarded(f"{run or arch!r} does not run"):
        found = workflow(
            run,
            space=space,
            arch=arch,
            space_settings=parsing.parse_settings(set_),
            batch_size=batch_size,
            threads=threads,
            device=parsing.checked_device(device),
        )
    lines = [f"{found['space']} {found['arch']}, batch {batch_size}, {threads} threads, {device}"]
    for name in ("torch", "onnxruntime"):
        times = found[name]
        if isinstance(times, dict):
            lines.append(f"{name:<12}{times['median']:9.3f} ms median, {times['p95']:.3f} ms p95, {times['runs']} runs")
        elif times:
            lines.append(f"{name:<12}{times}")
    emit(found, as_json=json, text="\n".join(lines))
