"""Numbers and sentences of the report, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from autogas.proxies.named import PAPERS_PROXY, TRIVIAL
from autogas.proxies.scorer import SCORERS

Row = Mapping[str, Any]
DASH = "–"


def signed(value: float | None, digits: int = 3) -> str:
    """A number with a true minus sign; an en dash where there is none.

    Examples:
        >>> signed(-0.19265), signed(None)
        ('−0.193', '–')
    """
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def interval(estimate: Mapping[str, float | None] | None) -> str:
    """The interval of an estimate; empty where there is none.

    Examples:
        >>> interval({"value": 0.5, "low": -0.1, "high": 0.9})
        '−0.100 to 0.900'
    """
    if estimate is None or estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"{signed(estimate['low'])} to {signed(estimate['high'])}"


def with_interval(estimate: Mapping[str, float | None]) -> str:
    """A value with its interval: ``0.5 (0.4 to 0.6)``."""
    if estimate["value"] is None:
        return "undefined (all its scores are equal)"
    between = interval(estimate)
    return signed(estimate["value"]) + (f" ({between})" if between else "")


def fitness_name(results: Mapping[str, Any]) -> str:
    """Which of Kendall's coefficients candidates of a discovery were judged by."""
    return {"kendall_a": "τ-a", "kendall_b": "τ-b"}[results.get("fitness", "kendall_b")]


def unbroken(text: str) -> Markup:
    """A sentence, escaped, whose statistics are not broken over lines at their hyphen."""
    kept = Markup('<span class="kept">{}</span>')
    return Markup(escape(text).replace("τ-b", kept.format("τ-b")).replace("τ-a", kept.format("τ-a")))


def duration(seconds: float | None) -> str:
    """Seconds for people.

    Examples:
        >>> duration(0.04), duration(44.1), duration(9000)
        ('0.04 s', '44.1 s', '2 h 30 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def row_of(table: Sequence[Row], name: str) -> Row | None:
    """The row of one scorer."""
    return next((row for row in table if row["name"] == name), None)


def best_trivial(table: Sequence[Row]) -> Row | None:
    """The trivial scorer with the best tau-b."""
    rows = [row for row in table if row["name"] in TRIVIAL and row["kendall_b"]["value"] is not None]
    return max(rows, key=lambda row: row["kendall_b"]["value"], default=None)


def described(name: str) -> str:
    """A scorer's name, with what it is where the name does not say it."""
    return f"{name} ({SCORERS[name].doc})" if name in SCORERS else name


def measured(benchmark: Row) -> str:
    """The metric of a benchmark for people, who take higher for better unless they are told."""
    metric = str(benchmark["metric"])
    return metric if benchmark["higher_is_better"] else f"{metric} (lower is better)"


def headline(table: Sequence[Row], benchmark: Row, name: str, subject: str, where: str) -> str:
    """One sentence: how well a scorer ranks, beside the paper's proxy and the best trivial scorer."""
    row = row_of(table, name)
    if row is None:
        return ""
    text = (
        f"On {row['count']} architectures of {benchmark['name']}{where}, {subject} ranks {measured(benchmark)} with "
        f"Kendall’s τ-b {with_interval(row['kendall_b'])}"
    )
    paper, trivial = row_of(table, PAPERS_PROXY), best_trivial(table)
    beside = []
    if paper is not None and name != PAPERS_PROXY:
        beside.append(f"the paper’s proxy reaches {with_interval(paper['kendall_b'])}")
    if trivial is not None and name != trivial["name"]:
        beside.append(f"the best trivial scorer, {described(trivial['name'])}, {with_interval(trivial['kendall_b'])}")
    return text + ("; " + " and ".join(beside) if beside else "") + "."


def against_trivial(table: Sequence[Row], name: str, subject: str) -> list[str]:
    """What a sceptic asks: is a scorer that runs no network better, and what is left at equal trivial score."""
    row, trivial = row_of(table, name), best_trivial(table)
    if row is None or trivial is None or name == trivial["name"]:
        return []
    return [_verdict(row, trivial, subject), *_within(row, subject)]


def _verdict(row: Row, trivial: Row, subject: str) -> str:
    mine, other = row["kendall_b"], trivial["kendall_b"]
    if mine["value"] is None:
        return f"{subject[:1].upper()}{subject[1:]} has no ranking of its own here: all its scores are equal."
    if mine["value"] == other["value"]:
        return f"A trivial scorer is as good as {subject}: {trivial['name']}, which runs no network, has the same τ-b."
    ahead = mine["value"] > other["value"]
    ends = (mine["low"], mine["high"], other["low"], other["high"])
    apart = None not in ends and (mine["low"] > other["high"] or mine["high"] < other["low"])
    overlap = "and the intervals are apart" if apart else "but the intervals overlap"
    if ahead:
        text = f"No trivial scorer ranks better by τ-b: {subject} is ahead of {trivial['name']}, {overlap}."
    else:
        other_name = f"{trivial['name']}, which runs no network,"
        text = f"A trivial scorer is better than {subject}: {other_name} has the higher τ-b, {overlap}."
    mine_a, other_a = row["kendall_a"]["value"], trivial["kendall_a"]["value"]
    if mine_a is not None and other_a is not None and (mine_a > other_a) != ahead:
        leader = trivial["name"] if ahead else subject
        numbers = f"{signed(max(mine_a, other_a))} against {signed(min(mine_a, other_a))}"
        text += f" By τ-a, which gives no credit for ties, {leader} is ahead ({numbers})."
    return text


def against_random(table: Sequence[Row]) -> list[str]:
    """Whether evolution did better than random search on the test architectures."""
    row, control = row_of(table, "discovered"), row_of(table, "random search")
    if row is None or control is None:
        return []
    mine, other = row["kendall_b"], control["kendall_b"]
    if mine["value"] is None or other["value"] is None:
        return []
    if row["expression"] == control["expression"]:
        return ["Random search found the same expression."]
    if mine["value"] > other["value"]:
        return [f"Random search over as many candidates found a proxy of lower τ-b, {with_interval(other)}."]
    return [f"Random search over as many candidates found a proxy that does as well or better, {with_interval(other)}."]


def _within(row: Row, subject: str) -> list[str]:
    within = row["within"]
    if within is None or within["value"] is None:
        return []
    text = f"Among architectures of equal trivial score, the τ-b of {subject} is {with_interval(within)}"
    if None in (within["low"], within["high"]):
        return [text + "."]
    if within["low"] <= 0 <= within["high"]:
        return [text + ": the interval holds 0, so it may know nothing beyond the trivial scores."]
    return [
        text + (": it knows something beyond them." if within["low"] > 0 else ": there it ranks the wrong way round.")
    ]
