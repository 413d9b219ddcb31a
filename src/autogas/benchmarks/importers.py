"""Read benchmarks that others published: TransNAS-Bench-101's own file, NAS-Bench-Suite-Zero's JSON, CSV."""

from __future__ import annotations

import ast
import functools
import json
import math
import pickle
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from autogas.benchmarks.store import checked_name, save_benchmark
from autogas.errors import TORCH_LOAD_ERRORS, InputError
from autogas.spaces import Space, get_space

MAX_REASONS = 3
MEMBERS = ("transnas-macro", "transnas-micro")
TNB_METRIC = "test_ssim"
ZC_METRIC = "val_accuracy"


@dataclass
class Imported:
    """What an import found for one space.

    Attributes:
        name: benchmark that was stored.
        rows: one dict an architecture: ``arch`` and metric columns.
        skipped: reason to the entries that were left out for it.
        metric: the column that is quality.
    """

    name: str
    metric: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, entry: str, reason: str) -> None:
        """Leave an entry out."""
        self.skipped.setdefault(reason, []).append(entry)

    @property
    def total(self) -> int:
        """Entries seen."""
        return len(self.rows) + sum(map(len, self.skipped.values()))

    def describe(self) -> str:
        """One line for people."""
        text = f"{self.name}: {len(self.rows)} architectures, quality {self.metric}"
        for reason, entries in self.skipped.items():
            shown = ", ".join(entries[:MAX_REASONS]) + (", …" if len(entries) > MAX_REASONS else "")
            text += f"; skipped {len(entries)} ({reason}): {shown}"
        return text


def import_benchmark(
    path: str | Path,
    *,
    name: str | None = None,
    space: str | None = None,
    metric: str | None = None,
    task: str = "autoencoder",
    higher_is_better: bool = True,
    allow_pickle: bool = False,
) -> list[Imported]:
    """Read a file by its ending, check every architecture, and store what is valid.

    Args:
        path: ``.pth`` (TransNAS-Bench-101), ``.json`` (NAS-Bench-Suite-Zero) or ``.csv`` (column ``arch``).
        name: name of the benchmark; default the space's name.
        space: name of the space; default what the file says (or ``transnas-macro`` / ``-micro`` by the strings).
        metric: column that is quality; default the file format's (a CSV needs it when it has several).
        task: which task of a file with several.
        higher_is_better: the metric's direction.
        allow_pickle: allow full unpickling of a ``.pth`` that safe loading refuses. A pickle can run any code: only for
            a file that you trust.

    Raises:
        InputError: a file that cannot be read, is of another space, or lacks the metric; nothing is stored then.
    """
    path = Path(path)
    if space is not None:
        get_space(space)
    if name is not None:
        checked_name(name)
    if not path.is_file():
        raise InputError(f"benchmark file {str(path)!r} does not exist")
    readers: dict[str, Callable[[], list[Imported]]] = {
        ".pth": lambda: _read_pth(path, task, metric or TNB_METRIC, allow_pickle),
        ".json": lambda: [read_suite_zero(path, space, task, metric or ZC_METRIC)],
        ".csv": lambda: _read_csv(path, space, metric),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"benchmark file {str(path)!r}: accepted endings are {', '.join(readers)}")
    found = [part for part in reader() if space is None or part.name == space]
    read, total = sum(len(part.rows) for part in found), sum(part.total for part in found)
    if not total:
        raise InputError(f"{str(path)!r} has no architecture of space {space}; another space?")
    if 2 * read <= total:
        reasons = "; ".join(part.describe() for part in found)
        raise InputError(
            f"{str(path)!r}: most of it ({total - read} of {total}) is not usable; another space? ({reasons})"
        )
    stored = [part for part in found if part.rows]
    for part in stored:
        member = part.name
        if name is not None:
            part.name = name if len(stored) == 1 else f"{name}-{member.rpartition('-')[2]}"
        save_benchmark(
            part.name,
            pd.DataFrame(part.rows),
            space=member,
            space_settings={},
            metric=part.metric,
            higher_is_better=higher_is_better,
            provenance={
                "imported_from": path.name,
                "task": task,
                "skipped": {r: len(e) for r, e in part.skipped.items()},
            },
        )
    return stored


def _collect(space_name: str, metric: str, entries: Iterable[tuple[str, Callable[[], dict[str, Any]]]]) -> Imported:
    """Check each entry: the string must be of the space, once, and the metric must be a finite number."""
    space = get_space(space_name)
    out = Imported(space_name, metric)
    seen: set[Any] = set()
    for text, values in entries:
        arch = _parse(space, text)
        if arch is None:
            out.skip(text, f"not an architecture of {space_name}")
            continue
        if arch in seen:
            out.skip(text, "occurs twice")
            continue
        try:
            row = values()
            quality = float(row[metric])
        except (KeyError, IndexError, TypeError, ValueError):
            out.skip(text, f"no number for {metric}")
            continue
        if not abs(quality) < float("inf"):
            out.skip(text, f"{metric} is not finite")
            continue
        seen.add(arch)
        out.rows.append({"arch": str(arch), **row})
    return out


def _parse(space: Space[Any], text: str) -> Any:
    try:
        return space.parse(text)
    except InputError:
        return None


