"""The ``autogas`` command: one file a verb, loaded when it is asked for."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TextIO

import typer

from autogas import __version__, plugins
from autogas.cli.failing import one_line_errors
from autogas.cli.lazy import lazy_group
from autogas.cli.user_code import guarded
from autogas.errors import InputError, Terminated
from autogas.memory import keep_freed_memory

VERBS = {
    "discover": ("discover:discover", "Discover a proxy that ranks trained generators, and judge it on unseen ones."),
    "rank": ("rank:rank", "Correlate scores of proxies with measured quality, next to the trivial scorers."),
    "search": ("search:search", "Search architectures with a proxy, without training, inside a budget."),
    "train": ("train:train", "Train a network: checkpoints, samples and metrics, and the network at the end."),
    "evaluate": (
        "evaluate:evaluate",
        "Measure images: Fréchet and kernel distance to reference images, Inception Score.",
    ),
    "score": ("score:score", "Score one network: an architecture of a space, or your own module."),
    "reproduce": ("reproduce:reproduce", "Regenerate a table of the paper, the printed numbers beside ours."),
    "bench": ("bench:app", "Import, build, list and show benchmarks."),
    "data": ("data:app", "Make small data sets for image-to-image translation."),
    "show": ("show:show", "Print what a finished run found."),
    "export": ("export:export", "Write a trained network as ONNX, TorchScript or safetensors, and check the file."),
    "latency": ("latency:latency", "Time a trained network or an architecture, by torch and by onnxruntime."),
    "report": ("report:report", "Write figures and one self-contained HTML page into a run folder."),
    "list": ("catalogue:catalogue", "List spaces, proxies, primitives of the proxy language, and benchmarks."),
    "train-cifarnet": ("cifarnet:train_cifarnet", ""),
    "train-segmentation": ("segmentation:train_segmentation", ""),
}


app = typer.Typer(
    cls=lazy_group(VERBS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
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
    _plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin", help="Python file or module that adds spaces, primitives or scorers; also after the verb."
        ),
    ] = None,
    _backend: Annotated[
        str,
        typer.Option(
            "--backend", help="Where --jobs work: loky, processes here, or dask, a cluster; also after the verb."
        ),
    ] = "loky",
    _scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Address of the cluster's scheduler, or the file that says it.")
    ] = None,
) -> None:
    """Find good image generators without training them."""


GLOBAL = ("--plugin", "--backend", "--scheduler")
"""Options of the application that may also stand after the verb."""


def global_first(words: Sequence[str]) -> list[str]:
    """The words with every global option before the verb, where the application looks for it."""
    first: list[str] = []
    rest: list[str] = []
    given = iter(words)
    for word in given:
        if word.startswith("-") and " > " in word:  # a formula that begins with a minus is no option
            rest.append(f" {word}")
            continue
        name, equals, value = word.partition("=")
        if name in GLOBAL:
            value = value if equals else next(given, "")
            if not value:
                raise InputError(f"{name}: expected a value after it")
            first += [name, value]
        else:
            rest.append(word)
    return [*first, *rest]


BESIDE_RESUME = ("--resume", *GLOBAL, "--jobs", "--json", "--name", "--store", "--replace", "--help")
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


def _workers(asked: Mapping[str, str]) -> contextlib.AbstractContextManager[None]:
    """Where parallel work goes."""
    if not {"--backend", "--scheduler"} & asked.keys():
        return contextlib.nullcontext()
    from autogas.runs.parallel import back_end

    return back_end(asked.get("--backend", "loky"), asked.get("--scheduler"))


INTERRUPTED, TERMINATED = 130, 143
"""What typer returns after Ctrl-C."""


def _terminate(*_: object) -> None:
    raise Terminated(TERMINATED)


def _nowhere() -> TextIO:
    """Stands for a stream that is closed."""
    return Path(os.devnull).open("w", encoding="utf-8")


def main() -> None:
    """Entry point; bad input becomes one line and exit code 2."""
    keep_freed_memory()
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where the terminal knows ASCII only
    warnings.filterwarnings("ignore", message=r".*tasks which were still being processed", module="joblib")
    signal.signal(signal.SIGTERM, _terminate)
    with one_line_errors():
        check_resume(sys.argv[1:])
        words = global_first(sys.argv[1:])
        asked = [pair for pair in itertools.pairwise(words) if pair[0] in GLOBAL]
        for option, reference in asked:  # before the verb's options are made, which may be a plug-in's
            if option == "--plugin":
                with guarded(f"--plugin {reference!r}"):
                    plugins.add(reference)
        with _workers(dict(asked)):
            code = app(words, standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    raise SystemExit(code or 0)
