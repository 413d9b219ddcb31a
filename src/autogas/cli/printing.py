"""What a verb prints: one JSON document, or tables for people."""

from __future__ import annotations

import io
import json
import math
import shutil
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
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
    """Draw the report of a finished run and print what it found and where it is."""
    from autogas.report import write_report

    page = write_report(run)
    document = {"run": str(run.path), "report": str(page), **run.results}
    emit(document, as_json=as_json, text=f"{SHOWN[run.workflow](run)}\n\nreport: {page}")


def console_text(table: Table) -> str:
    """A table as text."""
    text = io.StringIO()
    console(text).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


def console(file: io.StringIO) -> Console:
    """Writes tables as wide as the terminal, or 110 columns where there is none; names fold rather than vanish."""
    width = shutil.get_terminal_size((110, 24)).columns if sys.stdout.isatty() else 110
    return Console(file=file, width=max(40, min(110, width)), markup=False, emoji=False, highlight=False)


def describe_ranking(results: Mapping[str, Any]) -> str:
    """The winner, if there is one, and the correlations of every scorer."""
    from autogas.report.phrases import fitness_name, measured

    head = ("scorer", "tau-b", "95 % interval", "tau-a", "Spearman", "Pearson", "within", "failed")
    lines = []
    for row in results["test"]:
        b = row["kendall_b"]
        cells = [number(b["value"]), f"{number(b['low'])} to {number(b['high'])}"]
        cells += [number(row[name] and row[name]["value"]) for name in ("kendall_a", "spearman", "pearson", "within")]
        lines.append([row["name"], *cells, str(row["failed"])])
    text = io.StringIO()
    out = console(text)
    if "winner" in results:
        winner = results["winner"]
        fitness = f"validation {fitness_name(results).replace('τ', 'tau')} {number(winner['validation_tau'])}"
        out.print(f"winner: {winner['proxy']}  ({fitness})")
    count, benchmark = results["test"][0]["count"], results["benchmark"]
    out.print(f"{benchmark['name']}: {count} test architectures, quality {measured(benchmark)}")
    out.print(fitted(head, lines, out.width))
    if "beyond_size" in results:
        out.print(_beyond(results["beyond_size"], out.width))
    return text.getvalue().rstrip()


def _beyond(rows: Sequence[Mapping[str, Any]], width: int) -> Table:
    """What scorers know beyond size, and the quality and percentile of what they put first."""
    centile = "centile (usual)"
    head = ("beyond size", "partial", "within MACs", "top-1", centile, "best of 10", centile, "random")
    lines = []
    for row in rows:
        first, ten = row["top"]["1"], row["top"]["10"]
        cells = [number(row["partial"]), number(row["within_macs"])]
        for top in (first, ten):
            cells += [f"{top['quality']:.4g}", f"{top['percentile']:.1f} ({top['usual']:.1f})"]
        lines.append([row["name"], *cells, f"{first['random']:.0f}, {ten['random']:.0f}"])
    return fitted(head, lines, width)


LEAST_TEXT = 14
"""Characters that a column of text keeps, folded, before columns of numbers give way."""


def fitted(
    head: Sequence[str], lines: Sequence[Sequence[str]], width: int, *, texts: int = 1, title: str | None = None
) -> Table:
    """A table no wider than the terminal: texts fold, numbers stay whole, and the last columns give way.

    Args:
        head: names of the columns, texts first, then numbers by importance.
        lines: their cells.
        width: of the terminal.
        texts: how many of the columns are texts.
        title: of the table.
    """
    widths = [max(len(cell) for cell in column) for column in zip(head, *lines, strict=True)]
    shown = len(head)
    room = width - sum(2 + min(LEAST_TEXT, each) for each in widths[:texts])
    while shown > texts + 1 and sum(2 + each for each in widths[texts:shown]) > room:
        shown -= 1
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for place, name in enumerate(head[:shown]):
        if place < texts:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for cells in lines:
        table.add_row(*cells[:shown])
    if shown < len(head):
        table.caption = f"not shown here, in --json: {', '.join(head[shown:])}"
    return table


def metric_lines(results: dict[str, Any]) -> list[str]:
    """A line for each metric; one that has no finite value is shown as what it is."""
    odd = results["protocol"].get("not_finite", {})
    return [f"{odd[name] if value is None else f'{value:.6g}'}\t{name}" for name, value in results["metrics"].items()]


