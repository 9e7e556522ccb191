"""How every report writes what evaluators found: a table for each evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.measures import measure_names
from harness.report.notation import ABSENT, percent, significant

if TYPE_CHECKING:
    from harness.leaderboard import Row, Table
    from harness.measures import Measured

MEASURES_TITLE = "What evaluators found on the test images"
MEASURES_CAPTION = (
    "clean: percent labelled true unperturbed; robust: percent still labelled true when perturbed, as the harness judged it. "
    "The other columns are the evaluator's own, percent where they have two decimals."
)


@dataclass(frozen=True)
class MeasureTable:
    """One evaluator's findings: what it measured on, headings, and the cells of each row."""

    title: str
    headings: tuple[str, ...]
    lines: tuple[tuple[Row, tuple[str, ...]], ...]


def measure_tables(table: Table) -> list[MeasureTable]:
    """Return a table for each evaluator, in the order of the spec."""
    return [_measure_table(table, name) for name in measure_names(row.measures for row in table.rows)]


def _measure_table(table: Table, name: str) -> MeasureTable:
    rows = [row for row in table.rows if name in row.measures]
    found = [row.measures[name] for row in rows]
    robust = ["robust"] if any(one.robust for one in found) else []
    own = dict.fromkeys(figure for one in found for figure in (*one.shares, *one.figures))
    headings = ("clean", *robust, *own)
    lines = tuple((row, tuple(_cell(row.measures[name], key) for key in headings)) for row in rows)
    threat = f", {found[0].threat}" if found[0].threat else ""
    return MeasureTable(f"{name}: {found[0].samples} test images{threat}", headings, lines)


def _cell(measured: Measured, key: str) -> str:
    if key in {"clean", "robust"}:
        return percent(measured.clean if key == "clean" else measured.robust)
    if key in measured.shares:
        return percent(measured.shares[key])
    return significant(measured.figures[key].mean) if key in measured.figures else ABSENT
