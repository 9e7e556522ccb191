"""Tables on a terminal: as many columns as fit, and no number cut short."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from harness.leaderboard import summaries
from harness.report.notation import (
    ABSENT,
    COLUMN_WORDS,
    DIFFERENCES_TITLE,
    cell,
    clear_gain,
    difference,
    failure_lines,
    flag_lines,
    missing_lines,
    rate,
    reference_columns,
    reference_heading,
    seeds_words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TextIO

    from harness.claims import Reference
    from harness.leaderboard import Column, Row, Table

PIPE_WIDTH = 120
LONGEST_WORD = 24  # names are broken inside a word beyond this only
_PLAIN = str.maketrans({"→": "->", "±": "+/-", "–": "-", "Δ": "d", "·": "-", "λ": "lambda"})


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which columns of the accuracy table are shown, and which of them with their std.

    ``split``: corrector and adapter in columns of their own. ``wrap``: the layout also fits where names must wrap.
    """

    columns: tuple[Column, ...]
    std: frozenset[Column]
    split: bool = True
    wrap: bool = False


LAYOUTS = (
    Layout(
        columns=("source", "train", "valid", "test", "delta"),
        std=frozenset({"source", "train", "valid", "test", "delta"}),
    ),
    Layout(columns=("source", "train", "valid", "test", "delta"), std=frozenset({"valid", "test", "delta"})),
    Layout(columns=("source", "valid", "test", "delta"), std=frozenset({"valid", "test", "delta"})),
    Layout(columns=("source", "valid", "test", "delta"), std=frozenset({"test", "delta"})),
    Layout(columns=("valid", "test", "delta"), std=frozenset({"test", "delta"}), wrap=True),
    Layout(columns=("test", "delta"), std=frozenset({"test", "delta"}), split=False, wrap=True),
    Layout(columns=("test", "delta"), std=frozenset(), split=False, wrap=True),
)


def make_console(file: TextIO | None = None) -> Console:
    """Return a console for ``file`` (default: stdout): 120 columns wide in a pipe, unless ``COLUMNS`` is set."""
    stream = file or sys.stdout
    piped = not stream.isatty() and not os.environ.get("COLUMNS")
    return Console(file=stream, width=PIPE_WIDTH if piped else None, highlight=False)


def render(tables: Sequence[Table], console: Console) -> None:
    """Print the tables, their paired differences, verdicts, flags and failed cells."""
    for index, table in enumerate(tables):
        if index:
            console.print()
        _say(console, [table.title], style="bold")
        _say(console, [table.note] if table.note else [])
        if table.rows:
            _render_rows(table, console)
        _say(console, flag_lines(table), heading="Flags")
        _say(console, failure_lines(table), heading="Failed cells")


def _render_rows(table: Table, console: Console) -> None:
    layout = _fitting(table, console)
    if layout is None:
        _say(console, [_row_line(row) for row in table.rows])
    else:
        console.print(_accuracy_grid(table, layout, console))
    _say(console, _captions(table, layout, console))
    judged = [row for row in table.rows if row.claims]
    if judged:
        console.print()
        _say(console, [DIFFERENCES_TITLE], style="bold")
        _render_differences(judged, console)
        _say(console, missing_lines(table))
        _say(console, summaries(table))


def _fitting(table: Table, console: Console) -> Layout | None:
    for layout in LAYOUTS:
        if _fits(_accuracy_grid(table, layout, console), console, wrap=layout.wrap):
            return layout
    return None


def _fits(grid: Grid, console: Console, *, wrap: bool) -> bool:
    unbounded = console.options.update(max_width=10_000)
    for column in grid.columns:
        if column.no_wrap:  # rich would count the longest word as the minimum, and cut the rest
            parts = (column.header, *column.cells)
            column.min_width = max(Measurement.get(console, unbounded, part).maximum for part in parts)
    needed = Measurement.get(console, unbounded, grid)
    return (needed.minimum if wrap else needed.maximum) <= console.width


def _accuracy_grid(table: Table, layout: Layout, console: Console) -> Grid:
    grid = _grid()
    if layout.split:
        _add_names(grid, "Corrector", [row.key.source_label for row in table.rows])
        _add_names(grid, "Adapter", [row.key.adapter_label for row in table.rows])
    else:
        _add_names(grid, "Row", [row.key.label for row in table.rows])
    grid.add_column("Corr. rate", justify="right", no_wrap=True)
    for column in layout.columns:
        grid.add_column(_plain(COLUMN_WORDS[column], console), justify="right", no_wrap=True)
    for row in table.rows:
        names = (row.key.source_label or ABSENT, row.key.adapter_label or ABSENT) if layout.split else (row.key.label,)
        numbers = [_number(row, column, layout, console) for column in layout.columns]
        texts = [_plain(text, console) for text in (*names, rate(row.correction))]
        grid.add_row(*texts, *numbers, style="" if row.key.is_method else "dim")
    return grid


