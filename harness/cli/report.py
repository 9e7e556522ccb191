"""`harness report DIR`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="report")
@click.argument("results", type=click.Path(path_type=Path))
def command(results: Path) -> None:
    """Write RESULTS/report.html (one page, no network needed) and the tables beside it; prints its path."""
    from harness.launch import write_reports

    write_reports(results)
    click.echo(results / "report.html")
