"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from autogas.errors import InputError
from autogas.settings import known_device

LONGEST = 2000
"""Characters of a line of error, or of a value of a setting."""
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]
Out = Annotated[str | None, typer.Option("--out", help="Run folder to make.")]
Resume = Annotated[
    str | None, typer.Option("--resume", help="Run folder to continue, with the settings it was started with.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same result.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, …")]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        max=1024,
        help="Processes; the result does not depend on it (if not given: $AUTOGAS_JOBS, or one a core).",
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=2, max=65536, help="Samples of noise that a network is scored on.")
]
Recipe = Annotated[
    list[str] | None,
    typer.Option("--recipe", help="Setting of the training that differs, NAME=VALUE; may repeat: steps=600, …"),
]
SpaceSettings = Annotated[list[str] | None, typer.Option("--set", help="Setting of the space, NAME=VALUE; may repeat.")]


def checked_device(name: str) -> str:
    """The device's name, if this machine has it."""
    try:
        return known_device(name)
    except ValueError as error:
        raise InputError(f"--device {name!r}: {error}") from None


def parse_settings(pairs: list[str] | None, option: str = "--set") -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs; a value that is JSON becomes a number, a flag or null, anything else stays text."""
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{option} {shortened(pair)!r}: expected NAME=VALUE")
        if name in settings:
            raise InputError(f"{option} {shortened(pair)!r}: {shortened(name)} is given twice")
        if len(text) > LONGEST:
            raise InputError(f"{option} {shortened(pair)!r}: expected values of up to {LONGEST} characters")
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
            f"{what}: the input alone takes {4 * entries / 2**30:.3g} GiB, expected a quarter of the "
            f"{memory / 2**30:.3g} GiB of this machine"
        )


def shortened(text: str) -> str:
    """At most 60 characters of a text."""
    return text if len(text) <= 60 else text[:57] + "..."


def must_agree(name: str, value: object, flag: str, settings: Mapping[str, object]) -> None:
    """Raise ``InputError`` for a setting that an option of its own and another one say differently."""
    if value is not None and settings.get(name, value) != value:
        raise InputError(f"--{name} {value!r} and {flag} {name}={settings[name]}: expected one")
