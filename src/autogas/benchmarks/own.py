"""A benchmark from a user's own table: architectures of a space, or networks that a function makes from each row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from torch import nn

from autogas.benchmarks.benchmark import Benchmark
from autogas.benchmarks.store import benchmark_of, checked_name, reason_of
from autogas.benchmarks.tables import find_column, read_text_table
from autogas.errors import InputError
from autogas.spaces import Arch, ChoiceSpace, Space, by_name, register_space


def make_benchmark(
    table: pd.DataFrame | str | Path,
    metric: str,
    *,
    space: str | Space[Arch] | None = None,
    build: Callable[..., nn.Module] | None = None,
    inputs: Sequence[Sequence[int]] = (),
    higher_is_better: bool = True,
    name: str = "own",
) -> Benchmark:
    """A benchmark of a table with a row for each architecture, for ``autogas.rank`` and ``autogas.discover``.

    Args:
        table: column ``arch`` with texts, the metric, perhaps ``seed``, and whatever else; or a CSV of it.
        metric: the column that is quality.
        space: of the architectures.
        build: instead of a space: makes a network from a row, its columns by keyword (or all as ``**row``), with
            torch's own initialisation; ``arch`` then is any name without commas.
        inputs: shape of one sample of each input of such a network.
        higher_is_better: direction of the metric.
        name: of the benchmark.

    Raises:
        InputError: neither space nor function or both, a missing column, or a row that is no architecture.

    Examples:
        >>> table = pd.DataFrame({"arch": ["thin", "wide"], "width": [4, 32], "ssim": [0.5, 0.7]})
        >>> def build(width, **row):
        ...     return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 3, 3))
        >>> bench = make_benchmark(table, "ssim", build=build, inputs=[(3, 16, 16)], name="two")
        >>> len(bench), bench.space.cost(bench.archs[1]).params
        (2, 1763)
    """
    checked_name(name)
    if (space is None) == (build is None):
        raise InputError("a benchmark of a table: expected either the space of its architectures, or build")
    rows = _read(table)
    if not len(rows):
        raise InputError("a benchmark of a table: it has no rows")
    twice = rows.columns[rows.columns.duplicated()]
    if len(twice):
        raise InputError(f"a benchmark of a table: column {twice[0]!r} is there twice")
    named = {find_column(rows, wanted): wanted for wanted in ("arch", "seed", metric)}
    rows = rows.rename(columns={column: wanted for column, wanted in named.items() if column is not None})
    if "arch" not in rows:
        raise InputError(f"a benchmark of a table: expected a column 'arch', found are {', '.join(map(str, rows))}")
    if rows["arch"].isna().any():
        raise InputError(
            f"a benchmark of a table: row {int(rows['arch'].isna().argmax())} has no name in column 'arch'"
        )
    if space is None:
        if not callable(build):
            raise InputError(f"a benchmark of a table: build={build!r}: expected a function that makes a network")
        of, settings = by_name(_space_of_rows(rows, build, inputs, name))
    else:
        of, settings = by_name(space)
    about = {
        "space": of,
        "space_settings": settings,
        "metric": metric,
        "higher_is_better": higher_is_better,
        "provenance": {"source": str(table) if isinstance(table, str | Path) else "a table in Python"},
    }
    if build is not None:
        rows = rows.assign(arch=[f"row={arch}" for arch in rows["arch"]])
    try:
        return benchmark_of(name, rows, about)
    except ValueError as error:
        raise InputError(f"benchmark {name}: {reason_of(error)}") from None


def _read(table: object) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table.reset_index(drop=True)
    if not isinstance(table, str | Path) or not Path(table).is_file():
        raise InputError(f"a benchmark of a table: {table!r}: expected a data frame, or the path of a CSV")
    return read_text_table(Path(table))


def _space_of_rows(
    rows: pd.DataFrame, build: Callable[..., nn.Module], inputs: Sequence[Sequence[int]], name: str
) -> ChoiceSpace:
    """A space that has one architecture for each name in a table."""
    try:
        parameters = inspect.signature(build).parameters
    except ValueError:
        raise InputError(f"a benchmark of a table: build={build!r} does not say its arguments: wrap it") from None
    asked = [name for name in parameters if name in rows and name != "arch"]
    for arch, same in rows.groupby("arch", sort=False):
        differ = next((name for name in asked if same[name].astype(str).nunique() > 1), None)
        if differ is not None:
            raise InputError(f"a benchmark of a table: rows of {arch!r} differ in {differ!r}, which build takes")
    known = {str(row.pop("arch")): row for row in rows.drop_duplicates("arch").to_dict("records")}
    odd = next((arch for arch in known if arch != arch.strip() or "," in arch), None)
    if odd is not None:
        raise InputError(f"a benchmark of a table: name {odd!r}: expected names without commas or spaces around them")

    def network(row: str) -> nn.Module:
        return build(**{str(key): value for key, value in known[row].items()})

    space = ChoiceSpace(f"rows-of-{name.replace('.', '-')}", {"row": list(known)}, network, inputs)
    register_space(space, replace=True)
    return space
