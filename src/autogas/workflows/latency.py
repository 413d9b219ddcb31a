"""Time networks as they run, by torch and by onnxruntime."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import nn

from autogas.errors import InputError
from autogas.settings import SettingError, known_device
from autogas.spaces import Arch, Space, by_name, get_space
from autogas.threads import with_threads
from autogas.training.export import load_network
from autogas.training.interchange import onnx_session, write_onnx
from autogas.workflows.export import CHECKED

SECONDS = 2.0
LEAST_RUNS = 20
MOST_SAMPLES, MOST_THREADS = 65536, 1024


class Times(TypedDict):
    """Of a forward pass in milliseconds, over so many runs."""

    median: float
    p95: float
    runs: int


class Latency(TypedDict):
    """Times by torch, and by onnxruntime (None off the CPU, a text says why there are none); how they were measured."""

    space: str
    arch: str
    batch_size: int
    threads: int
    device: str
    torch_version: str
    torch: Times
    onnxruntime: Times | str | None


def latency(
    run: str | Path | None = None,
    *,
    space: str | Space[Arch] | None = None,
    arch: str | None = None,
    space_settings: Mapping[str, object] | None = None,
    batch_size: int = 1,
    threads: int = 1,
    device: str = "cpu",
) -> Latency:
    """Milliseconds of a forward pass in evaluation mode, by torch and on the CPU by onnxruntime if it is installed.

    Args:
        run: folder of a training, or its weights.
        space: a space or its name, instead of ``run``.
        arch: architecture of that space, built with random weights.
        space_settings: settings of that space that differ.
        batch_size: samples a pass.
        threads: of either program on the CPU.
        device: where torch runs.

    Returns:
        Times by torch and by onnxruntime, and how they were measured.

    Raises:
        InputError: nothing to time or twice, a bad architecture, or weights that cannot be read.
    """
    if not 1 <= batch_size <= MOST_SAMPLES or not 1 <= threads <= MOST_THREADS:
        raise InputError(
            f"batches of {batch_size} on {threads} threads: expected 1 to {MOST_SAMPLES} and 1 to {MOST_THREADS}"
        )
    if (run is None) == (space is None and arch is None) or (space is None) != (arch is None):
        raise InputError("say what to time: a training, or a space and an architecture of it")
    if run is not None and space_settings:
        raise InputError(f"settings of a space beside {run!r}, which has its own: leave them out")
    if run is not None:
        trained = load_network(run)
        model, where, text = trained.network, trained.space, str(trained.arch)
    else:
        assert space is not None
        name, own = by_name(space)
        where = get_space(name, **{**own, **(space_settings or {})})
        parsed = where.parse(str(arch))
        model, text = where.build(parsed).eval().requires_grad_(False), str(parsed)
    inputs = where.inputs(batch_size=batch_size)
    try:
        known_device(device)
    except ValueError as error:
        raise SettingError("device", device, str(error)) from None
    by_torch = timed_by_torch(model, inputs, device=device, threads=threads)
    return {
        "space": where.name,
        "arch": text,
        "batch_size": batch_size,
        "threads": threads,
        "device": device,
        "torch_version": torch.__version__,
        "torch": by_torch,
        "onnxruntime": _by_onnxruntime(model.cpu(), where, inputs, threads) if device == "cpu" else None,
    }


def _by_onnxruntime(
    model: torch.nn.Module, space: Space[Arch], inputs: tuple[torch.Tensor, ...], threads: int
) -> Times | str:
    """Times, or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        try:
            write_onnx(model, space.inputs(batch_size=CHECKED), path)
        except InputError as error:
            return str(error)
        session = onnx_session(path, threads)
        given = {node.name: x.numpy() for node, x in zip(session.get_inputs(), inputs, strict=True)}
        return timed(lambda: session.run(None, given))


def timed_by_torch(
    model: nn.Module,
    inputs: Sequence[torch.Tensor],
    *,
    device: str = "cpu",
    threads: int = 1,
    seconds: float = SECONDS,
    runs: int = LEAST_RUNS,
) -> Times:
    """Times of forward passes without gradients; see ``timed``."""
    there, on = model.to(device), tuple(x.to(device) for x in inputs)

    def forward() -> None:
        with torch.no_grad():
            there(*on)
        if on[0].is_cuda:
            torch.cuda.synchronize(on[0].device)

    with with_threads(threads):
        return timed(forward, seconds=seconds, runs=runs)


def timed(run: Callable[[], object], *, seconds: float = SECONDS, runs: int = LEAST_RUNS) -> Times:
    """Median and 95th percentile in milliseconds over so many seconds, and so many runs at least, after a first one."""
    run()
    milliseconds: list[float] = []
    end = time.perf_counter() + seconds
    while len(milliseconds) < runs or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return {
        "median": statistics.median(milliseconds),
        "p95": float(np.quantile(milliseconds, 0.95)),
        "runs": len(milliseconds),
    }
