"""The reference page of the command line, made from the commands themselves: ``python -m autogas.cli.reference``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from autogas.cli.main import VERBS, app


def page() -> str:
    """The page in Markdown."""
    lines = ["# Command line", "", "Made by `python -m autogas.cli.reference` from the commands themselves.", ""]
    lines += [f"`{name}` may stand before or after every verb." for name in ("--plugin", "--backend", "--scheduler")]
    group: Any = typer.main.get_command(app)
    for name, (_, about) in VERBS.items():
        if about:
            lines += _command(group.commands[name], f"autogas {name}")
    return "\n".join(lines).rstrip() + "\n"


def _command(command: Any, name: str) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner is not None:
        for part in inner:
            yield from _command(inner[part], f"{name} {part}")
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    words = " ".join(f"[{p.name.upper()}]" for p in arguments)
    yield from ("", f"## {name}", "", (command.help or "").strip(), "", f"`{name} {words}`".replace(" `", "`"), "")
    yield from ("| | |", "|---|---|")
    for parameter in [*arguments, *options]:
        names = parameter.name.upper() if parameter in arguments else ", ".join(parameter.opts)
        default = parameter.default
        shown = f" Default: {default}." if parameter.name in SHOWN_DEFAULTS and default not in (None, False) else ""
        yield f"| `{names}` | {(parameter.help or '').replace('|', '/')}{shown} |"


SHOWN_DEFAULTS = ("format", "threads", "batch_size", "shape", "space")
"""Options of verbs without settings, whose help does not say what they are if they are not given."""


if __name__ == "__main__":
    sys.stdout.write(page())
