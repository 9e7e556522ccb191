"""What the tables on a terminal share: a grid without a box, whether it fits, and text for plain streams."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

PIPE_WIDTH = 120
LONGEST_WORD = 24  # names are broken inside a word beyond this only
_PLAIN = str.maketrans({"→": "->", "±": "+/-", "–": "-", "Δ": "d", "·": "-", "λ": "lambda", "†": "!", "‡": "="})


def make_console(file: TextIO | None = None) -> Console:
    """Return a console for ``file`` (default: stdout): 120 columns wide in a pipe, unless ``COLUMNS`` is set."""
    stream = file or sys.stdout
    piped = not stream.isatty() and not os.environ.get("COLUMNS")
    return Console(file=stream, width=PIPE_WIDTH if piped else None, highlight=False)


def fits(grid: Grid, console: Console, *, wrap: bool) -> bool:
    """Whether a grid fits the console: as it is, or with names wrapped. Columns of numbers never wrap."""
    unbounded = console.options.update(max_width=10_000)
    for column in grid.columns:
        if column.no_wrap:  # rich would count the longest word as the minimum, and cut the rest
            parts = (column.header, *column.cells)
            column.min_width = max(Measurement.get(console, unbounded, part).maximum for part in parts)
    needed = Measurement.get(console, unbounded, grid)
    return (needed.minimum if wrap else needed.maximum) <= console.width


def new_grid() -> Grid:
    """Return a grid with a line under its head and no box."""
    return Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="")


def add_names(grid: Grid, heading: str, names: Iterable[str]) -> None:
    """Add a column of names, which may wrap between words."""
    longest = max((len(word) for name in names for word in name.split()), default=0)
    grid.add_column(heading, overflow="fold", min_width=max(len(heading), min(longest, LONGEST_WORD)))


def say(console: Console, lines: Iterable[str], *, heading: str = "", style: str = "") -> None:
    """Print lines, under a heading where there is any."""
    said = list(lines)
    if heading and said:
        console.print()
        console.print(Text(heading, style="bold"))
    for line in said:
        console.print(Text(plain(line, console), style=style))


def plain(text: str, console: Console) -> str:
    """Write in ASCII where the stream takes nothing else."""
    return text.translate(_PLAIN) if console.options.ascii_only else text
