"""``autogas export``: a trained network for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from autogas.cli import parsing
from autogas.cli.printing import emit
from autogas.training.interchange import Format
from autogas.workflows.export import export as workflow


def export(
    run: Annotated[str, typer.Argument(help="Folder of a training, or its generator.safetensors.")],
    format: Annotated[str, typer.Option(help="onnx, torchscript or safetensors.")] = "onnx",
    file: Annotated[Path | None, typer.Option(help="File to write; default beside the weights.")] = None,
    json: parsing.Json = False,
) -> None:
    """Write a trained network as ONNX, TorchScript or safetensors, and check that the file computes the same."""
    found = workflow(run, format=cast("Format", format), file=file)
    text = f"{found['file']}: outputs equal the network's to {found['difference']:.1e} of the largest"
    emit(found, as_json=json, text=text)
