"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sqlite3
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from rich import box
from rich.console import Console
from rich.table import Table

from autogas.errors import InputError, unknown

if TYPE_CHECKING:
    from autogas.runs import Run

# Typer carries click under changing names; the base of its usage errors is the same class in all of them.
USAGE_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
CORES = os.cpu_count() or 1
LONGEST = 2000
"""Characters of a line of error, or of a value of a setting."""
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]
Out = Annotated[str | None, typer.Option("--out", help="Run folder to make.")]
Resume = Annotated[
    str | None, typer.Option("--resume", help="Run folder to continue, with the settings it was started with.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same result.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, …")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, max=1024, help="Processes; the result does not depend on it.")]

BenchmarkName = Annotated[str, typer.Option("--benchmark", help="Name of a benchmark; see `autogas bench list`.")]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=2, max=65536, help="Samples of noise that a network is scored on.")
]
Test = Annotated[
    int | None, typer.Option("--test", help="Unseen architectures to report on; default 200, or all if fewer.")
]
Recipe = Annotated[
    list[str] | None,
    typer.Option("--recipe", help="Setting of the training that differs, NAME=VALUE; may repeat: steps=600, …"),
]
Segmentation = Annotated[
    str | None,
    typer.Option(help="Network for mean IoU on label maps: TorchScript or ONNX file, or model of torchvision."),
]
SegmentationWeights = Annotated[
    str | None, typer.Option(help="Weights of a model of torchvision; default: downloaded.")
]
SegmentationMap = Annotated[
    str | None, typer.Option(help="JSON of what that network takes (mean, std, size) and its class for each label.")
]
SpaceSettings = Annotated[list[str] | None, typer.Option("--set", help="Setting of the space, NAME=VALUE; may repeat.")]


def checked_device(name: str) -> str:
    """The device's name, if this machine has it."""
    import torch

    try:
        torch.zeros(1, device=name).item()  # a device without values, such as meta, is none to run on
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name!r}: {str(error).splitlines()[0]}") from None
    return name


def parse_settings(pairs: list[str] | None, option: str = "--set") -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs; a value that is JSON becomes a number, a flag or null, anything else stays text."""
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{option} {shortened(pair)!r}: accepted is NAME=VALUE")
        if name in settings:
            raise InputError(f"{option} {shortened(pair)!r}: {shortened(name)} is given twice")
        if len(text) > LONGEST:
            raise InputError(f"{option} {shortened(pair)!r}: accepted are values of up to {LONGEST} characters")
        try:
            settings[name] = json.loads(text, parse_constant=str)  # NaN and infinity are no JSON
        except json.JSONDecodeError:
            settings[name] = text
        except (ValueError, RecursionError) as error:
            raise InputError(f"{option} {shortened(pair)!r}: not a value ({str(error)[:80]})") from None
    return settings


def must_fit(entries: int, what: str) -> None:
    """Raise ``InputError`` for inputs of so many numbers that a quarter of this machine's memory does not hold them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 34
    if 4 * entries > memory / 4:
        raise InputError(
            f"{what}: the input alone takes {4 * entries / 2**30:.3g} GiB, accepted is a quarter of the "
            f"{memory / 2**30:.3g} GiB of this machine"
        )


def shortened(text: str) -> str:
    """At most 60 characters of a text."""
    return text if len(text) <= 60 else text[:57] + "..."


def printable(text: str) -> str:
    """A text without what a terminal obeys: control characters and marks that turn the writing around."""
    return "".join(_shown(c) for c in text)


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co"):
        return character
    return character.encode("unicode_escape").decode()


def emit(document: object, *, as_json: bool, text: str) -> None:
    """Print the outcome of a command: one JSON document, or text for people."""
    sys.stdout.write((json.dumps(document, indent=2, sort_keys=True) if as_json else printable(text)) + "\n")
    sys.stdout.flush()  # a reader that has gone away is met here


def emit_run(run: Run, *, as_json: bool) -> None:
    """Draw the report of a finished run and print its table and where it is."""
    from autogas.report import write_report

    page = write_report(run)
    results = run.results
    document = {"run": str(run.path), "report": str(page), **results}
    emit(document, as_json=as_json, text=_describe(results) + f"\n\nreport: {page}")


