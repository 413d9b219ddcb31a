"""``autogas rank``: how well proxies rank a benchmark."""

from __future__ import annotations

from typing import Any

from autogas.cli import parsing
from autogas.cli.generated import with_options
from autogas.cli.printing import emit_run
from autogas.workflows.rank import RankSettings
from autogas.workflows.rank import rank as workflow


@with_options(RankSettings)
def rank(
    given: dict[str, Any],
    out: parsing.Out = None,
    resume: parsing.Resume = None,
    jobs: parsing.Jobs = None,
    json: parsing.Json = False,
) -> None:
    """Correlate the scores of proxies with measured quality, with intervals, next to the trivial scorers."""
    emit_run(workflow(**given, out=out, resume=resume, jobs=jobs), as_json=json)
