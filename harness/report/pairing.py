"""Paired rows on a terminal: as many columns as fit, then every difference in words, with its evidence and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from harness.marks import mark_notes
from harness.report.notation import ABSENT
from harness.report.terminal_grid import add_names, fits, new_grid, plain, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.table import Table as Grid

    from harness.marks import Uses
    from harness.pairing import Pairing

TITLE = "Test accuracy, B − A in points, 95% interval"
_NAMES = ("A", "B", "Differ in")
_COLUMNS = ("A", "B", "B − A", "Seeds", "McNemar p, per seed", "Differ in")
_DROPPED = ("McNemar p, per seed", "Seeds", "Differ in")  # in this order


@dataclass(frozen=True)
class _Side:
    """A row that is compared."""

    uses: Uses


def render_pairings(pairings: Sequence[Pairing], sentences: Iterable[str], console: Console) -> None:
    """Print the differences as a table where it fits, with what is left out, and the sentences on them.

    On the narrowest terminals the sentences alone are printed: they say the same.
    """
    for count in range(len(_DROPPED) + 1):
        columns = [column for column in _COLUMNS if column not in _DROPPED[:count]]
        grid = _grid(pairings, columns, console)
        if fits(grid, console, wrap=True):
            say(console, [TITLE])
            console.print(grid)
            say(console, [f"Too narrow for {'; '.join(_DROPPED[:count])}."] if count else [])
            break
    sides = [_Side(uses) for pairing in pairings for uses in pairing.uses]
    say(console, [*sentences, *mark_notes(sides)])


def _grid(pairings: Sequence[Pairing], columns: Sequence[str], console: Console) -> Grid:
    grid = new_grid()
    lines = [_cells(pairing) for pairing in pairings]
    for column in columns:
        if column in _NAMES:
            add_names(grid, column, [plain(line[column], console) for line in lines])
        else:
            grid.add_column(plain(column, console), justify="right", no_wrap=True)
    for line in lines:
        grid.add_row(*(Text(plain(line[column], console)) for column in columns))
    return grid


def _cells(pairing: Pairing) -> dict[str, str]:
    first, second = pairing.names
    p_values = ", ".join(f"{seed}: {test.p:.3f}" for seed, test in pairing.mcnemar.items())
    cells = (
        first,
        "the same row" if pairing.first == pairing.second else second,
        str(pairing.difference),
        str(pairing.difference.n),
        p_values,
        ", ".join(pairing.differing) or ABSENT,
    )
    return dict(zip(_COLUMNS, cells, strict=True))
