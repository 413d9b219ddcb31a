"""What an import takes from a file: each training checked, and what is left out with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from autogas.benchmarks.tables import some
from autogas.errors import InputError
from autogas.spaces import Space, get_space

MAX_REASONS = 3
NO_ENTRY = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
"""What reading a number out of nested lists and dicts raises where they are of another form."""


@dataclass
class Imported:
    """What an import found for one space.

    Attributes:
        name: benchmark that was stored.
        rows: one dict a training: ``arch``, metric columns, and ``seed`` where the file tells seeds apart.
        skipped: reason to the entries that were left out for it.
        metric: the column that is quality.
    """

    name: str
    metric: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, entry: str, reason: str) -> None:
        """Leave an entry out."""
        self.skipped.setdefault(reason, []).append(some([entry]))

    @property
    def architectures(self) -> int:
        """How many were read."""
        return len({row["arch"] for row in self.rows})

    @property
    def total(self) -> int:
        """Entries seen."""
        return len(self.rows) + sum(map(len, self.skipped.values()))

    def describe(self) -> str:
        """One line for people."""
        trainings = f" in {len(self.rows)} trainings" if len(self.rows) > self.architectures else ""
        text = f"{self.name}: {self.architectures} architectures{trainings}, quality {self.metric}"
        for reason, entries in self.skipped.items():
            shown = ", ".join(entries[:MAX_REASONS]) + (", …" if len(entries) > MAX_REASONS else "")
            text += f"; skipped {len(entries)} ({reason}): {shown}"
        return text


def collect(space_name: str, metric: str, entries: Iterable[tuple[Any, Callable[[], dict[str, Any]]]]) -> Imported:
    """Check each entry: the string must be of the space, once with each seed, and the metric be a finite number.

    Args:
        space_name: where architectures come from.
        metric: the key of a row that is quality.
        entries: an architecture as the file writes it, and what reads its row; that may raise any of ``NO_ENTRY``.
    """
    space = get_space(space_name)
    out = Imported(space_name, metric)
    seen: dict[Any, float] = {}
    for text, values in entries:
        row = _checked(space, metric, text, values, seen)
        if isinstance(row, str):
            out.skip(text if isinstance(text, str) else type(text).__name__, row)
        else:
            out.rows.append(row)
    return out


def _checked(
    space: Space[Any], metric: str, text: Any, values: Callable[[], dict[str, Any]], seen: dict[Any, float]
) -> dict[str, Any] | str:
    """The row of one training, or why there is none; ``seen`` is the quality of each architecture and seed so far."""
    arch = _parse(space, text)
    if arch is None:
        return f"not an architecture of {space.name}"
    try:
        row = values()
        quality = number(row[metric])
    except NO_ENTRY:
        return f"no number for {metric}"
    if not math.isfinite(quality):
        return f"{metric} is not finite"
    seed = row.get("seed")
    if "seed" in row and not (isinstance(seed, int | float) and abs(seed) < 2**53 and int(seed) == seed):
        return "no whole number for seed"
    if (arch, seed) in seen:
        hint = "" if "seed" in row else "; a column 'seed' tells trainings apart"
        return "occurs twice" if seen[arch, seed] == quality else f"occurs again with another {metric}{hint}"
    seen[arch, seed] = quality
    return {"arch": str(arch), **row, metric: quality} | ({} if seed is None else {"seed": int(seed)})


def _parse(space: Space[Any], text: Any) -> Any:
    try:
        return space.parse(text) if isinstance(text, str) else None
    except InputError:
        return None


def number(value: Any) -> float:
    """What is a number, as one; texts and flags are none."""
    if isinstance(value, str | bytes | bool):
        raise TypeError
    return float(value)


def number_or_nan(value: Any) -> float:
    """The same of a value that may be missing."""
    try:
        return number(value)
    except NO_ENTRY:
        return math.nan
