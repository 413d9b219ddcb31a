"""Benchmarks by name: the embedded ones, and those that the user imported or built."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from autogas.benchmarks.benchmark import Benchmark
from autogas.errors import InputError, unknown
from autogas.files import replacing, write_json
from autogas.proxies.bank import home
from autogas.spaces import SPACES, get_space

EMBEDDED = Path(str(resources.files("autogas.benchmarks"))) / "data"


def store_folder() -> Path:
    """Where imported and built benchmarks are kept."""
    return home() / "benchmarks"


def list_benchmarks() -> list[str]:
    """Names of all benchmarks at hand, embedded ones first.

    Examples:
        >>> "mini-autoencoder" in list_benchmarks()
        True
    """
    names: dict[str, None] = {}
    for folder in (EMBEDDED, store_folder()):
        names.update(
            {path.stem: None for path in sorted(folder.glob("*.json")) if path.with_suffix(".parquet").exists()}
        )
    return list(names)


def checked_name(name: str, folder: Path | None = None) -> str:
    """A name that a benchmark may be stored under: plain, and in the user's store not an embedded benchmark's.

    Raises:
        InputError: any other name.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"benchmark name {name!r}: accepted are letters, digits, '-', '_' and '.'")
    if folder is None and (EMBEDDED / f"{name}.json").exists():
        raise InputError(f"benchmark name {name!r} is that of an embedded benchmark: accepted is any other")
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
    """Write a benchmark: a Parquet table and a JSON of what it is. Returns the table's path.

    Args:
        name: file name without ending.
        table: column ``arch``, the metric, optionally ``seed`` (quality is the mean over seeds) and anything else.
        space: name of the search space.
        space_settings: settings at which proxies are scored.
        metric: the column that is quality.
        higher_is_better: its direction.
        provenance: where the numbers come from.
        folder: where to; default the user's store.
    """
    folder = folder or store_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")
    write_json(
        path.with_suffix(".json"),
        {
            "space": space,
            "space_settings": dict(space_settings),
            "metric": metric,
            "higher_is_better": higher_is_better,
            "provenance": dict(provenance),
        },
    )
    return path


def load_benchmark(name: str) -> Benchmark:
    """A benchmark by name; ``NAME/PART`` takes the architectures of one of the spaces that NAME mixes.

    Raises:
        InputError: unknown name, or a table that does not fit its space.

    Examples:
        >>> load_benchmark("mini-autoencoder/macro").space.name
        'transnas-macro'
    """
    base, _, part = name.partition("/")
    for folder in (EMBEDDED, store_folder()):
        path = folder / f"{base}.json"
        if path.exists():
            break
    else:
        error = unknown("benchmark", base, list_benchmarks())
        raise InputError(f"{error}; import one with `autogas bench import`")
    benchmark, about = _read(path)
    if not part:
        return benchmark
    mixed = benchmark.space.name
    whole = f"{mixed}-{part}"
    if whole not in SPACES:
        parts = [s.removeprefix(f"{mixed}-") for s in SPACES if s.startswith(f"{mixed}-")]
        raise unknown(f"part of benchmark {base}", part, parts)
    return benchmark.subset(get_space(whole, **about["space_settings"]))


def _read(path: Path) -> tuple[Benchmark, dict[str, Any]]:
    try:
        about = json.loads(path.read_text())
        space = get_space(about["space"], **about["space_settings"])
        table = pd.read_parquet(path.with_suffix(".parquet"))
        repeats = table if "seed" in table and table["seed"].nunique() > 1 else None
        quality = table.groupby("arch", sort=False)[about["metric"]].mean()
        benchmark = Benchmark(
            name=path.stem,
            space=space,
            archs=tuple(map(space.parse, quality.index)),
            quality=quality.to_numpy(dtype=float),
            metric=about["metric"],
            higher_is_better=about["higher_is_better"],
            provenance=about["provenance"],
            repeats=repeats,
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(
            f"benchmark {path.stem} in {str(path.parent)!r} is damaged: {str(error).splitlines()[0]}"
        ) from None
    return benchmark, about


def with_space_settings(benchmark: Benchmark, settings: Mapping[str, Any]) -> Benchmark:
    """The same benchmark, scored at other settings of its space (input size, width)."""
    if not settings:
        return benchmark
    space = get_space(benchmark.space.name, **{**benchmark.space.settings, **settings})
    return replace(benchmark, space=space, archs=tuple(space.parse(str(a)) for a in benchmark.archs))
