"""`harness ranks RESULTS...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from harness.cli.options import json_option

if TYPE_CHECKING:
    from harness.leaderboard import Table
    from harness.ranking import PostHoc

MANY = 30  # rows, beyond which the lines of a diagram run into each other


@click.command(name="ranks")
@click.argument("results", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--only", metavar="WORDS", default="", help="Take the tables alone whose title has these words.")
@click.option(
    "--row",
    "patterns",
    metavar="ROW",
    multiple=True,
    help='Rank these rows alone, such as "vbi + *" (one corrector, every adapter), the usual way; may be given several times.',
)
@click.option(
    "--diagram",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw a critical-difference diagram too: FILE ends in .png or .svg.",
)
@click.option(
    "--groups",
    type=click.Choice(["nemenyi", "wilcoxon-holm"]),
    default="nemenyi",
    show_default=True,
    help="Whose groups the diagram shows.",
)
@json_option
def command(
    results: tuple[Path, ...], *, only: str, patterns: tuple[str, ...], diagram: Path | None, groups: str, as_json: bool
) -> None:
    """Rank the rows of one or more RESULTS folders over eight or more pairs of a data set and a model.

    A row's score in a pair is its mean test accuracy over seeds. Printed are mean ranks, Friedman's test, and the groups that
    Nemenyi's test, and pairwise Wilcoxon tests under Holm, cannot tell apart. Seeds are never counted as pairs.

    The fewer rows are ranked, the more the tests can tell: harness ranks RESULTS --row "vbi + *" --row finetune-target
    """
    from harness.blocks import blocks_of, data_sets_of, select_rows, uses_of_rows
    from harness.ranking import rank

    if diagram is not None:
        from harness.report.ranking_diagram import check_drawable

        check_drawable(diagram)
    tables = _tables(results)
    blocks, uses = blocks_of(tables, only=only), uses_of_rows(tables)
    ranking = rank(select_rows(blocks, patterns) if patterns else blocks, data_sets=data_sets_of(tables))
    if diagram is not None:
        from harness.report.ranking_diagram import draw

        draw(ranking, diagram, post_hoc=cast("PostHoc", groups), uses=uses)
        click.echo(f"wrote {diagram}", err=True)
        if len(ranking.mean_ranks) > MANY:
            click.echo(f"{len(ranking.mean_ranks)} rows crowd a diagram: rank fewer with --row", err=True)
    if as_json:
        from harness.report.ranking import to_json

        click.echo(json.dumps(to_json(ranking, uses=uses), ensure_ascii=False))
        return
    from harness.report.ranking import render
    from harness.report.terminal_grid import make_console

    render(ranking, make_console(), uses=uses)


def _tables(folders: tuple[Path, ...]) -> list[Table]:
    """Build the tables of all folders together: what one experiment added to another's tables stands in them."""
    from harness.leaderboard import build
    from harness.results import records_in

    found = {(record.key, record.cell): record for folder in folders for record in records_in(folder)}
    return build(list(found.values()))
