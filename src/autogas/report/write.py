"""Write the report of a run into its folder."""

from __future__ import annotations

from pathlib import Path

from autogas.files import replacing
from autogas.report.data import read
from autogas.report.figures import draw_figures
from autogas.report.page import render
from autogas.runs import Run

PAGE_FILE = "report.html"
FIGURES_FOLDER = "figures"


def write_report(run: Run) -> Path:
    """Write ``report.html`` and ``figures/*.png`` into the folder of a finished run; returns the page's path.

    The page opens offline: it loads nothing, neither fonts nor scripts. Equal run folders give equal bytes.

    Args:
        run: a finished run of any workflow but ``train`` and ``evaluate``.

    Raises:
        InputError: the run did not finish, a file is missing, or its workflow has no report.
    """
    data = read(run)
    text = render(data)
    folder = run.path / FIGURES_FOLDER
    folder.mkdir(exist_ok=True)
    for name, png in draw_figures(data).items():
        with replacing(folder / f"{name}.png") as temporary:
            temporary.write_bytes(png)
    page = run.path / PAGE_FILE
    with replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return page
