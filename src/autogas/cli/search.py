"""``autogas search``: find an architecture with a proxy."""

from __future__ import annotations

import io
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from autogas.cli import options
from autogas.errors import InputError


def search(
    space: Annotated[str | None, typer.Argument(help="Search space; see `autogas list spaces`.")] = None,
    proxy: Annotated[str | None, typer.Option(help="What is maximised: a name or an expression.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Setting of EAGAN spaces: cifar10 or stl10.")] = None,
    max_params: Annotated[float | None, typer.Option(help="Budget: most parameters, 1e6 for one.")] = None,
    max_macs: Annotated[float | None, typer.Option(help="Budget: most MACs for one sample, 3e9 for one.")] = None,
    max_latency: Annotated[float | None, typer.Option(help="Budget: most milliseconds for one sample.")] = None,
    objectives: Annotated[
        list[str] | None, typer.Option(help="score, or score,macs or score,params: a Pareto front by NSGA-II.")
    ] = None,
    strategy: Annotated[str, typer.Option(help="evolution or random (control).")] = "evolution",
    population: Annotated[int | None, typer.Option(help="Candidates an iteration; default 32, 10 to compress.")] = None,
    sampling_ratio: Annotated[float, typer.Option(help="Share of the population that parents are chosen from.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="Parents an iteration.")] = 5,
    iterations: Annotated[int | None, typer.Option(help="Rounds; default 150, 500 to compress.")] = None,
    width: Annotated[int | None, typer.Option(help="Channels at which candidates of EAGAN spaces are scored.")] = None,
    scored_at: Annotated[
        list[str] | None, typer.Option(help="Other setting at which candidates are scored, NAME=VALUE; may repeat.")
    ] = None,
    full_size: Annotated[bool, typer.Option("--full-size", help="Score at full size instead.")] = False,
    sample: Annotated[int, typer.Option(help="Random architectures to compare with.")] = 100,
    agreement: Annotated[int, typer.Option(help="Of them, scored at full size too.")] = 20,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Samples that a network is scored on; default 16, spade-translation 4.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Score on images of this source; discriminators always are.")
    ] = None,
    set_: options.SpaceSettings = None,
    out: options.Out = None,
    resume: options.Resume = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    jobs: options.Jobs = options.CORES,
    json: options.Json = False,
) -> None:
    """Search architectures with a proxy, without training, inside a budget."""
    from autogas.report import write_report
    from autogas.workflows.search import search as workflow

    if resume is None and space is None:
        raise InputError("say where to search: a space (`autogas list spaces`), or a run to continue with --resume")
    smaller = options.parse_settings(scored_at, "--scored-at") | ({"width": width} if width is not None else {})
    if full_size and smaller:
        raise InputError(f"--full-size and a smaller size ({smaller}): accepted is one of them")
    run = workflow(
        space,
        proxy,
        out=out,
        resume=resume,
        jobs=jobs,
        space_settings=options.parse_settings(set_) | ({"dataset": dataset} if dataset is not None else {}),
        scored_at={} if full_size else smaller or None,
        strategy=strategy,
        objectives=[name for given in objectives or ["score"] for name in given.split(",")],
        population=population,
        sampling_ratio=sampling_ratio,
        top_k=top_k,
        iterations=iterations,
        max_params=max_params,
        max_macs=max_macs,
        max_latency=max_latency,
        sample=sample,
        agreement=agreement,
        batch_size=batch_size,
        images=images,
        seed=seed,
        device=options.checked_device(device),
    )
    page = write_report(run)
    document = {"run": str(run.path), "report": str(page), **run.results}
    text = f"{describe(run.results, run.costs['latency_ms'])}\n\nreport: {page}"
    options.emit(document, as_json=json, text=text)


def describe(results: dict[str, Any], latency: dict[str, float]) -> str:
    """The winner beside its controls, and what size explains, for people."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("architecture", overflow="fold")
    for column in ("score", "parameters", "MACs", "ms"):
        table.add_column(column, justify="right")
    for row in results["controls"]:
        score = "-" if row["score"] is None else f"{row['score']:.6g}"
        cells = (row["name"], row["arch"], score, f"{row['params']:,}", f"{row['macs']:,}")
        table.add_row(*cells, f"{latency[row['name']]:.1f}")
    text = io.StringIO()
    console = Console(file=text, width=110)
    console.print(
        f"{results['evaluated']} architectures of {results['asked']} asked for, {results['failed']} without a score"
    )
    console.print(table)
    sample = results["sample"]
    if sample["best"] is not None:
        console.print(
            f"{sample['count']} random ones ({sample['failed']} without a score): best {sample['best']:.6g},"
            f" median {sample['median']:.6g}"
        )
    for name, found in sample["spearman"].items():
        if found is not None:
            console.print(f"Spearman of score with {name} over the random ones: {interval(found)}")
    if sample["agreement"] and sample["agreement"]["spearman"]:
        agreement = sample["agreement"]
        found = interval(agreement["spearman"])
        console.print(f"Spearman of score here with score at full size, {agreement['count']} random ones: {found}")
    return text.getvalue().rstrip()


def interval(found: dict[str, float | None]) -> str:
    """A value with its 95 % interval."""
    return f"{options.number(found['value'])} [{options.number(found['low'])}, {options.number(found['high'])}]"
