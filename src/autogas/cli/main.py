"""The ``autogas`` command: one file a verb."""

from __future__ import annotations

import typer

from autogas.cli import bench, options

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Find good image generators without training them.",
)
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Entry point; bad input becomes one line and exit code 2."""
    with options.one_line_errors():
        app()
