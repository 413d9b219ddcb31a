"""The ``autogas`` command: one file a verb."""

from __future__ import annotations

import io
import itertools
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from autogas import __version__, plugins
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
from autogas.cli.user_code import guarded
from autogas.errors import InputError
from autogas.memory import keep_freed_memory

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find good image generators without training them.",
)


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"autogas {__version__}\n")
        raise typer.Exit


@app.callback()
def autogas(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(help="Python file or module that adds spaces, primitives or scorers; also after the verb."),
    ] = None,
) -> None:
    """Find good image generators without training them."""
    for reference in plugin or ():
        with guarded(f"--plugin {reference!r}"):
            plugins.add(reference)


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


def plugins_first(words: Sequence[str]) -> list[str]:
    """The words with every ``--plugin REFERENCE`` before the verb, where the application looks for it."""
    first: list[str] = []
    rest: list[str] = []
    given = iter(words)
    for word in given:
        if word == "--plugin":
            first += [word, *itertools.islice(given, 1)]
        elif word.startswith("--plugin="):
            first.append(word)
        else:
            rest.append(word)
    return [*first, *rest]


BESIDE_RESUME = ("--resume", "--plugin", "--jobs", "--json", "--name", "--store", "--help")
"""What says how and where to, and nothing of the result."""


def check_resume(words: Sequence[str]) -> None:
    """Raise ``InputError`` for options beside ``--resume``, which would be ignored: the run's own settings count."""
    options = [word.split("=", 1)[0] for word in words if word.startswith("--")]
    ignored = [option for option in options if option not in BESIDE_RESUME]
    if "--resume" in options and ignored:
        raise InputError(
            f"{', '.join(ignored)} beside --resume: a run goes on with the settings that it was started with; "
            "leave it out, or start another run"
        )


INTERRUPTED, TERMINATED = 130, 143
"""What typer returns after Ctrl-C."""


def main() -> None:
    """Entry point; bad input becomes one line and exit code 2."""
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where the terminal knows ASCII only
    warnings.filterwarnings("ignore", message=r".*tasks which were still being processed", module="joblib")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    with options.one_line_errors():
        check_resume(sys.argv[1:])
        code = app(plugins_first(sys.argv[1:]), standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    raise SystemExit(code or 0)
