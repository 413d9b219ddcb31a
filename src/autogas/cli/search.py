"""``autogas search``: find an architecture with a proxy."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autogas.cli import parsing
from autogas.cli.generated import with_options
from autogas.cli.printing import emit_run
from autogas.errors import InputError
from autogas.workflows.search import search as workflow
from autogas.workflows.searching.settings import SearchSettings


@with_options(SearchSettings, without=["scored_at"])
def search(
    given: dict[str, Any],
    dataset: Annotated[str | None, typer.Option(help="Setting of EAGAN spaces: cifar10 or stl10.")] = None,
    width: Annotated[int | None, typer.Option(help="Channels at which candidates of EAGAN spaces are scored.")] = None,
    scored_at: Annotated[
        list[str] | None, typer.Option(help="Other setting at which candidates are scored, NAME=VALUE; may repeat.")
    ] = None,
    full_size: Annotated[bool, typer.Option("--full-size", help="Score at full size instead.")] = False,
    out: parsing.Out = None,
    resume: parsing.Resume = None,
    jobs: parsing.Jobs = None,
    json: parsing.Json = False,
) -> None:
    """Search architectures with a proxy, without training, inside a budget."""
    if resume is None and "space" not in given:
        raise InputError("say where to search: a space (`autogas list spaces`), or a run to continue with --resume")
    smaller = parsing.parse_settings(scored_at, "--scored-at")
    parsing.must_agree("width", width, "--scored-at", smaller)
    smaller |= {"width": width} if width is not None else {}
    if full_size and smaller:
        raise InputError(f"--full-size and a smaller size ({smaller}): expected one of them")
    if full_size or smaller:
        given["scored_at"] = smaller
    parsing.must_agree("dataset", dataset, "--set", given.get("space_settings", {}))
    if dataset is not None:
        given["space_settings"] = {**given.get("space_settings", {}), "dataset": dataset}
    emit_run(workflow(**given, out=out, resume=resume, jobs=jobs), as_json=json)
