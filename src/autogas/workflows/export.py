"""Write a trained network for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from autogas.errors import InputError
from autogas.files import replacing
from autogas.training.export import GENERATOR_FILE, load_network
from autogas.training.interchange import SUFFIXES, Format, write_onnx, write_torchscript
from autogas.training.loop import CHECKPOINT_FILE

CHECKED = 2
"""Samples that a written file is checked on."""
OWN_NAMES = (GENERATOR_FILE, CHECKPOINT_FILE)
"""Files of a training that end as an export may."""


class Exported(TypedDict):
    """A file that was written; ``difference`` is that of its outputs, relative to the largest."""

    file: str
    format: Format
    difference: float


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
        with replacing(out) as temporary:
            temporary.write_bytes(weights.read_bytes())
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
