"""Lists on the terminal and as JSON: what the commands that list things share."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table as Grid

UNLIMITED = 10_000
SHORTEST_NAME = 24  # of a column of names that wrap


def show_list(
    entries: Sequence[dict[str, Any]],
    *,
    columns: Sequence[str],
    key: str,
    as_json: bool,
    title: str,
    droppable: bool = False,
) -> None:
    """Print entries as a table of ``columns``, or whole as ``{"version": 1, key: [...]}``.

    Where it is too narrow and columns are ``droppable``, names wrap and the last columns are left out; else all cells wrap.
    """
    if as_json:
        click.echo(json.dumps({"version": 1, key: list(entries)}, ensure_ascii=False))
        return
    from harness.report.terminal import make_console

    console = make_console()
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = UNLIMITED  # whoever reads a pipe wants all of it
    if not droppable:
        console.print(_grid(entries, columns, title))
        return
    shown = list(columns)
    while (name_width := _room(entries, shown, title, console)) < SHORTEST_NAME and len(shown) > 1:
        shown.pop()
    console.print(_grid(entries, shown, title, name_width=max(name_width, 1)))
    if hidden := [_heading(column) for column in columns if column not in shown]:
        click.echo(f"Too narrow for {', '.join(hidden)}.", err=True)


def _room(entries: Sequence[dict[str, Any]], columns: Sequence[str], title: str, console: Console) -> int:
    """Return how wide the names may be where no other column wraps."""
    from rich.measure import Measurement

    unbounded = console.options.update(max_width=UNLIMITED)
    bare = _grid(entries, columns, title, name_width=1)
    return console.width - Measurement.get(console, unbounded, bare).maximum + 1


def _grid(
    entries: Sequence[dict[str, Any]], columns: Sequence[str], title: str, *, name_width: int | None = None
) -> Grid:
    """Make a table; with a ``name_width`` the first column is at most so wide, and the others do not wrap."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    rigid = name_width is not None
    for index, column in enumerate(columns):
        texts = [Text(_text(entry.get(column))) for entry in entries]
        widest = max([len(_heading(column)), *map(len, texts)])
        if index == 0:
            width = None if name_width is None else min(name_width, widest)
            grid.add_column(_heading(column), overflow="fold", no_wrap=not rigid, width=width)
        else:
            grid.add_column(_heading(column), overflow="fold", no_wrap=rigid, min_width=widest if rigid else None)
    for entry in entries:
        grid.add_row(*(Text(_text(entry.get(column))) for column in columns))
    return grid


def _heading(column: str) -> str:
    return column.capitalize().replace("_", " ")


def _text(value: Any) -> str:
    if value is None or value in ("", [], ()):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
