"""Fill the page's template."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from autogas.report import command, phrases, sections
from autogas.report.data import RunData
from autogas.report.scale import short_number

SECTIONS = {
    "discover": sections.discover,
    "discover-across": sections.discover_across,
    "rank": sections.rank,
    "search": sections.search,
    "build": sections.build,
    "reproduce": sections.reproduce,
}


def render(data: RunData) -> str:
    """The whole page as HTML; every text from the run is escaped."""
    environment = Environment(
        loader=PackageLoader("autogas.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "signed": phrases.signed,
        "interval": phrases.interval,
        "duration": phrases.duration,
        "described": phrases.described,
        "short": short_number,
        "unbroken": phrases.unbroken,
    }
    template = environment.get_template(f"{data.workflow}.html.j2")
    return template.render(
        workflow=data.workflow,
        results=data.results,
        costs=data.costs,
        command=command.command(data.workflow, data.settings, data.fields),
        settings=command.setting_rows(data.settings, data.fields),
        **SECTIONS[data.workflow](data),
    )
