"""Read benchmarks that others published: TransNAS-Bench-101's own file, NAS-Bench-Suite-Zero's JSON, CSV."""

from __future__ import annotations

import functools
import json
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from autogas.benchmarks.imported import Imported, collect, number, number_or_nan
from autogas.benchmarks.store import check_replaceable, checked_name, save_benchmark
from autogas.benchmarks.tables import find_column, read_text_table, some
from autogas.errors import TORCH_LOAD_ERRORS, InputError
from autogas.files import check_zip_size
from autogas.spaces import get_space

MEMBERS = ("transnas-macro", "transnas-micro")
AUTOENCODER = "autoencoder"
TNB_METRIC = "test_ssim"
ZC_METRIC = "val_accuracy"


def import_benchmark(
    path: str | Path,
    *,
    name: str | None = None,
    space: str | None = None,
    metric: str | None = None,
    task: str = AUTOENCODER,
    higher_is_better: bool = True,
    allow_pickle: bool = False,
    replace: bool = False,
) -> list[Imported]:
    """Read a file by its ending, check every architecture, and store what is valid.

    Args:
        path: ``.pth`` (TransNAS-Bench-101), ``.json`` (NAS-Bench-Suite-Zero) or ``.csv`` (column ``arch``, and
            ``seed`` where architectures were trained several times).
        name: name of the benchmark; default the space's name.
        space: name of the space; default what the file says (or ``transnas-macro`` / ``-micro`` by the strings).
        metric: column that is quality; default the file format's (a CSV needs it when it has several).
        task: which task of a file with several.
        higher_is_better: the metric's direction.
        allow_pickle: allow full unpickling of a ``.pth`` that safe loading refuses. A pickle can run any code: only for
            a file that you trust.
        replace: whether a benchmark of the same name that was built gives way; one that was imported does.

    Raises:
        InputError: a file that cannot be read, is of another space, or lacks the metric, or a name that is taken;
            nothing is stored then.
    """
    path = Path(path)
    if space is not None:
        get_space(space)
    if name is not None:
        checked_name(name)
    if not path.is_file():
        raise InputError(f"benchmark file {str(path)!r} {'is a folder' if path.is_dir() else 'does not exist'}")
    readers: dict[str, Callable[[], list[Imported]]] = {
        ".pth": lambda: _read_pth(path, task, metric or TNB_METRIC, allow_pickle, higher_is_better),
        ".json": lambda: [read_suite_zero(path, space, task, metric or ZC_METRIC)],
        ".csv": lambda: _read_csv(path, space, metric),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"benchmark file {str(path)!r}: accepted endings are {', '.join(readers)}")
    _check_options(path, task, allow_pickle=allow_pickle)
    everything = reader()
    found = [part for part in everything if space is None or part.name == space]
    read, total = sum(len(part.rows) for part in found), sum(part.total for part in found)
    if not total:
        raise InputError(
            f"{str(path)!r} has no architectures" + (f" of space {space}; another space?" if space else "")
        )
    if 2 * read <= total:
        reasons = "; ".join(part.describe() for part in found)
        raise InputError(
            f"{str(path)!r}: most of it ({total - read} of {total}) is not usable; another space? ({reasons})"
        )
    _say_others(found[0], [part for part in everything if part not in found])
    stored = [part for part in found if part.rows]
    members = [part.name for part in stored]
    _name(stored, name, replace=replace)
    for part, member in zip(stored, members, strict=True):
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


def _name(parts: Sequence[Imported], name: str | None, *, replace: bool) -> None:
    """Give every part the name under which it is stored; raises ``InputError`` where one is taken."""
    for part in parts:
        if name is not None:
            part.name = checked_name(name if len(parts) == 1 else f"{name}-{part.name.rpartition('-')[2]}")
        if not replace:
            check_replaceable(part.name)


def _check_options(path: Path, task: str, *, allow_pickle: bool) -> None:
    """Raise ``InputError`` for options that mean nothing for a file of this kind."""
    if path.suffix.lower() == ".csv" and task != AUTOENCODER:
        raise InputError(f"--task {task!r} of a CSV, which holds one: leave it out")
    if path.suffix.lower() != ".pth" and allow_pickle:
        raise InputError(f"--allow-pickle for {path.name!r}: expected a .pth file")


def _say_others(part: Imported, others: Iterable[Imported]) -> None:
    """What was good and is of other spaces than the one that was asked for is left out too."""
    for other in others:
        for row in other.rows:
            part.skip(row["arch"], f"of space {other.name}")


def _read_pth(path: Path, task: str, metric: str, allow_pickle: bool, higher_is_better: bool) -> list[Imported]:
    try:
        if zipfile.is_zipfile(path):
            check_zip_size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on the protocol of a pickle
            content = torch.load(path, map_location="cpu", weights_only=not allow_pickle)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        if re.search("Unsupported (global|class)", str(error), re.IGNORECASE) and not allow_pickle:
            raise InputError(
                f"{str(path)!r} needs full unpickling, which can run any code in the file; if you trust it, allow it "
                "with --allow-pickle"
            ) from None
        raise InputError(f"{str(path)!r} is not a complete torch file ({_first_line(error)})") from None
    except (*TORCH_LOAD_ERRORS, MemoryError) as error:
        raise InputError(f"{str(path)!r} is not a complete torch file ({_first_line(error)})") from None
    data = content.get("data") if isinstance(content, dict) else None
    data = data if isinstance(data, dict) else {}
    parts = [part for part in ("macro", "micro") if isinstance(data.get(part), dict)]
    if not parts:
        raise InputError(f"{str(path)!r} is not TransNAS-Bench-101: it has no data for macro or micro")
    return [
        collect(
            f"transnas-{part}",
            metric,
            ((text, _best_epoch(entry, task, metric, higher_is_better)) for text, entry in data[part].items()),
        )
        for part in parts
    ]