def _number(row: Row, column: Column, layout: Layout, console: Console) -> Text:
    best = column in row.best
    # a pipe shows no bold; the star says it there, and a space keeps the digits in line
    mark = "" if console.is_terminal else "*" if best else " "
    text = _plain(cell(row, column, std=column in layout.std), console)
    return Text(text + mark, style="bold not dim" if best else "")


def _captions(table: Table, layout: Layout | None, console: Console) -> list[str]:
    lines = [seeds_words(table) + (" Bold: best mean." if console.is_terminal else " *: best mean.")]
    hidden = [words for name, words in COLUMN_WORDS.items() if layout and name not in layout.columns]
    if hidden:
        lines.append(f"Too narrow for {', '.join(hidden)}.")
    return lines


def _row_line(row: Row) -> str:
    return f"{row.key.label}: {rate(row.correction)}, test {cell(row, 'test')}, ΔAcc {cell(row, 'delta')}"


def _render_differences(rows: Sequence[Row], console: Console) -> None:
    options: tuple[Callable[[Sequence[Row], Console], Grid], ...] = (_wide_grid, _stacked_grid, _long_grid, _brief_grid)
    for make in options:
        grid = make(rows, console)
        if _fits(grid, console, wrap=make in {_long_grid, _brief_grid}):
            console.print(grid)
            return
    _say(
        console, [f"{row.key.label} {vs}: {difference(reference)}" for row in rows for _, vs, reference in _listed(row)]
    )


def _wide_grid(rows: Sequence[Row], console: Console) -> Grid:
    return _difference_grid(rows, console, between=" ")


def _stacked_grid(rows: Sequence[Row], console: Console) -> Grid:
    return _difference_grid(rows, console, between="\n")


def _difference_grid(rows: Sequence[Row], console: Console, *, between: str) -> Grid:
    grid = _grid()
    _add_names(grid, "Row", [row.key.label for row in rows])
    for claim, name in reference_columns():
        grid.add_column(_plain("\n".join(reference_heading(claim, name)), console), justify="right", no_wrap=True)
    for row in rows:
        references = row.claims.references if row.claims else ()
        cells = [_difference_text(reference, console, between) for reference in references]
        grid.add_row(_plain(row.key.label, console), *cells)
    return grid


def _long_grid(rows: Sequence[Row], console: Console) -> Grid:
    return _listing_grid(rows, console, claims=True)


def _brief_grid(rows: Sequence[Row], console: Console) -> Grid:
    return _listing_grid(rows, console, claims=False)


def _listing_grid(rows: Sequence[Row], console: Console, *, claims: bool) -> Grid:
    grid = _grid()
    _add_names(grid, "Row", [row.key.label for row in rows])
    for heading in ("Claim", "Against", "Difference")[not claims :]:
        grid.add_column(heading, no_wrap=True, justify="right" if heading == "Difference" else "left")
    for row in rows:
        label = _plain(row.key.label, console)
        for claim, against, reference in _listed(row):
            shown = [claim, _plain(against, console)][not claims :]
            grid.add_row(label, *shown, _difference_text(reference, console, " "))
            label = ""
    return grid


def _listed(row: Row) -> list[tuple[str, str, Reference]]:
    found = row.claims.references if row.claims else ()
    columns = reference_columns()
    return [
        (claim, reference_heading(claim, name)[1], reference)
        for (claim, name), reference in zip(columns, found, strict=True)
    ]


def _difference_text(reference: Reference, console: Console, between: str) -> Text:
    text = _plain(difference(reference), console).replace(" ", between, 1)
    return Text(text, style="bold" if clear_gain(reference) else "")


def _grid() -> Grid:
    return Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="")


def _add_names(grid: Grid, heading: str, names: Iterable[str]) -> None:
    longest = max((len(word) for name in names for word in name.split()), default=0)
    grid.add_column(heading, overflow="fold", min_width=max(len(heading), min(longest, LONGEST_WORD)))


def _say(console: Console, lines: Iterable[str], *, heading: str = "", style: str = "") -> None:
    said = list(lines)
    if heading and said:
        console.print()
        console.print(Text(heading, style="bold"))
    for line in said:
        console.print(Text(_plain(line, console), style=style))


def _plain(text: str, console: Console) -> str:
    return text.translate(_PLAIN) if console.options.ascii_only else text