def number(value: float | None) -> str:
    """Three digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def shown_across(results: Mapping[str, Any]) -> str:
    """The winner, and Kendall's tau-a of every scorer on the test architectures of every benchmark."""
    lines = [f"winner: {results['winner']['proxy']}", ""]
    for name, rows in results["test"].items():
        lines.append(f"{name} (test architectures: {rows[0]['count']})")
        for row in sorted(rows, key=lambda row: -(row["kendall_a"]["value"] or 0.0)):
            a = row["kendall_a"]
            lines.append(f"  {row['name']:<20} tau-a {number(a['value'])} [{number(a['low'])}, {number(a['high'])}]")
        lines += [
            f"  the discovered proxy's tau-a {word}fell by {number(results['fall'][key])} from validation to test"
            for key, word in ((name, ""), (f"{name}:within", "within equal counts "))
            if key in results["fall"]
        ]
        if len(results["fall"]) > len(results["test"]) and f"{name}:within" not in results["fall"]:
            lines.append("  hardly any of its architectures have equal counts: no order within these counted")
    if "front" in results:
        lines += ["", "no other candidate beats these on every benchmark (tau-a where they were chosen):"]
        for row in results["front"]:
            taus = "  ".join(f"{name} {row[name]:.3f}" for name in results["reachable"])
            lines.append(f"  {taus}  {row['proxy']}")
    return "\n".join(lines)


def shown_search(results: dict[str, Any], latency: dict[str, float]) -> str:
    """The winner beside its controls, and what size explains, for people."""
    head = ("", "architecture", "score", "parameters", "MACs", "ms")
    lines = []
    for row in results["controls"]:
        score = "-" if row["score"] is None else f"{row['score']:.6g}"
        cells = [row["name"], row["arch"], score, f"{row['params']:,}", f"{row['macs']:,}"]
        lines.append([*cells, f"{latency.get(row['name'], math.nan):.1f}"])
    text = io.StringIO()
    out = console(text)
    out.print(
        f"{results['evaluated']} architectures of {results['asked']} asked for, {results['failed']} without a score"
    )
    out.print(fitted(head, lines, out.width, texts=2))
    sample = results["sample"]
    if sample["best"] is not None:
        out.print(
            f"{sample['count']} random ones ({sample['failed']} without a score): best {sample['best']:.6g},"
            f" median {sample['median']:.6g}"
        )
    for name, found in sample["spearman"].items():
        if found is not None:
            out.print(f"Spearman of score with {name} over the random ones: {interval(found)}")
    if sample["agreement"] and sample["agreement"]["spearman"]:
        agreement = sample["agreement"]
        found = interval(agreement["spearman"])
        out.print(f"Spearman of score here with score at full size, {agreement['count']} random ones: {found}")
    return text.getvalue().rstrip()


def interval(found: dict[str, float | None]) -> str:
    """A value with its 95 % interval."""
    return f"{number(found['value'])} [{number(found['low'])}, {number(found['high'])}]"


def _setting_line(line: Mapping[str, Any]) -> list[str]:
    between = f"{line['low']:.4g} to {line['high']:.4g}"
    return [
        line["setting"],
        f"{line['score']:.6g}",
        f"{line['quality']:.4g}",
        between,
        f"{line['percentile']:.1f}",
        line["paper"],
    ]


def shown_tables(results: Mapping[str, Any]) -> str:
    """Reproduced tables, ours beside the paper's, and the claims."""
    text = io.StringIO()
    out = console(text)
    for table in results["tables"]:
        if "lines" in table:
            found = [_setting_line(line) for line in table["lines"]]
            columns = ("setting", "score", "quality", "95 % interval", "percentile", "paper, on CIFAR-10")
            out.print(fitted(columns, found, out.width, title=table["title"]))
            continue
        head = ("method", "tau-b", "95 % interval", "paper", "Spearman", "paper", "Pearson", "paper")
        lines = []
        for row in table["rows"]:
            tau = row["ours"]["kendall"]
            between = "-" if tau["low"] is None else f"{number(tau['low'])} to {number(tau['high'])}"
            cells = [number(tau["value"]), between]
            cells.append(number(row["paper"]["kendall"]))
            for measure in ("spearman", "pearson"):
                ours = row["ours"][measure]
                cells += [number(ours and ours["value"]), number(row["paper"][measure])]
            lines.append([row["method"], *cells])
        out.print(fitted(head, lines, out.width, title=table["title"]))
    for claim in results["claims"]:
        verdict = "held" if claim["held"] else "not held"
        out.print(f"{claim['benchmark']}, {claim['claim']}: {verdict}; {claim['test']}")
    return text.getvalue().rstrip()


SHOWN: dict[str, Callable[[Run], str]] = {
    "discover": lambda run: describe_ranking(run.results),
    "rank": lambda run: describe_ranking(run.results),
    "discover-across": lambda run: shown_across(run.results),
    "search": lambda run: shown_search(run.results, run.costs.get("latency_ms", {})),
    "reproduce": lambda run: shown_tables(run.results),
    "train": lambda run: "\n".join(metric_lines(run.results)),
    "evaluate": lambda run: "\n".join(metric_lines(run.results)),
    "build": lambda run: f"{run.results['trained']} trainings, {len(run.results['failed'])} failed",
}
"""What a run of each workflow says when it ends."""
