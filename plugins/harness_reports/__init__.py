"""Report formats beyond the built-in ones: LaTeX tables for a paper."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_report_formats() -> dict[str, str]:
    """Name the formats."""
    return {"latex": "harness_reports.latex:Latex"}
