"""Benchmarks by name: the embedded ones, and those that the user imported or built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from autogas.benchmarks.benchmark import Benchmark
from autogas.errors import InputError, unknown
from autogas.files import damaged, read_table, write_table
from autogas.paths import EMBEDDED, LONGEST_NAME, benchmark_files, is_name, store_folder
from autogas.spaces import SPACES, get_space

LARGEST = 1e100
"""The largest quality whose powers and differences are numbers, too."""
WAY_OUT = "import it again, or store a built one again with `autogas bench build --resume RUN`"


class About(BaseModel):
    """What the file of a benchmark says of its table."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    space: str
    space_settings: dict[str, Any]
    metric: str
    higher_is_better: bool
    provenance: dict[str, Any]


def list_benchmarks() -> list[str]:
    """Names of all benchmarks at hand, embedded ones first.

    Examples:
        >>> "mini-autoencoder" in list_benchmarks()
        True
    """
    return list(benchmark_files())


def checked_name(name: str, folder: Path | None = None) -> str:
    """A name that a benchmark may be stored under: plain, and in the user's store not an embedded benchmark's.

    Raises:
        InputError: any other name.
    """
    if not isinstance(name, str):
        raise InputError(f"benchmark name {name!r}: expected a text")
    if not is_name(name):
        shown = repr(name[:60]) + (f"… ({len(name)} characters)" if len(name) > 60 else "")
        raise InputError(
            f"benchmark name {shown}: expected letters, digits, '-', '_' and '.', at most {LONGEST_NAME} bytes"
        )
    if folder is None and (EMBEDDED / f"{name}.parquet").exists():
        raise InputError(f"benchmark name {name!r} is that of an embedded benchmark: expected any other")
    return name


def save_benchmark(
    name: str,
    table: pd.DataFrame,
    *,
    space: str,
    space_settings: Mapping[str, Any],
    metric: str,
    higher_is_better: bool = True,
    provenance: Mapping[str, Any],
    folder: Path | None = None,
) -> Path:
    """Write a benchmark: one Parquet file that also says what it is. Returns its path.

    Args:
        name: file name without ending.
        table: column ``arch``, the metric, optionally ``seed`` (quality is the mean over seeds) and anything else.
        space: name of the search space.
        space_settings: settings at which proxies are scored.
        metric: the column that is quality.
        higher_is_better: its direction.
        provenance: where the numbers come from.
        folder: where to; default the user's store.

    Raises:
        InputError: what ``load_benchmark`` would refuse; nothing is written then.
    """
    about = {
        "space": space,
        "space_settings": dict(space_settings),
        "metric": metric,
        "higher_is_better": higher_is_better,
        "provenance": dict(provenance),
    }
    try:
        benchmark_of(name, table, about)
    except ValueError as error:
        raise InputError(f"benchmark {name}: {reason_of(error)}") from None
    folder = folder or store_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    write_table(path, table, about)
    return path


def check_replaceable(name: str) -> None:
    """Raise ``InputError`` where the user's store has a benchmark of this name that nobody could import again."""
    path = store_folder() / f"{name}.parquet"
    try:
        provenance = read_table(path)[1]["provenance"] if path.exists() else {"imported_from": ""}
    except (InputError, LookupError, TypeError):
        return
    if "imported_from" not in provenance:
        raise InputError(f"benchmark {name!r} was built, not imported: expected another --name, or --replace")


def load_benchmark(name: str) -> Benchmark:
    """A benchmark by name; ``NAME/PART`` takes the architectures of one of the spaces that NAME mixes.

    Raises:
        InputError: unknown name, a damaged file, or a table that does not fit its space.

    Examples:
        >>> load_benchmark("mini-autoencoder/macro").space.name
        'transnas-macro'
    """
    base, _, part = name.partition("/")
    path = benchmark_files().get(base)
    if path is None:
        error = unknown("benchmark", base, list_benchmarks())
        raise InputError(f"{error}; import one with `autogas bench import`")
    table, about = read_table(path, WAY_OUT)
    try:
        benchmark = benchmark_of(base, table, about)
    except ValueError as error:
        raise damaged(path, reason_of(error), WAY_OUT) from None
    if not part:
        return benchmark
    mixed = benchmark.space.name
    whole = f"{mixed}-{part}"
    if whole not in SPACES:
        parts = [s.removeprefix(f"{mixed}-") for s in SPACES if s.startswith(f"{mixed}-")]
        raise unknown(f"part of benchmark {base}", part, parts)
    return benchmark.subset(get_space(whole, **about["space_settings"]))


def benchmark_of(name: str, table: pd.DataFrame, about: Mapping[str, Any]) -> Benchmark:
    """The benchmark that a table and what is said of it make.

    Args:
        name: of the benchmark.
        table: as for ``save_benchmark``.
        about: the fields of ``About``.

    Raises:
        ValueError: either is not what is accepted.
    """
    checked = About.model_validate(dict(about))
    space = get_space(checked.space, **checked.space_settings)
    _check_columns(table, checked.metric)
    quality = table.groupby("arch", sort=False)[checked.metric].mean()
    if not np.isfinite(quality).all():
        raise ValueError(f"column {checked.metric!r} holds numbers too large for the mean over seeds")
    known = {text: space.parse(text) for text in quality.index}
    archs = tuple(known.values())
    if len(set(archs)) < len(archs):
        raise ValueError("an architecture is written in two ways")
    several = "seed" in table and table["seed"].nunique() > 1
    return Benchmark(
        name=name,
        space=space,
        archs=archs,
        quality=quality.to_numpy(dtype=float),
        metric=checked.metric,
        higher_is_better=checked.higher_is_better,
        provenance=checked.provenance,
        repeats=table.assign(arch=[str(known[text]) for text in table["arch"]]) if several else None,
    )


def _check_columns(table: pd.DataFrame, metric: str) -> None:
    key = [column for column in ("arch", "seed") if column in table]
    if "arch" not in key or metric in key or metric not in table:
        raise ValueError(f"it needs a column 'arch' and one of the metric {metric!r}")
    if not len(table):
        raise ValueError("it has no rows")
    if not all(isinstance(text, str) for text in table["arch"]):
        raise ValueError("column 'arch' holds more than texts")
    if table[metric].dtype.kind not in "iuf" or table[metric].isna().any() or not np.isfinite(table[metric]).all():
        raise ValueError(f"column {metric!r} holds more than finite numbers")
    if float(table[metric].abs().max()) > LARGEST:
        raise ValueError(f"column {metric!r} holds numbers beyond {LARGEST:g}")
    if "seed" in key and (table["seed"].dtype.kind not in "iu" or table["seed"].isna().any()):
        raise ValueError("column 'seed' holds more than whole numbers")
    if table.duplicated(key).any():
        raise ValueError(f"two rows have the same {' and '.join(key)}")


def reason_of(error: ValueError) -> str:
    """What is wrong with a table or with what is said of it, in one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def with_space_settings(benchmark: Benchmark, settings: Mapping[str, Any]) -> Benchmark:
    """The same benchmark, scored at other settings of its space (input size, width)."""
    if not settings:
        return benchmark
    space = get_space(benchmark.space.name, **{**benchmark.space.settings, **settings})
    return replace(benchmark, space=space, archs=tuple(space.parse(str(a)) for a in benchmark.archs))
