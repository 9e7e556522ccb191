"""`harness leaderboard DIR`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from harness.cli.options import json_option

if TYPE_CHECKING:
    from harness.leaderboard import Column, Table
    from harness.report.timing_rows import TimingTable

FORMATS = ("table", "markdown", "csv", "json")
SORTS = ("test", "valid", "delta")


@click.command(name="leaderboard")
@click.argument("results", type=click.Path(path_type=Path), required=False)
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print it."
)
@click.option(
    "--timing",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='Show instead how fast attacks are: FILE is what "make bench" saves. RESULTS adds their correction rates.',
)
@click.option(
    "--row",
    "patterns",
    metavar="ROW",
    multiple=True,
    help='Print these rows alone, such as "vbi + *"; may be given several times. The files have all.',
)
@click.option(
    "--sort", type=click.Choice(SORTS), help="Print the highest first.  [default: controls, then correctors in order]"
)
@json_option
def command(
    results: Path | None, *, kind: str, timing: Path | None, patterns: tuple[str, ...], sort: str | None, as_json: bool
) -> None:
    """Rebuild the tables of RESULTS (such as results/digits-demo) from its records; its files are written anew too.

    Tables of forty rows or more are printed at a glance first, adapter by corrector.

    With --timing the table of attacks' timings is printed, and nothing is written; RESULTS may then be left out.
    """
    kind = "json" if as_json else kind
    if timing is not None:
        _refuse_choice({"--row": bool(patterns), "--sort": sort is not None})
        _print_timings(_timing_table(timing, results), kind)
        return
    if results is None:
        from harness.errors import UsageError

        raise UsageError(
            'leaderboard: no results folder given; expected one made by "harness run", such as results/digits-demo, '
            'or "--timing FILE"'
        )
    from harness.launch import tables_of, write_reports
    from harness.results import experiment_name

    tables = _chosen(tables_of(results), patterns, sort)
    write_reports(results)
    _print_tables(tables, kind, experiment_name(results))


def _chosen(tables: list[Table], patterns: tuple[str, ...], sort: str | None) -> list[Table]:
    from harness.leaderboard import narrowed, ordered

    chosen = narrowed(tables, patterns) if patterns else tables
    return [ordered(table, cast("Column", sort)) for table in chosen] if sort else chosen


def _refuse_choice(given: dict[str, bool]) -> None:
    from harness.errors import UsageError

    for option, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{option}: chooses among a leaderboard's rows, and --timing has none; leave one of the two out"
            )


def _print_tables(tables: list[Table], kind: str, experiment: str) -> None:
    if kind == "json":
        from harness.report.json_table import to_json

        click.echo(json.dumps({"experiment": experiment, **to_json(tables)}, ensure_ascii=False))
    elif kind == "markdown":
        from harness.report.markdown import to_markdown

        click.echo(to_markdown(tables), nl=False)
    elif kind == "csv":
        from harness.report.csv_table import to_csv

        click.echo(to_csv(tables), nl=False)
    else:
        from harness.report.terminal import make_console, render

        render(tables, make_console())


def _timing_table(timing: Path, results: Path | None) -> TimingTable:
    from harness.report.timing_rows import make_timing_table
    from harness.timings import read_timings

    timings = read_timings(timing)
    if results is None:
        return make_timing_table(timings)
    from harness.launch import tables_of
    from harness.results import experiment_name

    return make_timing_table(timings, tables_of(results), experiment=experiment_name(results))


def _print_timings(table: TimingTable, kind: str) -> None:
    from harness.report import timing_table

    if kind == "json":
        click.echo(json.dumps(timing_table.to_json(table), ensure_ascii=False))
    elif kind == "markdown":
        click.echo(timing_table.to_markdown(table), nl=False)
    elif kind == "csv":
        click.echo(timing_table.to_csv(table), nl=False)
    else:
        from harness.report.terminal_grid import make_console

        timing_table.render(table, make_console())
