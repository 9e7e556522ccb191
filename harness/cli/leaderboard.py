"""`harness leaderboard DIR`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.options import json_option

FORMATS = ("table", "markdown", "csv", "json")


@click.command(name="leaderboard")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print it."
)
@json_option
def command(results: Path, *, kind: str, as_json: bool) -> None:
    """Rebuild the tables of RESULTS (such as results/digits-demo) from its records; its files are written anew too."""
    from harness.launch import tables_of, write_reports

    tables = tables_of(results)
    write_reports(results)
    if as_json or kind == "json":
        from harness.report.json_table import to_json

        click.echo(json.dumps({"experiment": results.name, **to_json(tables)}, ensure_ascii=False))
    elif kind == "markdown":
        from harness.report.markdown import to_markdown

        click.echo(to_markdown(tables), nl=False)
    elif kind == "csv":
        from harness.report.csv_table import to_csv

        click.echo(to_csv(tables), nl=False)
    else:
        from harness.report.terminal import make_console, render

        render(tables, make_console())
