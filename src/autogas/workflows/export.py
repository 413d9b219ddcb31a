"""Write a trained network for other programs, and time networks as they run there."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from autogas.errors import InputError
from autogas.settings import SettingError, known_device
from autogas.spaces import Arch, Space, by_name, get_space
from autogas.training.export import GENERATOR_FILE, load_network
from autogas.training.interchange import SUFFIXES, Format, onnx_session, write_onnx, write_torchscript
from autogas.training.loop import CHECKPOINT_FILE

CHECKED = 2
"""Samples that a written file is checked on."""
SECONDS = 2.0
LEAST_RUNS = 20
MOST_SAMPLES, MOST_THREADS = 65536, 1024
OWN_NAMES = (GENERATOR_FILE, CHECKPOINT_FILE)
"""Files of a training that end as an export may."""


class Exported(TypedDict):
    """A file that was written; ``difference`` is that of its outputs, relative to the largest."""

    file: str
    format: Format
    difference: float


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


def export(run: str | Path, *, format: Format = "onnx", file: str | Path | None = None, seed: int = 0) -> Exported:
    """Write the network of a training in a format of other programs, checked against the network itself.

    Args:
        run: folder of a training, or its ``generator.safetensors``.
        format: ``onnx`` (checked by onnxruntime), ``torchscript``, or ``safetensors`` (autogas' own).
        file: to write; default ``generator`` with the format's ending beside the weights.
        seed: of the inputs that it is checked on.

    Returns:
        What was written, and how exact it is.

    Raises:
        InputError: no trained network, a package that is missing, or outputs that differ by more than 1e-4.

    """
    if format not in SUFFIXES:
        raise InputError(f"format {format!r}: expected {', '.join(SUFFIXES)}")
    path = Path(run)
    weights = path / GENERATOR_FILE if path.is_dir() else path
    trained = load_network(weights)
    out = weights.with_suffix(SUFFIXES[format]) if file is None else Path(file)
    _check_target(out, weights, format)
    inputs = trained.space.inputs(batch_size=CHECKED, seed=seed)
    difference = 0.0
    if format == "onnx":
        difference = write_onnx(trained.network, inputs, out)
    elif format == "torchscript":
        difference = write_torchscript(trained.network, inputs, out)
    elif out.resolve() != weights.resolve():
        shutil.copyfile(weights, out)
    return {"file": str(out), "format": format, "difference": difference}


def _check_target(out: Path, weights: Path, format: Format) -> None:
    """Raise ``InputError`` for a file that is not to be written, such as one of the run."""
    if not out.absolute().parent.is_dir():
        raise InputError(f"--file {str(out)!r}: expected a name in a folder that exists")
    if out.is_dir():
        raise InputError(f"--file {str(out)!r} is a folder: expected the name of a file")
    if out.suffix != SUFFIXES[format]:
        raise InputError(f"--file {str(out)!r}: expected a name that ends in {SUFFIXES[format]}, for {format}")
    own = out.resolve() == weights.resolve()
    if out.name in OWN_NAMES and out.exists() and not (own and format == "safetensors"):
        raise InputError(f"--file {str(out)!r} is a file of a run: name another")


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
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        there, on = model.to(device), tuple(x.to(device) for x in inputs)

        def forward() -> None:
            with torch.no_grad():
                there(*on)
            if on[0].is_cuda:
                torch.cuda.synchronize(on[0].device)

        by_torch = timed(forward)
    finally:
        torch.set_num_threads(before)
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


def timed(run: Callable[[], object]) -> Times:
    """Median and 95th percentile in milliseconds over two seconds of runs, at least 20, after one to warm up."""
    run()
    milliseconds: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(milliseconds) < LEAST_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return {
        "median": statistics.median(milliseconds),
        "p95": float(np.quantile(milliseconds, 0.95)),
        "runs": len(milliseconds),
    }
