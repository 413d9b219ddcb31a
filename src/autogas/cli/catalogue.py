"""``autogas list``: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.printing import emit
from autogas.errors import unknown


def catalogue(
    what: Annotated[str | None, typer.Argument(help="spaces, proxies, primitives or benchmarks; default all.")] = None,
    json: parsing.Json = False,
) -> None:
    """List spaces, proxies, primitives of the proxy language, and benchmarks."""
    from autogas.benchmarks import list_benchmarks
    from autogas.proxies.named import list_proxies
    from autogas.proxies.primitives import list_primitives
    from autogas.spaces import list_spaces

    everything: dict[str, list[str]] = {
        "spaces": list_spaces(),
        "proxies": list_proxies(),
        "primitives": [f"{stage}: {', '.join(words)}" for stage, words in list_primitives().items()],
        "benchmarks": list_benchmarks(),
    }
    if what is not None:
        if what not in everything:
            raise unknown("kind of thing", what, everything)
        everything = {what: everything[what]}
    lines = [f"{kind}\n" + "\n".join(f"  {name}" for name in names) for kind, names in everything.items()]
    emit(everything, as_json=json, text="\n".join(lines))
