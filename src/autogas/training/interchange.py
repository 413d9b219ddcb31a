"""A trained network in the formats of other programs, each checked against the network itself."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from autogas.errors import InputError
from autogas.files import replacing

Format = Literal["onnx", "torchscript", "safetensors"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
TOLERANCE = 1e-4
"""Largest difference of outputs, relative to the largest output, with which a file is kept."""
ROUNDINGS = 4
"""Times the network's own rounding, its difference from float64, that are kept too where that is more."""


def write_onnx(network: nn.Module, inputs: Sequence[Tensor], path: Path) -> float:
    """Write a network with a batch of any size; the largest difference of onnxruntime's outputs from torch's.

    Args:
        network: in evaluation mode, on the CPU.
        inputs: what it takes.
        path: the file.

    Raises:
        InputError: onnx is not installed, the network has an operation that ONNX lacks, or the outputs differ.
    """
    _need("onnx", "onnxruntime")
    names = [f"input{i}" if i else "input" for i in range(len(inputs))]
    axes = {name: {0: "batch"} for name in [*names, "output"]}
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network,
                tuple(inputs),
                str(temporary),
                input_names=names,
                output_names=["output"],
                dynamic_axes=axes,
                opset_version=17,
                dynamo=False,
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            raise InputError(f"onnx: the network cannot be written ({str(error).splitlines()[0]})") from None
        return _checked(network, inputs, run_onnx(temporary, inputs), "onnx")


def run_onnx(path: Path, inputs: Sequence[Tensor]) -> Tensor:
    """Outputs of a file by onnxruntime on the CPU."""
    session = onnx_session(path)
    given = {node.name: x.numpy() for node, x in zip(session.get_inputs(), inputs, strict=True)}
    return torch.from_numpy(session.run(None, given)[0])


def onnx_session(path: Path, threads: int = 0) -> Any:
    """A session of onnxruntime on the CPU; 0 threads: as many as it likes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def write_torchscript(network: nn.Module, inputs: Sequence[Tensor], path: Path) -> float:
    """Write a traced network; the largest difference of its outputs from the network's own.

    Raises:
        InputError: the outputs differ.
    """
    with replacing(path) as temporary, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = io.BytesIO()  # torch ends the process where a disk is full
        torch.jit.save(torch.jit.trace(network, tuple(inputs), check_trace=False), written)
        temporary.write_bytes(written.getbuffer())
        return _checked(network, inputs, torch.jit.load(str(temporary))(*inputs), "torchscript")


@torch.no_grad()
def _checked(network: nn.Module, inputs: Sequence[Tensor], outputs: Tensor, what: str) -> float:
    expected = network(*inputs)

    def relative(others: Tensor) -> float:
        return float((others - expected).abs().max() / expected.abs().max().clamp_min(1e-12))

    difference = relative(outputs)
    if difference <= TOLERANCE:
        return difference
    exact = copy.deepcopy(network).double()(*(x.double() if x.is_floating_point() else x for x in inputs))
    accepted = max(TOLERANCE, ROUNDINGS * relative(exact))
    if not difference <= accepted:
        raise InputError(f"{what}: outputs differ from the network's by {difference:.1e}, expected {accepted:.0e}")
    return difference


def _need(*packages: str) -> None:
    from importlib.util import find_spec

    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX needs {' and '.join(missing)}: pip install 'autogas[onnx]'")
