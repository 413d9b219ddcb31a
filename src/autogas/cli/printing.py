"""What a verb prints: one JSON document, or tables for people."""

from __future__ import annotations

import io
import json
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from autogas.runs import Run


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


def console(file: io.StringIO) -> Console:
    """Writes tables as wide as the terminal, or 110 columns where there is none; names fold rather than vanish."""
    width = shutil.get_terminal_size((110, 24)).columns if sys.stdout.isatty() else 110
    return Console(file=file, width=max(40, min(110, width)))


def _describe(results: dict[str, Any]) -> str:
    from autogas.report.words import fitness_name, measured

    table = Table(box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("scorer", overflow="fold")
    for column in ("tau-b", "95 % interval", "tau-a", "Spearman", "Pearson", "within", "failed"):
        table.add_column(column, justify="right")
    for row in results["test"]:
        b = row["kendall_b"]
        cells = [number(b["value"]), f"{number(b['low'])} to {number(b['high'])}"]
        cells += [number(row[name] and row[name]["value"]) for name in ("kendall_a", "spearman", "pearson", "within")]
        table.add_row(row["name"], *cells, str(row["failed"]))
    text = io.StringIO()
    out = console(text)
    if "winner" in results:
        winner = results["winner"]
        fitness = f"validation {fitness_name(results).replace('τ', 'tau')} {number(winner['validation_tau'])}"
        out.print(f"winner: {winner['proxy']}  ({fitness})", markup=False)
    count, benchmark = results["test"][0]["count"], results["benchmark"]
    out.print(f"{benchmark['name']}: {count} test architectures, quality {measured(benchmark)}")
    out.print(table)
    if "beyond_size" in results:
        out.print(_beyond(results["beyond_size"]))
    return text.getvalue().rstrip()


def _beyond(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What scorers know beyond size, and the quality and percentile of what they put first."""
    table = Table(box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("beyond size", overflow="fold")
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


def number(value: float | None) -> str:
    """Three digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"
