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


@click.command(name="ranks")
@click.argument("results", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--only", metavar="WORDS", default="", help="Take the tables alone whose title has these words.")
@click.option(
    "--row",
    "patterns",
    metavar="ROW",
    multiple=True,
    help='Rank these rows alone, such as "* + deep-coral"; may be given several times.',
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
    """
    from harness.blocks import blocks_of, select_rows
    from harness.ranking import rank

    if diagram is not None:
        from harness.report.ranking_diagram import check_drawable

        check_drawable(diagram)
    blocks = blocks_of(_tables(results), only=only)
    ranking = rank(select_rows(blocks, patterns) if patterns else blocks)
    if diagram is not None:
        from harness.report.ranking_diagram import draw

        draw(ranking, diagram, post_hoc=cast("PostHoc", groups))
        click.echo(f"wrote {diagram}", err=True)
    if as_json:
        from harness.report.ranking import to_json

        click.echo(json.dumps(to_json(ranking), ensure_ascii=False))
        return
    from harness.report.ranking import render
    from harness.report.terminal_grid import make_console

    render(ranking, make_console())


def _tables(folders: tuple[Path, ...]) -> list[Table]:
    """Build the tables of all folders together: what one experiment added to another's tables stands in them."""
    from harness.errors import UsageError
    from harness.leaderboard import build
    from harness.records import read_records

    found = {}
    for folder in folders:
        records = read_records(folder / "records")
        if not records:
            what = "holds no records" if folder.is_dir() else "is no folder"
            raise UsageError(
                f'{folder}: {what}; expected a results folder such as results/digits-demo, made by "harness run"'
            )
        found.update({(record.key, record.cell): record for record in records})
    return build(list(found.values()))
