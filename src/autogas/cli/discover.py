"""``autogas discover``: evolve a proxy on a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from autogas.cli import options
from autogas.errors import InputError

if TYPE_CHECKING:
    from autogas.runs import Run


def discover(
    benchmark: Annotated[
        list[str] | None,
        typer.Option(help="Name of a benchmark, see `autogas bench list`; may repeat: one proxy for all of them."),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="Several benchmarks: the worst counts, or the mean. [default: worst]")
    ] = None,
    terms: Annotated[int | None, typer.Option(help="Several benchmarks: terms of a sum at most. [default: 3]")] = None,
    penalty: Annotated[
        float | None, typer.Option(help="Several benchmarks: fitness that a word costs. [default: 0.002]")
    ] = None,
    strategy: Annotated[
        str, typer.Option(help="evolution, random, or enumerate (the whole grammar); several benchmarks: ascent.")
    ] = "evolution",
    population: Annotated[
        int | None, typer.Option(help="Candidates an iteration. [default: 20; several benchmarks: 50]")
    ] = None,
    iterations: Annotated[int, typer.Option(help="Iterations of ask and tell.")] = 100,
    sampling_ratio: Annotated[float, typer.Option(help="Share of the population that parents are chosen from.")] = 0.9,
    top_k: Annotated[
        int | None, typer.Option(help="Parents an iteration. [default: 5; several benchmarks: 20]")
    ] = None,
    fitness: Annotated[
        str | None,
        typer.Option(
            help="One benchmark: kendall_a, or the paper's kendall_b, which leaves out ties. [default: kendall_a]"
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Architectures that candidates are judged on, or all. [default: 50; several: all]"),
    ] = None,
    test: options.Test = None,
    batch_size: options.BatchSize = 16,
    controls: Annotated[bool, typer.Option(help="One benchmark: also run random search and the enumeration.")] = True,
    set_: options.SpaceSettings = None,
    out: options.Out = None,
    resume: options.Resume = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    jobs: options.Jobs = options.CORES,
    json: options.Json = False,
) -> None:
    """Discover a proxy that ranks trained generators, and judge it on architectures that no candidate saw."""
    names = list(dict.fromkeys(benchmark or []))
    several = len(names) > 1 or (resume is not None and options.workflow_of(resume) == "discover-across")
    elsewhere: dict[str, Any] = {"--objective": objective, "--terms": terms, "--penalty": penalty}
    if several:
        elsewhere = {"--fitness": fitness, "--set": set_, "--no-controls": None if controls else False}
    for option, value in elsewhere.items():
        if value is not None:
            raise InputError(f"{option} {value}: accepted with {'one benchmark' if several else 'several --benchmark'}")
    given: dict[str, Any] = {
        "objective": objective,
        "terms": terms,
        "penalty": penalty,
        "population": population,
        "top_k": top_k,
        "fitness": fitness,
        "test": test,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if validation is not None:
        given["validation"] = None if validation == "all" else options.whole_number("--validation", validation)
    shared: dict[str, Any] = {
        "out": out,
        "resume": resume,
        "jobs": jobs,
        "strategy": strategy,
        "iterations": iterations,
        "sampling_ratio": sampling_ratio,
        "batch_size": batch_size,
        "seed": seed,
        "device": options.checked_device(device),
    }
    if several:
        from autogas.workflows.discover_across import discover_across

        run = discover_across(names, **shared, **given)
        options.emit({"run": str(run.path), **run.results}, as_json=json, text=_across(run))
        return
    from autogas.workflows.common import DEFAULT_BENCHMARK
    from autogas.workflows.discover import discover as workflow

    space_settings = options.parse_settings(set_)
    name = names[0] if names else DEFAULT_BENCHMARK
    run = workflow(name, controls=controls, space_settings=space_settings, **shared, **given)
    options.emit_run(run, as_json=json)


def _across(run: Run) -> str:
    """The winner, and Kendall's tau-a of every scorer on the test architectures of every benchmark."""
    results = run.results
    lines = [f"winner: {results['winner']['proxy']}", ""]
    for name, rows in results["test"].items():
        lines.append(f"{name} (test architectures: {rows[0]['count']})")
        for row in sorted(rows, key=lambda row: -(row["kendall_a"]["value"] or 0.0)):
            a = row["kendall_a"]
            lines.append(
                f"  {row['name']:<20} tau-a {options.number(a['value'])} "
                f"[{options.number(a['low'])}, {options.number(a['high'])}]"
            )
        lines.append(f"  the discovered proxy's tau-a fell by {results['fall'][name]:.3f} from validation to test")
    return "\n".join([*lines, "", f"run: {run.path}"])
