"""``autogas discover``: evolve a proxy on a benchmark."""

from __future__ import annotations

from typing import Annotated

import typer

from autogas.cli import options


def discover(
    benchmark: options.BenchmarkName = "mini-autoencoder",
    strategy: Annotated[
        str, typer.Option(help="evolution, random (control) or enumerate (the whole grammar).")
    ] = "evolution",
    population: Annotated[int, typer.Option(help="Candidates an iteration.")] = 20,
    iterations: Annotated[int, typer.Option(help="Iterations of ask and tell.")] = 100,
    sampling_ratio: Annotated[float, typer.Option(help="Share of the population that parents are chosen from.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="Parents an iteration.")] = 5,
    fitness: Annotated[
        str, typer.Option(help="kendall_b, or kendall_a, which gives no credit for tied scores.")
    ] = "kendall_b",
    validation: Annotated[int, typer.Option(help="Architectures that candidates are judged on.")] = 50,
    test: options.Test = None,
    batch_size: options.BatchSize = 16,
    controls: Annotated[bool, typer.Option(help="Also run random search and the enumeration.")] = True,
    set_: options.SpaceSettings = None,
    out: options.Out = None,
    resume: options.Resume = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    jobs: options.Jobs = options.CORES,
    json: options.Json = False,
) -> None:
    """Discover a proxy that ranks trained generators, and judge it on architectures that no candidate saw."""
    from autogas.workflows.discover import discover as workflow

    run = workflow(
        benchmark,
        out=out,
        resume=resume,
        jobs=jobs,
        strategy=strategy,
        population=population,
        iterations=iterations,
        sampling_ratio=sampling_ratio,
        top_k=top_k,
        fitness=fitness,
        validation=validation,
        test=test,
        batch_size=batch_size,
        controls=controls,
        space_settings=options.parse_settings(set_),
        seed=seed,
        device=options.checked_device(device),
    )
    options.emit_run(run, as_json=json)
