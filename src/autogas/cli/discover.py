"""``autogas discover``: evolve a proxy on a benchmark, or on several at once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autogas.cli import parsing
from autogas.cli.generated import with_options
from autogas.cli.printing import emit_run
from autogas.errors import InputError
from autogas.runs import Run
from autogas.settings import described
from autogas.workflows.discover import DiscoverSettings
from autogas.workflows.discover import discover as workflow
from autogas.workflows.discover_across import discover_across
from autogas.workflows.judging.across import AcrossSettings


@with_options(DiscoverSettings, AcrossSettings, without=["benchmark", "benchmarks", "strategy"])
def discover(
    given: dict[str, Any],
    benchmark: Annotated[
        list[str] | None,
        typer.Option(help="Name of a benchmark, see `autogas bench list`; may repeat: one proxy for all of them."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="evolution (default), random, or enumerate the whole grammar; several benchmarks: ascent."),
    ] = None,
    out: parsing.Out = None,
    resume: parsing.Resume = None,
    jobs: parsing.Jobs = None,
    json: parsing.Json = False,
) -> None:
    """Discover a proxy that ranks trained generators, and judge it on architectures that no candidate saw."""
    names = list(dict.fromkeys(benchmark or []))
    several = len(names) > 1 or (resume is not None and Run.open(resume).workflow == "discover-across")
    known, other = (AcrossSettings, DiscoverSettings) if several else (DiscoverSettings, AcrossSettings)
    for name in given.keys() - known.model_fields.keys():
        flag = described(other)[name]["flag"] or "--" + name.replace("_", "-")
        raise InputError(f"{flag} {given[name]}: accepted with {'one benchmark' if several else 'several --benchmark'}")
    if strategy is not None:
        given["strategy"] = strategy
    if several:
        emit_run(discover_across(names, **given, out=out, resume=resume, jobs=jobs), as_json=json)
        return
    given |= {"benchmark": names[0]} if names else {}
    emit_run(workflow(**given, out=out, resume=resume, jobs=jobs), as_json=json)
