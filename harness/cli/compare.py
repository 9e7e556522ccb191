"""`harness compare A B`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import json_option

if TYPE_CHECKING:
    from harness.pairing import BySeed, Pairing


@click.command(name="compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@json_option
def command(first: str, second: str, *, as_json: bool) -> None:
    """Compare B with A, seed by seed, in test accuracy.

    A and B are results folders (then rows of one name are compared), or a row of one: "results/digits-demo#vbi + deep-coral".
    """
    from harness.pairing import pair

    pairings = pair(_rows(first), _rows(second))
    if as_json:
        click.echo(json.dumps({"version": 1, "comparisons": [_as_json(pairing) for pairing in pairings]}))
        return
    _render(pairings)


def _rows(argument: str) -> dict[tuple[str, str], BySeed]:
    from harness.errors import UsageError
    from harness.pairing import choose, rows_of
    from harness.records import read_records

    folder, _, label = argument.partition("#")
    records = read_records(Path(folder) / "records")
    if not records:
        what = "holds no records" if Path(folder).is_dir() else "is no folder"
        raise UsageError(f'{folder}: {what}; expected a results folder made by "harness run"')
    return choose(records, label, where=folder) if label else rows_of(records)


def _render(pairings: list[Pairing]) -> None:
    from rich import box
    from rich.table import Table as Grid

    from harness.report.terminal import make_console

    grid = Grid(box=box.SIMPLE_HEAD, title="Test accuracy, B − A in points, 95% interval", title_justify="left")
    for heading in ("A", "B", "B − A", "Seeds", "McNemar p, per seed", "Differ in"):
        grid.add_column(heading, overflow="fold", justify="right" if heading == "Seeds" else "left")
    for one in pairings:
        p_values = ", ".join(f"{seed}: {test.p:.3f}" for seed, test in one.mcnemar.items())
        same = "" if one.first == one.second else one.second
        grid.add_row(
            one.first,
            same or "the same row",
            str(one.difference),
            str(one.difference.n),
            p_values,
            ", ".join(one.differing) or "–",
        )
    make_console().print(grid)


def _as_json(pairing: Pairing) -> dict[str, Any]:
    difference = pairing.difference
    return {
        "first": pairing.first,
        "second": pairing.second,
        "points": {
            "mean": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "p": difference.p,
            "wilcoxon_p": difference.wilcoxon_p,
            "per_seed": {str(seed): value for seed, value in difference.per_seed.items()},
        },
        "mcnemar": {str(seed): test._asdict() for seed, test in pairing.mcnemar.items()},
        "differing": list(pairing.differing),
    }
