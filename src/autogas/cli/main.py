"""The ``autogas`` command: one file a verb."""

from __future__ import annotations

import typer

from autogas.cli import bench, data, options
from autogas.cli.catalogue import catalogue
from autogas.cli.cifarnet import train_cifarnet
from autogas.cli.discover import discover
from autogas.cli.evaluate import evaluate
from autogas.cli.rank import rank
from autogas.cli.report import report
from autogas.cli.reproduce import reproduce
from autogas.cli.score import score
from autogas.cli.search import search
from autogas.cli.segmentation import train_segmentation
from autogas.cli.train import train
from autogas.memory import keep_freed_memory

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Find good image generators without training them.",
)
app.command()(discover)
app.command()(rank)
app.command()(reproduce)
app.command()(search)
app.command()(score)
app.command()(train)
app.command()(evaluate)
app.add_typer(bench.app, name="bench")
app.add_typer(data.app, name="data")
app.command()(report)
app.command(name="list")(catalogue)
app.command(name="train-cifarnet", hidden=True)(train_cifarnet)
app.command(name="train-segmentation", hidden=True)(train_segmentation)


INTERRUPTED = 130
"""What typer returns after Ctrl-C."""


def main() -> None:
    """Entry point; bad input becomes one line and exit code 2."""
    keep_freed_memory()
    with options.one_line_errors():
        code = app(standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    raise SystemExit(code or 0)
