"""``autogas data``: make small data sets of translation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.printing import emit

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make small data sets for image-to-image translation."
)


@app.callback()
def group() -> None:
    """Keep ``make`` a command of its own, though it is the only one."""


@app.command()
def make(
    kind: Annotated[str, typer.Argument(help="horse2deer (unpaired), edges2photo (pairs), labels2photo (label maps).")],
    folder: Annotated[Path, typer.Argument(help="Where to write it.")],
    images: Annotated[
        str,
        typer.Option(help="Training images: cifar10, a Parquet file, a folder, dead-leaves; horse2deer needs labels."),
    ] = "cifar10",
    held_out: Annotated[
        str | None, typer.Option(help="Images of the test split; default those of cifar10 or dead-leaves.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="The first so many training images; default all.")] = None,
    held_out_count: Annotated[int | None, typer.Option(min=1, help="The same of the test split.")] = None,
    size: Annotated[int, typer.Option(min=8, max=8192, help="Height and width.")] = 32,
    json: parsing.Json = False,
) -> None:
    """Write a data set in the folders that `autogas train --data` reads."""
    from autogas.datasets.mini import make_translation

    numbers = make_translation(
        kind, folder, images=images, held_out=held_out, count=count, held_out_count=held_out_count, size=size
    )
    lines = [f"{number}\t{folder / name}" for name, number in numbers.items()]
    emit({"folder": str(folder), "files": numbers}, as_json=json, text="\n".join(lines))
