"""``autogas bench``: import, build, list and show benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autogas.cli import options

app = typer.Typer(no_args_is_help=True, help="Import, build, list and show benchmarks.")


@app.command()
def build(
    space: Annotated[str | None, typer.Option(help="Search space to sample from; default transnas.")] = None,
    set_: options.SpaceSettings = None,
    images: Annotated[str, typer.Option(help="Training images: cifar10, stl10, a folder, a Parquet file.")] = "cifar10",
    held_out: Annotated[
        str | None,
        typer.Option(help="Images that autoencoders are measured on; default: test split or tail."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Images that a GAN's generator is measured on; default 5000.")
    ] = None,
    count: Annotated[int, typer.Option(help="Architectures to train.")] = 300,
    repeats: Annotated[int, typer.Option(help="How many of them get several seeds.")] = 30,
    repeat_space: Annotated[
        str | None, typer.Option(help="A space within: its architectures are all repeated, besides the first ones.")
    ] = None,
    recipe: options.Recipe = None,
    seeds: Annotated[int, typer.Option(help="Seeds of repeated architectures.")] = 3,
    name: Annotated[
        str | None, typer.Option(help="Name under which to store the benchmark; default the run folder's.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Where to store it; default the user's data folder.")] = None,
    out: options.Out = None,
    resume: options.Resume = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    jobs: options.Jobs = options.CORES,
    json: options.Json = False,
) -> None:
    """Train sampled architectures and record what quality each reached."""
    from autogas.benchmarks.store import checked_name
    from autogas.workflows.build import build as workflow
    from autogas.workflows.build import store_built

    checked_name(name or Path(out or resume or "build").resolve().name, store)  # now, not after hours of training
    given = {"space": space, "held_out": held_out, "samples": samples}
    run = workflow(
        out=out,
        resume=resume,
        jobs=jobs,
        space_settings=options.parse_settings(set_),
        count=count,
        repeats=repeats,
        repeat_space=repeat_space,
        seeds=seeds,
        images=images,
        recipe=options.parse_settings(recipe, "--recipe"),
        seed=seed,
        device=options.checked_device(device),
        **{name: value for name, value in given.items() if value is not None},
    )
    path = store_built(run, name=name, folder=store)
    results = run.results
    options.emit(
        {"run": str(run.path), "benchmark": str(path), **results},
        as_json=json,
        text=f"{results['trained']} trainings, {len(results['failed'])} failed; benchmark {path.stem} in {path}",
    )


@app.command(name="import")
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
    json: options.Json = False,
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
    )
    document = [
        {"benchmark": p.name, "architectures": p.architectures, "metric": p.metric, "skipped": p.skipped} for p in parts
    ]
    options.emit(document, as_json=json, text="\n".join(part.describe() for part in parts))


@app.command(name="list")
def list_(json: options.Json = False) -> None:
    """Benchmarks at hand: embedded, imported, built."""
    from autogas.benchmarks import list_benchmarks

    names = list_benchmarks()
    options.emit(names, as_json=json, text="\n".join(names) or "none; import one with `autogas bench import`")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of a benchmark.")], json: options.Json = False) -> None:
    """What a benchmark holds and where it comes from."""
    from autogas.benchmarks import load_benchmark

    bench = load_benchmark(name)
    direction = "higher" if bench.higher_is_better else "lower"
    low, high = float(bench.quality.min()), float(bench.quality.max())
    ceiling = bench.noise_ceiling()
    document = {
        "name": bench.name,
        "space": bench.space.name,
        "space_settings": dict(bench.space.settings),
        "architectures": len(bench),
        "metric": bench.metric,
        "higher_is_better": bench.higher_is_better,
        "range": [low, high],
        "noise_ceiling": ceiling,
        "provenance": bench.provenance,
    }
    lines = [
        f"{bench.name}: {len(bench)} architectures of {bench.space.name} {dict(bench.space.settings)}",
        f"quality: {bench.metric}, {direction} is better, {low:.3f} to {high:.3f}",
    ]
    if ceiling:
        lines.append(f"noise ceiling: tau-b {ceiling[0]:.3f} between training seeds of {ceiling[1]} architectures")
    lines.append(f"provenance: {dict(bench.provenance)}")
    options.emit(document, as_json=json, text="\n".join(lines))
