"""Lists on the terminal and as JSON: what the commands that list things share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def show_list(
    entries: Sequence[dict[str, Any]], *, columns: Sequence[str], key: str, as_json: bool, title: str
) -> None:
    """Print entries as a table of ``columns``, or whole as ``{"version": 1, key: [...]}``."""
    if as_json:
        click.echo(json.dumps({"version": 1, key: list(entries)}, ensure_ascii=False))
        return
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    from harness.report.terminal import make_console

    grid = Grid(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for index, column in enumerate(columns):
        grid.add_column(column.capitalize().replace("_", " "), overflow="fold", no_wrap=index == 0)
    for entry in entries:
        grid.add_row(*(Text(_text(entry.get(column))) for column in columns))
    make_console().print(grid)


def _text(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
