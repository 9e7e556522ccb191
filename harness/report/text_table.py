"""Tables of text, for a terminal and for pages: as many columns as fit, or else every row as a sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.text import Text

from harness.report.notation import ABSENT
from harness.report.terminal_grid import add_names, fits, new_grid, plain, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid


@dataclass(frozen=True)
class TextColumn:
    """A column of a table: its heading, a cell a row. Where a table is too wide, the highest ``rank`` goes first, 0 never."""

    heading: str
    cells: tuple[str, ...]
    rank: int = 0


@dataclass(frozen=True)
class TextTable:
    """A table of text: the name of each row, the columns, notes to set beneath; ``dim`` says which rows are controls."""

    heading: str
    labels: tuple[str, ...]
    dim: tuple[bool, ...]
    columns: tuple[TextColumn, ...]
    notes: tuple[str, ...]

    def sentence(self, index: int) -> str:
        """Write a row as a sentence, where the table is too wide."""
        cells = [(column.heading.replace("\n", " "), column.cells[index]) for column in self.columns]
        told = [f"{heading}: {text}" for heading, text in cells if text != ABSENT]
        return f"{self.labels[index]}; {', '.join(told)}"


def print_table(table: TextTable, console: Console) -> None:
    """Print as many columns as fit, or else every row as a sentence."""
    shown = table
    while table.labels and not fits(_grid(shown, console), console, wrap=True):
        worst = max(column.rank for column in shown.columns)
        if worst == 0:
            say(console, [table.sentence(index) for index in range(len(table.labels))])
            say(console, table.notes)
            return
        shown = replace(shown, columns=tuple(column for column in shown.columns if column.rank < worst))
    if table.labels:
        console.print(_grid(shown, console))
    hidden = [column.heading.replace("\n", " ") for column in table.columns if column not in shown.columns]
    say(console, [*table.notes, *([f"Too narrow for {', '.join(hidden)}."] if hidden else [])])


def _grid(table: TextTable, console: Console) -> Grid:
    grid = new_grid()
    add_names(grid, table.heading, [plain(label, console) for label in table.labels])
    for column in table.columns:
        grid.add_column(plain(column.heading, console), justify="right", no_wrap=True)
    for index, label in enumerate(table.labels):
        cells = [Text(plain(text, console)) for text in (label, *(column.cells[index] for column in table.columns))]
        grid.add_row(*cells, style="dim" if table.dim[index] else "")
    return grid
