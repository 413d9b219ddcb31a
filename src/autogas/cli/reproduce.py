"""``autogas reproduce``: the paper's tables, ours beside the printed ones."""

from __future__ import annotations

from typing import Any

from autogas.cli import parsing
from autogas.cli.generated import with_options
from autogas.cli.printing import emit_run
from autogas.errors import InputError
from autogas.workflows.reproduce import reproduce as workflow
from autogas.workflows.tables.rows import ReproduceSettings


@with_options(ReproduceSettings)
def reproduce(
    given: dict[str, Any],
    out: parsing.Out = None,
    resume: parsing.Resume = None,
    jobs: parsing.Jobs = None,
    json: parsing.Json = False,
) -> None:
    """Regenerate a table of the paper, with intervals and the printed numbers beside ours."""
    if "name" not in given and resume is None:
        raise InputError("say what to reproduce: expected table2, figure1, table5, table6 and table7")
    emit_run(workflow(**given, out=out, resume=resume, jobs=jobs), as_json=json)