def _best_epoch(entry: Any, task: str, metric: str, higher_is_better: bool) -> Callable[[], dict[str, Any]]:
    """The metrics of the epoch in which ``metric`` was best, as the paper takes them, and the final one's value."""

    def read() -> dict[str, Any]:
        metrics = functools.reduce(dict.__getitem__, (task, "metrics"), entry)
        names = [name for name in metrics if isinstance(name, str) and name not in ("arch", "seed")]
        curves = {name: metrics[name] for name in names if isinstance(metrics[name], list)}
        sign = 1 if higher_is_better else -1
        goodness = [-math.inf if math.isnan(value) else sign * value for value in map(number, curves[metric])]
        best = max(range(len(goodness)), key=goodness.__getitem__)
        row = {key: number_or_nan(curve[best]) for key, curve in curves.items() if len(curve) > best}
        return {**row, f"{metric}_final": float(curves[metric][-1]), "best_epoch": best}

    return read


def read_suite_zero(
    path: Path, space: str | None = None, task: str = "autoencoder", metric: str = ZC_METRIC
) -> Imported:
    """NAS-Bench-Suite-Zero's JSON: quality, and each published score as ``<name>_score`` and ``<name>_seconds``."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_Entries)
        if not isinstance(content[task], _Entries):
            raise TypeError(f"its task {task!r} holds no architectures by name")
        entries = list(content[task].pairs)
    except KeyError:
        raise InputError(f"{str(path)!r} has no task {some([task])!r}: it has {some(content)}") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is not a NAS-Bench-Suite-Zero file ({_first_line(error)})") from None

    names = {name for _, values in entries if isinstance(values, dict) for name in _columns(values)}
    if names and metric not in names:
        raise InputError(f"{str(path)!r} has no metric {metric!r}: it has {some(sorted(names))}")

    def read_as(member: str) -> Imported:
        texts = [_from_digits(key, member) or key for key, _ in entries]
        readers = [functools.partial(_flatten, values) for _, values in entries]
        return collect(member, metric, zip(texts, readers, strict=True))

    # Both spaces are written as six digits; the right one is that in which most of them mean something.
    members = [space] if space else MEMBERS
    return max(map(read_as, members), key=lambda part: len(part.rows))


class _Entries(dict[str, Any]):
    """What a JSON file has in braces, where a name may be there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _from_digits(key: str, space: str) -> str | None:
    """The benchmark string of NASLib's six-digit tuple."""
    if not re.fullmatch(r"\(\d(, ?\d){5},?\)", key, re.ASCII):
        return None
    digits = re.sub(r"\D", "", key)
    if space == "transnas-macro":
        return f"64-{digits.replace('0', '')}-basic"
    return f"64-41414-{digits[0]}_{digits[1:3]}_{digits[3:]}"


def _columns(values: dict[str, Any]) -> Iterator[str]:
    """What ``_flatten`` finds, whether or not it can be read."""
    yield ZC_METRIC
    yield from (f"{key}_score" for key, value in values.items() if isinstance(value, dict) and "score" in value)


def _flatten(values: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {ZC_METRIC: number(values[ZC_METRIC])}
    for key, value in values.items():
        if isinstance(value, dict) and "score" in value:
            row[f"{key}_score"] = number_or_nan(value["score"])
            row[f"{key}_seconds"] = number_or_nan(value.get("time"))
    return row


def _read_csv(path: Path, space: str | None, metric: str | None) -> list[Imported]:
    table = read_text_table(path)
    own = {name: find_column(table, name) for name in ("arch", "seed")}
    table = table.rename(columns={column: name for name, column in own.items() if column is not None})
    if "arch" not in table:
        raise InputError(f"{str(path)!r} has no column 'arch': it has {some(table)}")
    metric = _metric_of(path, table, metric)
    for column in {metric, "seed"} & set(table.select_dtypes("object")):  # some entries are words, such as "failed"
        numbers = pd.to_numeric(table[column], errors="coerce")
        table[column] = numbers.astype(object).where(numbers.notna() | table[column].isna(), table[column])
    texts = list(map(str, table["arch"]))
    records = table.drop(columns="arch").to_dict("records")
    members = list(MEMBERS) if space is None or space in MEMBERS else [space]
    parsers = {member: get_space(member) for member in members}
    # An architecture that no space holds is reported with the space that was asked for, else with the first.
    home_of = [next((m for m in members if parsers[m].holds(text)), space or members[0]) for text in texts]
    return [
        collect(
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


def _metric_of(path: Path, table: pd.DataFrame, given: str | None) -> str:
    """The column of a CSV that is quality."""
    others = table.drop(columns=["arch", "seed"], errors="ignore")
    numeric = list(others.select_dtypes("number"))
    if given is None and len(numeric) != 1:
        raise InputError(f"{str(path)!r}: say which column is quality with --metric; it has {some(numeric)}")
    found = numeric[0] if given is None else find_column(others, given)
    if found is None:
        raise InputError(f"{str(path)!r} has no metric column {some([given])!r}: it has {some(numeric)}")
    return str(found)


def _first_line(error: BaseException) -> str:
    text = re.sub(r"(?s)^Weights only load failed.*WeightsUnpickler error: ", "", str(error))  # torch's advice
    return (text.strip() or type(error).__name__).splitlines()[0]
