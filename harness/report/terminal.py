"""Tables on a terminal: as many columns as fit, and no number cut short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from harness.leaderboard import figure_lines, summaries
from harness.marks import mark_notes
from harness.report.correctors import WORK_TITLE, narrower, work_caption, work_columns
from harness.report.figures import FIGURES_TITLE
from harness.report.gain_matrix import TITLE as MATRIX_TITLE
from harness.report.gain_matrix import gain_matrix
from harness.report.measures import side_sections
from harness.report.notation import (
    ABSENT,
    COLUMN_WORDS,
    DIFFERENCES_TITLE,
    best_words,
    cell,
    clear_gain,
    difference,
    rate,
    reference_columns,
    reference_heading,
    seeds_words,
)
from harness.report.remarks import failure_lines, flag_lines, missing_lines, one_seed_lines, part_lines, wilcoxon_lines
from harness.report.terminal_grid import add_names, fits, make_console, new_grid, plain, say
from harness.report.text_table import print_table

__all__ = ["make_console", "render"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table as Grid

    from harness.claims import Reference
    from harness.corrections import Work
    from harness.leaderboard import Column, Row, Table
    from harness.report.correctors import WorkColumn
    from harness.report.measures import SideSection


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
LINE_COLUMNS: tuple[Column, ...] = ("test", "delta")  # where not even the narrowest layout fits


def render(tables: Sequence[Table], console: Console) -> None:
    """Print the tables, their paired differences, verdicts, flags and failed cells."""
    for index, table in enumerate(tables):
        if index:
            console.print()
        say(console, [table.title], style="bold")
        say(console, [table.note] if table.note else [])
        if table.rows:
            _render_rows(table, console)
        say(console, flag_lines(table), heading="Flags")
        say(console, failure_lines(table), heading="Failed cells")


def _render_rows(table: Table, console: Console) -> None:
    if overview := gain_matrix(table):
        say(console, [MATRIX_TITLE])
        print_table(overview, console)
        console.print()
    layout = _fitting(table, console)
    if layout is None:
        say(console, [_row_line(row) for row in table.rows])
    else:
        console.print(_accuracy_grid(table, layout, console))
    say(console, _captions(table, layout, console))
    judged = [row for row in table.rows if row.claims]
    if judged:
        console.print()
        say(console, [DIFFERENCES_TITLE], style="bold")
        say(console, one_seed_lines(table))
        _render_differences(judged, console)
        say(console, [*wilcoxon_lines(table), *missing_lines(table)])
        say(console, summaries(table))
    for section in side_sections(table):
        _render_section(section, console)
    if table.works:
        _render_works(table.works, console)
    say(console, figure_lines(table), heading=FIGURES_TITLE)


def _fitting(table: Table, console: Console) -> Layout | None:
    for layout in LAYOUTS:
        if fits(_accuracy_grid(table, layout, console), console, wrap=layout.wrap):
            return layout
    return None


def _accuracy_grid(table: Table, layout: Layout, console: Console) -> Grid:
    grid = new_grid()
    if layout.split:
        add_names(grid, "Corrector", [row.key.source_label for row in table.rows])
        add_names(grid, "Adapter", [row.adapter_label for row in table.rows])
    else:
        add_names(grid, "Row", [row.label for row in table.rows])
    grid.add_column("Corr. rate", justify="right", no_wrap=True)
    for column in layout.columns:
        grid.add_column(plain(COLUMN_WORDS[column], console), justify="right", no_wrap=True)
    for row in table.rows:
        names = (row.key.source_label or ABSENT, row.adapter_label or ABSENT) if layout.split else (row.label,)
        numbers = [_number(row, column, layout, console) for column in layout.columns]
        texts = [plain(text, console) for text in (*names, rate(row.correction))]
        grid.add_row(*texts, *numbers, style="" if row.key.is_method else "dim")
    return grid


def _number(row: Row, column: Column, layout: Layout, console: Console) -> Text:
    best = column in row.best
    # a pipe shows no bold; the star says it there, and a space keeps the digits in line
    mark = "" if console.is_terminal else "*" if best else " "
    text = plain(cell(row, column, std=column in layout.std), console)
    return Text(text + mark, style="bold not dim" if best else "")


def _captions(table: Table, layout: Layout | None, console: Console) -> list[str]:
    shown = layout.columns if layout else LINE_COLUMNS
    spread = layout.std if layout else frozenset(LINE_COLUMNS)
    best = best_words(table, "Bold" if console.is_terminal else "*") if layout else ""
    lines = [seeds_words(table, std=bool(spread)) + best]
    if hidden := [words for name, words in COLUMN_WORDS.items() if name not in shown]:
        lines.append(f"Too narrow for {', '.join(hidden)}.")
    if bare := [COLUMN_WORDS[name] for name in shown if name not in spread and _has_std(table, name)]:
        lines.append(f"Too narrow for the std of {', '.join(bare)}.")
    return [*lines, *part_lines(table), *mark_notes(table.rows)]


def _has_std(table: Table, column: Column) -> bool:
    return any(value.std is not None for row in table.rows if (value := row.column(column)))


def _row_line(row: Row) -> str:
    return f"{row.label}: {rate(row.correction)}, test {cell(row, 'test')}, ΔAcc {cell(row, 'delta')}"


def _render_differences(rows: Sequence[Row], console: Console) -> None:
    options: tuple[Callable[[Sequence[Row], Console], Grid], ...] = (_wide_grid, _stacked_grid, _long_grid, _brief_grid)
    for make in options:
        grid = make(rows, console)
        if fits(grid, console, wrap=make in {_long_grid, _brief_grid}):
            console.print(grid)
            return
    say(console, [f"{row.label} {vs}: {difference(reference)}" for row in rows for _, vs, reference in _listed(row)])


def _wide_grid(rows: Sequence[Row], console: Console) -> Grid:
    return _difference_grid(rows, console, between=" ")


def _stacked_grid(rows: Sequence[Row], console: Console) -> Grid:
    return _difference_grid(rows, console, between="\n")


def _difference_grid(rows: Sequence[Row], console: Console, *, between: str) -> Grid:
    grid = new_grid()
    add_names(grid, "Row", [row.label for row in rows])
    for claim, name in reference_columns():
        grid.add_column(plain("\n".join(reference_heading(claim, name)), console), justify="right", no_wrap=True)
    for row in rows:
        references = row.claims.references if row.claims else ()
        cells = [_difference_text(reference, console, between) for reference in references]
        grid.add_row(plain(row.label, console), *cells)
    return grid


def _long_grid(rows: Sequence[Row], console: Console) -> Grid:
    return _listing_grid(rows, console, claims=True)


def _brief_grid(rows: Sequence[Row], console: Console) -> Grid:
    return _listing_grid(rows, console, claims=False)


def _listing_grid(rows: Sequence[Row], console: Console, *, claims: bool) -> Grid:
    grid = new_grid()
    add_names(grid, "Row", [row.label for row in rows])
    for heading in ("Claim", "Against", "Difference")[not claims :]:
        grid.add_column(heading, no_wrap=True, justify="right" if heading == "Difference" else "left")
    for row in rows:
        label = plain(row.label, console)
        for claim, against, reference in _listed(row):
            shown = [claim, plain(against, console)][not claims :]
            grid.add_row(label, *shown, _difference_text(reference, console, " "))
            label = ""
    return grid


def _listed(row: Row) -> list[tuple[str, str, Reference]]:
    """Return the differences that there are: claim, control, difference."""
    found = row.claims.references if row.claims else ()
    columns = reference_columns()
    return [
        (claim, reference_heading(claim, name)[1], reference)
        for (claim, name), reference in zip(columns, found, strict=True)
        if reference.difference is not None
    ]


def _difference_text(reference: Reference, console: Console, between: str) -> Text:
    text = plain(difference(reference), console).replace(" ", between, 1)
    return Text(text, style="bold" if clear_gain(reference) else "")


def _render_section(section: SideSection, console: Console) -> None:
    console.print()
    say(console, [section.title], style="bold")
    for one in section.tables:
        say(console, [one.title])
        grid = new_grid()
        add_names(grid, "Row", [label for _, label, _ in one.lines])
        for heading in one.headings:
            grid.add_column(plain(heading, console), justify="right", no_wrap=True)
        for _, label, cells in one.lines:
            grid.add_row(*(plain(text, console) for text in (label, *cells)))
        if fits(grid, console, wrap=True):
            console.print(grid)
        else:
            say(console, [_sentence(one.headings, label, cells) for _, label, cells in one.lines])
        say(console, one.notes)
    say(console, [section.caption])


def _sentence(headings: Iterable[str], label: str, cells: Iterable[str]) -> str:
    """Write a line of a table that is too wide as a sentence."""
    found = [f"{heading} {text}" for heading, text in zip(headings, cells, strict=True) if text != ABSENT]
    return f"{label}: {', '.join(found)}"


def _render_works(works: Sequence[Work], console: Console) -> None:
    console.print()
    say(console, [WORK_TITLE], style="bold")
    every = work_columns(works)
    columns = list(every)
    grid = _work_grid(works, columns, console)
    while not (fitting := fits(grid, console, wrap=True)) and len(columns) > len(narrower(columns)):
        columns = narrower(columns)
        grid = _work_grid(works, columns, console)
    if fitting:
        console.print(grid)
    else:
        say(console, [", ".join(column.text(work) for column in columns) for work in works])
    hidden = [column.heading for column in every if column not in columns]
    lines = [work_caption(columns), f"Too narrow for {', '.join(hidden)}." if hidden else ""]
    say(console, filter(None, lines))


def _work_grid(works: Sequence[Work], columns: Sequence[WorkColumn], console: Console) -> Grid:
    grid = new_grid()
    for column in columns:
        texts = [plain(column.text(work), console) for work in works]
        if column.is_name:
            add_names(grid, column.heading, texts)
        else:
            grid.add_column(plain(column.heading, console), justify="right", no_wrap=True)
    for work in works:
        grid.add_row(*(Text(plain(column.text(work), console)) for column in columns))
    return grid