def _read_pth(path: Path, task: str, metric: str, allow_pickle: bool) -> list[Imported]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=not allow_pickle)
    except pickle.UnpicklingError as error:
        if re.search("Unsupported (global|class)", str(error), re.IGNORECASE) and not allow_pickle:
            raise InputError(
                f"{str(path)!r} needs full unpickling, which can run any code in the file; if you trust it, allow it "
                "with --allow-pickle"
            ) from None
        raise InputError(f"{str(path)!r} is not a complete torch file ({_first_line(error)})") from None
    except TORCH_LOAD_ERRORS as error:
        raise InputError(f"{str(path)!r} is not a complete torch file ({_first_line(error)})") from None
    data = content.get("data") if isinstance(content, dict) else None
    data = data if isinstance(data, dict) else {}
    parts = [part for part in ("macro", "micro") if isinstance(data.get(part), dict)]
    if not parts:
        raise InputError(f"{str(path)!r} is not TransNAS-Bench-101: it has no data for macro or micro")
    return [
        _collect(
            f"transnas-{part}", metric, ((text, _best_epoch(entry, task, metric)) for text, entry in data[part].items())
        )
        for part in parts
    ]


def _best_epoch(entry: Any, task: str, metric: str) -> Callable[[], dict[str, Any]]:
    """The metrics of the epoch in which ``metric`` was best, as the paper takes them, and the final one's value."""

    def read() -> dict[str, Any]:
        curves = {key: values for key, values in entry[task]["metrics"].items() if isinstance(values, list)}
        quality = [-math.inf if math.isnan(value) else value for value in map(float, curves[metric])]
        best = max(range(len(quality)), key=quality.__getitem__)
        row = {key: float(values[best]) for key, values in curves.items() if len(values) > best}
        return {**row, f"{metric}_final": float(curves[metric][-1]), "best_epoch": best}

    return read


def read_suite_zero(
    path: Path, space: str | None = None, task: str = "autoencoder", metric: str = ZC_METRIC
) -> Imported:
    """NAS-Bench-Suite-Zero's JSON: quality, and each published score as ``<name>_score`` and ``<name>_seconds``."""
    try:
        content = json.loads(path.read_text())
        entries = dict(content[task].items())
        keys = [ast.literal_eval(key) for key in entries]
    except KeyError:
        raise InputError(f"{str(path)!r} has no task {task!r}: it has {', '.join(map(str, content))}") from None
    except (OSError, ValueError, SyntaxError, TypeError, AttributeError) as error:
        raise InputError(f"{str(path)!r} is not a NAS-Bench-Suite-Zero file ({_first_line(error)})") from None

    def read_as(member: str) -> Imported:
        texts = [_from_digits(key, member) or text for key, text in zip(keys, entries, strict=True)]
        readers = [functools.partial(_flatten, values) for values in entries.values()]
        return _collect(member, metric, zip(texts, readers, strict=True))

    # Both spaces are written as six digits; the right one is that in which most of them mean something.
    members = [space] if space else MEMBERS
    return max(map(read_as, members), key=lambda part: len(part.rows))


def _from_digits(key: Any, space: str) -> str | None:
    """The benchmark string of NASLib's six-digit tuple."""
    if not (isinstance(key, tuple) and len(key) == 6 and all(isinstance(d, int) for d in key)):
        return None
    digits = "".join(map(str, key))
    if space == "transnas-macro":
        return f"64-{digits.replace('0', '')}-basic"
    return f"64-41414-{digits[0]}_{digits[1:3]}_{digits[3:]}"


def _flatten(values: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {ZC_METRIC: float(values[ZC_METRIC])}
    for key, value in values.items():
        if isinstance(value, dict) and "score" in value:
            row[f"{key}_score"], row[f"{key}_seconds"] = float(value["score"]), float(value["time"])
    return row


def _read_csv(path: Path, space: str | None, metric: str | None) -> list[Imported]:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} is not a readable CSV ({_first_line(error)})") from None
    if "arch" not in table:
        raise InputError(f"{str(path)!r} has no column 'arch': it has {', '.join(map(str, table))}")
    numeric = [c for c in table.columns if c != "arch" and pd.api.types.is_numeric_dtype(table[c])]
    if metric is None and len(numeric) != 1:
        raise InputError(
            f"{str(path)!r}: say which column is quality with --metric; it has {', '.join(numeric) or 'none'}"
        )
    metric = metric or numeric[0]
    if metric not in table:
        raise InputError(f"{str(path)!r} has no metric column {metric!r}: it has {', '.join(numeric) or 'none'}")
    texts = list(map(str, table["arch"]))
    records = table.drop(columns="arch").to_dict("records")
    members = list(MEMBERS) if space is None or space in MEMBERS else [space]
    parsers = {member: get_space(member) for member in members}
    # An architecture that no space holds is reported with the space that was asked for, else with the first.
    home_of = [next((m for m in members if parsers[m].holds(text)), space or members[0]) for text in texts]
    return [
        _collect(
            member,
            metric,
            (
                (text, functools.partial(dict, record))
                for text, record, owner in zip(texts, records, home_of, strict=True)
                if owner == member
            ),
        )
        for member in members
    ]


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
