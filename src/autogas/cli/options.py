"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from autogas.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]
Out = Annotated[str | None, typer.Option("--out", help="Run folder to make.")]
Resume = Annotated[str | None, typer.Option("--resume", help="Run folder to continue, with the settings it was started with.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same result.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, …")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Processes; the result does not depend on it.")]

logs = Console(stderr=True, highlight=False)


def parse_settings(pairs: list[str] | None) -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs; a value that is JSON becomes a number, a flag or null, anything else stays text."""
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--set {pair!r}: accepted is NAME=VALUE")
        try:
            settings[name] = json.loads(text)
        except json.JSONDecodeError:
            settings[name] = text
    return settings


def emit(document: object, *, as_json: bool, text: str) -> None:
    """Print the outcome of a command: one JSON document, or text for people."""
    sys.stdout.write((json.dumps(document, indent=2, sort_keys=True) if as_json else text) + "\n")


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn bad input and unwritable disks into one line on stderr and exit code 2."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        _fail(f"{where}={first.get('input')!r}: {first['msg']}")
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"cannot read or write {error.filename or 'a file'}: {error.strerror or error}")


def _fail(message: str) -> None:
    sys.stderr.write("autogas: " + " ".join(message.split()) + "\n")
    raise SystemExit(2)
