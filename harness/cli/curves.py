"""`harness curves RESULTS`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from harness.cli.options import json_option

if TYPE_CHECKING:
    from harness.curves import Axis, TableCurves


@click.command(name="curves")
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--only", metavar="WORDS", default="", help="Take the tables alone whose title has these words.")
@click.option(
    "--against",
    type=click.Choice(["steps", "seconds"]),
    default="steps",
    show_default=True,
    help="What the table's columns and the picture's axis count.",
)
@click.option("--raw", is_flag=True, help="Show the accuracy of each checkpoint, not of the best so far.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="How much of finetune-target's gain over the start a row has to reach.",
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the curves too, a panel a table: FILE ends in .png or .svg.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print every point of every seed as CSV on stdout.")
@json_option
def command(
    results: Path,
    *,
    only: str,
    against: str,
    raw: bool,
    share: float,
    figure: Path | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show what each row of RESULTS (such as results/digits-demo) has after a part of the budget.

    Columns are checkpoints: the validation accuracy that would be kept if training stopped there, and when a row has what
    finetune-target ends with. Correctors follow, with the share that they correct in so many passes. Validation accuracy chooses
    the checkpoint; it is no test result. CSV and JSON hold both axes and both accuracies.
    """
    from harness.errors import UsageError

    if as_csv and as_json:
        raise UsageError("curves: got --csv and --json, expected one of them")
    axis = cast("Axis", against)
    tables = _tables(results, only, axis)
    if figure is not None:
        from harness.report.curve_plots import draw

        draw(tables, figure, axis=axis, raw=raw)
        click.echo(f"wrote {figure}", err=True)
    if as_csv:
        from harness.report.curve_data import to_csv

        click.echo(to_csv(tables), nl=False)
    elif as_json:
        from harness.report.curve_data import to_json
        from harness.results import experiment_name

        told = {"experiment": experiment_name(results), **to_json(tables, share=share)}
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        from harness.report.curves import render
        from harness.report.terminal_grid import make_console

        render(tables, make_console(), axis=axis, raw=raw, share=share)


def _tables(results: Path, only: str, axis: Axis) -> list[TableCurves]:
    from harness.curves import curves_of
    from harness.errors import UsageError
    from harness.leaderboard import build
    from harness.results import records_in

    records = records_in(results)
    tables = build(records)
    chosen = [table for table in tables if only in table.title]
    if not chosen:
        titles = "; ".join(table.title for table in tables)
        raise UsageError(f'curves: no table has "{only}" in its title; there are: {titles}')
    found = curves_of(records, chosen)
    if axis == "seconds" and not any(row.is_timed for curves in found for row in curves.trained):
        raise UsageError(
            f"{results}: no record says how many seconds its checkpoints took, as those of earlier versions do not; "
            "show the curves against steps, or run the spec anew with a fresh --store"
        )
    return found
