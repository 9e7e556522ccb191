"""How fast attacks are, beside what they corrected: a table made of a file of timings and of an experiment's records."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rich.measure import Measurement
from rich.text import Text

from harness.report.markdown import escape
from harness.report.notation import ABSENT, significant, whole_percent
from harness.report.terminal_grid import LONGEST_WORD, add_names, fits, new_grid, plain, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table as Grid

    from harness.report.timing_rows import Correction, TimingRow, TimingTable

VERSION = 1
TITLE = "How fast the attacks are"
UNTIMED_TITLE = "Without a timing"
_NOTES = (
    "ms/image: the median round's, divided by the batch. It holds for the machine and the images of this file alone.",
    "Forward, backward: images through the network per image. Success: the share of the images that end as wanted.",
)
_RATES = "Corr. rate: of the experiment's correctors with that attack, whatever their options."


@dataclass(frozen=True)
class Column:
    """A column: its heading, what it says of a row, when it is dropped (0: never).

    Names may be folded, numbers and lists may not; a list has one item a line.
    """

    heading: str
    text: Callable[[TimingRow], str]
    kind: Literal["name", "number", "list"] = "number"
    dropped: int = 0


def to_markdown(table: TimingTable) -> str:
    """Return the table, what has no timing, and how to read it."""
    blocks = [f"# {TITLE}", escape(_origin(table))]
    if table.rows:
        blocks.append(_markdown_grid(_columns(table), table.rows))
    blocks += [f"- {escape(line)}" for line in _remarks(table)]
    if table.timings.untimed:
        lines = [f"- {escape(line)}" for line in _untimed_lines(table)]
        blocks += [f"## {UNTIMED_TITLE}", "\n".join(lines)]
    return "\n\n".join(blocks) + "\n"


def to_csv(table: TimingTable) -> str:
    """Return a line for each corrector of each timed attack, one for an attack without any, and one for each without a timing."""
    lines = [flat for row in table.rows for flat in _flat(row)]
    lines += [{"attack": one.attack, "untimed": one.reason} for one in table.timings.untimed]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def to_json(table: TimingTable) -> dict[str, Any]:
    """Return plain dicts, lists, strings and numbers: shares in [0, 1], null for what does not exist."""
    timings = table.timings
    return {
        "version": VERSION,
        "file": timings.file,
        "date": timings.date or None,
        "machine": timings.machine or None,
        "experiment": table.experiment,
        "timings": [
            row.timing.measured.model_dump(mode="json", exclude={"format"})
            | {"seconds_per_image": row.timing.seconds_per_image, "rounds": row.timing.rounds}
            | {"correctors": [_correction(one) for one in row.corrections]}
            for row in table.rows
        ],
        "untimed": [one.model_dump(mode="json", exclude={"format"}) for one in timings.untimed],
        "unmatched": [_correction(one) for one in table.unmatched],
        "other_benchmarks": timings.others,
    }


def render(table: TimingTable, console: Console) -> None:
    """Print the table with as many columns as fit, then what has no timing."""
    say(console, [TITLE], style="bold")
    say(console, [_origin(table)])
    if table.rows:
        _render_rows(table, console)
    say(console, _remarks(table))
    say(console, _untimed_lines(table), heading=UNTIMED_TITLE)


def _origin(table: TimingTable) -> str:
    timings = table.timings
    beside = [f"beside the correction rates of {table.experiment}"] if table.experiment else []
    return ", ".join([timings.file, *filter(None, [timings.date, timings.machine]), *beside]) + "."


def _columns(table: TimingTable) -> list[Column]:
    settings = {_device(row) for row in table.rows}
    rates = [Column("Corr. rate", _rates, "list")] if table.experiment else []
    return [
        Column("Attack", _attack, "name"),
        Column("Objective", _objective, "name", dropped=1),
        *([Column("Device", _device, "name")] if len(settings) > 1 else []),
        Column("Norm", lambda row: row.timing.measured.norm, dropped=6),
        Column("Batch", lambda row: str(row.timing.measured.batch), dropped=5),
        Column("ms/image", lambda row: significant(1000 * row.timing.seconds_per_image)),
        Column("Forward", lambda row: f"{row.timing.measured.forward:.1f}", dropped=4),
        Column("Backward", lambda row: f"{row.timing.measured.backward:.1f}", dropped=3),
        Column("Success", lambda row: whole_percent(row.timing.measured.success)),
        Column("Median norm", lambda row: significant(row.timing.measured.median_norm), dropped=2),
        *rates,
    ]


def _attack(row: TimingRow) -> str:
    measured = row.timing.measured
    options = ", ".join(f"{name} {_written(value)}" for name, value in measured.options.items())
    name = f"{measured.attack}{'*' if measured.cut else ''}"
    return f"{name} ({options})" if options else name


def _written(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _objective(row: TimingRow) -> str:
    return row.timing.measured.objective or "attack"


def _device(row: TimingRow) -> str:
    measured = row.timing.measured
    return f"{measured.device}, {measured.threads} thread{'s' if measured.threads > 1 else ''}"


def _rates(row: TimingRow) -> str:
    return "\n".join(one.text for one in row.corrections) or ABSENT


def _remarks(table: TimingTable) -> list[str]:
    """Return how to read the numbers, and what this table leaves out."""
    lines = list(_NOTES) if table.rows else []
    settings = sorted({_device(row) for row in table.rows})
    if len(settings) == 1:
        lines.append(f"Timed on {settings[0]}.")
    if any(row.timing.measured.cut for row in table.rows):
        lines.append("*: ended when its passes were spent.")
    if table.experiment:
        lines.append(_RATES)
    if table.unmatched:
        listed = ", ".join(f"{one.text} ({one.attack})" for one in table.unmatched)
        lines.append(f"Correctors whose attack is not timed here: {listed}.")
    if table.timings.others:
        lines.append(
            f"Left out: {table.timings.others} of the file's benchmarks, which do not say what attack they time."
        )
    return lines


def _untimed_lines(table: TimingTable) -> list[str]:
    return [f"{one.attack}: {one.reason}" for one in table.timings.untimed]


def _in_line(column: Column, row: TimingRow) -> str:
    return column.text(row).replace("\n", "; ")


def _markdown_grid(columns: Sequence[Column], rows: Iterable[TimingRow]) -> str:
    heads = [column.heading for column in columns]
    rule = ["---:" if column.kind == "number" else "---" for column in columns]
    lines = [[escape(_in_line(column, row)) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines))


def _render_rows(table: TimingTable, console: Console) -> None:
    every = columns = _columns(table)
    grid = _grid(table, columns, console)
    while not (fitting := _fits_folded(grid, console)) and any(column.dropped for column in columns):
        columns = _narrower(columns)
        grid = _grid(table, columns, console)
    if fitting:
        console.print(grid)
    else:
        say(console, [", ".join(_in_line(column, row) for column in columns) for row in table.rows])
    hidden = [column.heading for column in every if column not in columns]
    say(console, [f"Too narrow for {', '.join(hidden)}."] if hidden else [])


def _fits_folded(grid: Grid, console: Console) -> bool:
    """Whether a grid fits, its names folded where they must be; they then get what width is left, the first ones first.

    Left to itself, rich takes the width from columns that cannot spare it, and cuts numbers short.
    """
    if fits(grid, console, wrap=False):
        return True
    names = [column for column in grid.columns if not column.no_wrap]
    for column in names:
        column.max_width = LONGEST_WORD
    if not fits(grid, console, wrap=False):
        return False
    unbounded = console.options.update(max_width=10_000)
    for column in names:
        column.max_width = LONGEST_WORD + console.width - Measurement.get(console, unbounded, grid).maximum
    return True


def _narrower(columns: Sequence[Column]) -> list[Column]:
    first = min(column.dropped for column in columns if column.dropped)
    return [column for column in columns if column.dropped != first]


def _grid(table: TimingTable, columns: Sequence[Column], console: Console) -> Grid:
    grid = new_grid()
    for column in columns:
        if column.kind == "name":
            add_names(grid, column.heading, [plain(column.text(row), console) for row in table.rows])
        else:
            grid.add_column(column.heading, justify="right" if column.kind == "number" else "left", no_wrap=True)
    for row in table.rows:
        grid.add_row(*(Text(plain(column.text(row), console)) for column in columns))
    return grid


def _correction(one: Correction) -> dict[str, Any]:
    counts = one.counts
    return {
        "model": one.model or None,
        "corrector": one.corrector,
        "attack": one.attack,
        "wrong": counts.wrong.mean,
        "corrected": counts.corrected.mean,
        "rate": counts.rate,
    }


_MEASURED = (
    "attack",
    "distribution",
    "version",
    "library",
    "purpose",
    "objective",
    "select",
    "norm",
    "batch",
    "device",
)
_NUMBERS = ("threads", "success", "forward", "backward", "median_norm", "cut")
_RATE = ("model", "corrector", "wrong", "corrected", "rate")
_HEADER = (*_MEASURED, *_NUMBERS, "options", "seconds_per_image", "rounds", "untimed", *_RATE)


def _flat(row: TimingRow) -> list[dict[str, Any]]:
    measured = row.timing.measured
    flat = {name: getattr(measured, name) for name in (*_MEASURED, *_NUMBERS)}
    flat |= {"options": json.dumps(measured.options, sort_keys=True)}
    flat |= {"seconds_per_image": row.timing.seconds_per_image, "rounds": row.timing.rounds}
    made = [{name: _correction(one)[name] for name in _RATE} for one in row.corrections]
    return [{**flat, **one} for one in made or [{}]]
