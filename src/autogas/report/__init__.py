"""Draw a finished run: one self-contained HTML page and figures. Nothing is computed here, only shown."""

from autogas.report.write import write_report

__all__ = ["write_report"]
