"""``autogas list``: what there is."""

from __future__ import annotations

import fnmatch
from typing import Annotated

import typer

from autogas import catalogue as stored
from autogas.cli import parsing
from autogas.cli.printing import console_text, emit
from autogas.errors import unknown
from autogas.paths import EMBEDDED, benchmark_files

KINDS = ("spaces", "proxies", "primitives", "benchmarks")


def catalogue(
    what: Annotated[
        str | None,
        typer.Argument(help="spaces, proxies, primitives or benchmarks, or a pattern of names: 'eagan*'; default all."),
    ] = None,
    json: parsing.Json = False,
) -> None:
    """List spaces, proxies, primitives of the proxy language, and benchmarks, with what each is."""
    known = stored.catalogue()
    everything = {**known, "benchmarks": {name: _where(name) for name in benchmark_files()}}
    if what in KINDS:
        everything = {what: everything[what]}
    elif what is not None:
        found = {
            kind: {n: d for n, d in names.items() if fnmatch.fnmatch(n, what)} for kind, names in everything.items()
        }
        everything = {kind: names for kind, names in found.items() if names}
        if not everything:
            raise unknown("kind of thing", what, KINDS)
    emit({kind: list(names) for kind, names in everything.items()}, as_json=json, text=_text(everything))


def _where(name: str) -> str:
    return "ships with autogas" if benchmark_files()[name].parent == EMBEDDED else "imported or built here"


def _text(everything: stored.Catalogue) -> str:
    """A column of names and one of descriptions under each kind."""
    from rich.table import Table

    parts = []
    for kind, names in everything.items():
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, description in names.items():
            table.add_row(f"  {name}", description)
        parts.append(f"{kind}\n{console_text(table)}")
    return "\n".join(parts)