def _describe(results: dict[str, Any]) -> str:
    from autogas.report.words import fitness_name, measured

    table = Table(box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("scorer")
    for column in ("tau-b", "95 % interval", "tau-a", "Spearman", "Pearson", "within", "failed"):
        table.add_column(column, justify="right")
    for row in results["test"]:
        b = row["kendall_b"]
        cells = [number(b["value"]), f"{number(b['low'])} to {number(b['high'])}"]
        cells += [number(row[name] and row[name]["value"]) for name in ("kendall_a", "spearman", "pearson", "within")]
        table.add_row(row["name"], *cells, str(row["failed"]))
    text = io.StringIO()
    console = Console(file=text, width=110)
    if "winner" in results:
        winner = results["winner"]
        fitness = f"validation {fitness_name(results).replace('τ', 'tau')} {number(winner['validation_tau'])}"
        console.print(f"winner: {winner['proxy']}  ({fitness})", markup=False)
    count, benchmark = results["test"][0]["count"], results["benchmark"]
    console.print(f"{benchmark['name']}: {count} test architectures, quality {measured(benchmark)}")
    console.print(table)
    if "beyond_size" in results:
        console.print(_beyond(results["beyond_size"]))
    return text.getvalue().rstrip()


def _beyond(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What scorers know beyond size, and the quality and percentile of what they put first."""
    table = Table(box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("beyond size")
    for column in ("partial rho", "within MACs", "top-1", "percentile", "best of 10", "percentile", "random"):
        table.add_column(column, justify="right")
    for row in rows:
        first, ten = row["top"]["1"], row["top"]["10"]
        cells = [number(row["partial"]), number(row["within_macs"]), f"{first['quality']:.4g}"]
        cells += [f"{first['percentile']:.1f}", f"{ten['quality']:.4g}", f"{ten['percentile']:.1f}"]
        table.add_row(row["name"], *cells, f"{first['random']:.0f}, {ten['random']:.0f}")
    return table


def metric_lines(results: dict[str, Any]) -> list[str]:
    """A line for each metric; one that has no finite value is shown as what it is."""
    odd = results["protocol"].get("not_finite", {})
    return [f"{odd[name] if value is None else f'{value:.6g}'}\t{name}" for name, value in results["metrics"].items()]


def whole_number(option: str, text: str) -> int:
    """A whole number; raises ``InputError``."""
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{option} {shortened(text)}: accepted are a whole number and all") from None


def workflow_of(path: str) -> str:
    """Which workflow a run folder is of; raises ``InputError`` where it is none."""
    from autogas.runs import Run

    return Run.open(path).workflow


def number(value: float | None) -> str:
    """Three digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn bad input and unwritable disks into one line on stderr and exit code 2."""
    try:
        yield
    except ValidationError as error:
        _fail(_first_problem(error))
    except InputError as error:
        _fail(str(error))
    except BrokenPipeError:  # nobody reads on, which is no fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except sqlite3.OperationalError as error:
        _fail(f"cannot write the record of the run: {error}")
    except OSError as error:
        _fail(f"cannot read or write {error.filename or 'a file'}: {error.strerror or error}")
    except USAGE_ERROR as error:
        _fail(_with_value(error.format_message() if hasattr(error, "format_message") else str(error)))
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("autogas: interrupted; what was recorded is kept, continue with --resume\n")
        raise SystemExit(130) from None


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{where}: needed, and not given"
    if first["type"] == "extra_forbidden":
        names = {".".join(map(str, (*first["loc"][:-1], name))) for name in _fields(error.title, first["loc"][:-1])}
        return str(unknown("setting", where, names))
    return f"{where}={first.get('input')!r}: {first['msg']}"


def _fields(title: str, parts: Sequence[int | str]) -> Iterable[str]:
    """Names that a part of a model of settings accepts, as far as it is made of models."""
    models = [BaseModel]
    for model in models:  # grows while it is read
        models += model.__subclasses__()
    found: Any = next((model for model in models if model.__name__ == title), None)
    for part in parts:
        field = getattr(found, "model_fields", {}).get(part)
        found = field and field.annotation
    return getattr(found, "model_fields", ())


def _with_value(message: str) -> str:
    """Typer's message on an option, with what was given for it."""
    option = re.search(r"'(--[\w-]+)'", message)
    words = [part for word in sys.argv for part in word.split("=", 1)]
    if option is None or option[1] not in words[:-1]:
        return message
    value = words[words.index(option[1]) + 1]
    return message if repr(value) in message else f"{message} (given {value!r})"


def _fail(message: str) -> None:
    if not message:  # the help was shown instead of an error
        raise SystemExit(2)
    line = printable(" ".join(message.split()))
    sys.stderr.write("autogas: " + (line if len(line) <= LONGEST else line[: LONGEST - 3] + "...") + "\n")
    raise SystemExit(2)
