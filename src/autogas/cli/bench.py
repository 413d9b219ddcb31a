"""``autogas bench``: import, build, list and show benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.lazy import lazy_group
from autogas.cli.printing import emit
from autogas.paths import benchmark_files

VERBS = {
    "build": ("build:build", "Train sampled architectures and record what quality each reached."),
    "import": (
        "bench:import_",
        "Import a published table: every architecture is checked, and what is skipped is said.",
    ),
    "list": ("bench:list_", "Benchmarks at hand: embedded, imported, built."),
    "show": ("bench:show", "What a benchmark holds and where it comes from."),
}
app = typer.Typer(
    cls=lazy_group(VERBS), no_args_is_help=True, add_completion=False, help="Import, build, list and show benchmarks."
)


@app.callback()
def group() -> None:
    """Import, build, list and show benchmarks."""


def import_(
    path: Annotated[Path, typer.Argument(help="transnas-bench_v10141024.pth, zc_transbench101_*.json, or a CSV.")],
    name: Annotated[str | None, typer.Option(help="Name to store it under; default its space's.")] = None,
    space: Annotated[str | None, typer.Option(help="Space of the architectures; default what the file says.")] = None,
    metric: Annotated[str | None, typer.Option(help="Column that is quality.")] = None,
    task: Annotated[str, typer.Option(help="Task of a file with several.")] = "autoencoder",
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Quality is a loss or a distance.")
    ] = False,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Allow full unpickling of a .pth that you trust: it can run any code."),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let a benchmark of the same name that was built give way.")
    ] = False,
    json: parsing.Json = False,
) -> None:
    """Import a published table: every architecture is checked, and what is skipped is said."""
    from autogas.benchmarks.importers import import_benchmark

    parts = import_benchmark(
        path,
        name=name,
        space=space,
        metric=metric,
        task=task,
        higher_is_better=not lower_is_better,
        allow_pickle=allow_pickle,
        replace=replace,
    )
    document = [
        {"benchmark": p.name, "architectures": p.architectures, "metric": p.metric, "skipped": p.skipped} for p in parts
    ]
    emit(document, as_json=json, text="\n".join(part.describe() for part in parts))


def list_(json: parsing.Json = False) -> None:
    """Benchmarks at hand: embedded, imported, built."""
    names = list(benchmark_files())
    emit(names, as_json=json, text="\n".join(names) or "none; import one with `autogas bench import`")


def show(name: Annotated[str, typer.Argument(help="Name of a benchmark.")], json: parsing.Json = False) -> None:
    """What a benchmark holds and where it comes from."""
    from autogas.benchmarks import load_benchmark

    bench = load_benchmark(name)
    direction = "higher" if bench.higher_is_better else "lower"
    low, high = float(bench.quality.min()), float(bench.quality.max())
    ceiling, curve = bench.noise_ceiling(), bench.learning_curve()
    document = {
        "name": bench.name,
        "space": bench.space.name,
        "space_settings": dict(bench.space.settings),
        "architectures": len(bench),
        "metric": bench.metric,
        "higher_is_better": bench.higher_is_better,
        "range": [low, high],
        "noise_ceiling": ceiling,
        "learning_curve": curve,
        "provenance": bench.provenance,
    }
    lines = [
        f"{bench.name}: {len(bench)} architectures of {bench.space.name} {dict(bench.space.settings)}",
        f"quality: {bench.metric}, {direction} is better, {low:.3f} to {high:.3f}",
    ]
    if ceiling:
        lines.append(f"noise ceiling: tau-b {ceiling[0]:.3f} between training seeds of {ceiling[1]} architectures")
    if curve:
        worth = ", ".join(f"{tau:.3f} after {step} steps" for step, tau in curve.items())
        lines.append(f"fewer steps with another seed: tau-b {worth}")
    lines.append(f"provenance: {dict(bench.provenance)}")
    emit(document, as_json=json, text="\n".join(lines))
