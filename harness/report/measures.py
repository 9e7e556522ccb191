"""How every report writes what stands beside the leaderboard: quantized rows before and after, a table for each evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.measures import measure_names
from harness.report.notation import ABSENT, percent, significant
from harness.report.tuning import TUNING_CAPTION, TUNING_TITLE, tuning_headings, tuning_lines, tuning_title

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.leaderboard import Row, Table
    from harness.measures import Measured
    from harness.quantization import Precision

MEASURES_TITLE = "What evaluators found on the test images"
MEASURES_CAPTION = (
    "clean: percent labelled true unperturbed; robust: percent still labelled true when perturbed, as the harness judged it. "
    "The other columns are the evaluator's own, percent where they have two decimals."
)


QUANTIZATION_TITLE = "Before and after quantizing"
QUANTIZATION_CAPTION = (
    "BL: the baseline in full precision; PTSQ: quantized after training; PTSQ-IST: what is adapted, before it is quantized again "
    "and after. ΔAcc: points over PTSQ. MB: a million bytes, as stored. Images/s: as timed in the run, beside whatever else ran."
)


@dataclass(frozen=True)
class SideTable:
    """A table beside the leaderboard: its title, headings, and for each line its row of the leaderboard, label and cells."""

    title: str
    headings: tuple[str, ...]
    lines: tuple[tuple[Row, str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class SideSection:
    """Tables of one kind, with what is said of all of them."""

    title: str
    caption: str
    tables: tuple[SideTable, ...]


def side_sections(table: Table) -> list[SideSection]:
    """Return what stands beside a leaderboard, if anything does."""
    found = [
        SideSection(QUANTIZATION_TITLE, QUANTIZATION_CAPTION, tuple(quantization_tables(table))),
        SideSection(MEASURES_TITLE, MEASURES_CAPTION, tuple(measure_tables(table))),
        SideSection(TUNING_TITLE, TUNING_CAPTION, tuple(tuning_tables(table))),
    ]
    return [section for section in found if section.tables]


def tuning_tables(table: Table) -> list[SideTable]:
    """Return what searches chose; nothing where nothing was tuned."""
    lines = tuning_lines(table)
    return [SideTable(tuning_title(table), tuning_headings(table), tuple(lines))] if lines else []


def quantization_tables(table: Table) -> list[SideTable]:
    """Return the quantized rows in two lines each, the paper's "before" and "after"; nothing for full precision."""
    lines = [line for row in table.rows for line in _before_and_after(row)]
    headings = ("T'", "Train", "Valid", "Test", "ΔAcc", "MB", "Images/s")
    return [SideTable(table.title, headings, tuple(lines))] if lines else []


def _before_and_after(row: Row) -> Iterator[tuple[Row, str, tuple[str, ...]]]:
    if row.quantized is None:
        return
    if row.key.control == "none":
        before, after = "BL", "PTSQ"
    else:
        approach = f"PTSQ-IST {row.key.label}" if row.key.is_method else row.key.label
        before, after = f"{approach} (before)", f"{approach} (after)"
    yield row, before, _precision(row.quantized.before, ABSENT)
    gain = ABSENT if row.key.control == "none" else percent(row.delta, signed=True)
    yield row, after, _precision(row.quantized.after, gain)


def _precision(found: Precision, gain: str) -> tuple[str, ...]:
    accuracies = (found.source, found.train, found.valid, found.test)
    size = ABSENT if found.megabytes is None else significant(found.megabytes)
    speed = ABSENT if found.images_per_second is None else significant(found.images_per_second.mean)
    return (*map(percent, accuracies), gain, size, speed)


def measure_tables(table: Table) -> list[SideTable]:
    """Return a table for each evaluator, in the order of the spec."""
    return [_measure_table(table, name) for name in measure_names(row.measures for row in table.rows)]


def _measure_table(table: Table, name: str) -> SideTable:
    rows = [row for row in table.rows if name in row.measures]
    found = [row.measures[name] for row in rows]
    robust = ["robust"] if any(one.robust for one in found) else []
    own = dict.fromkeys(figure for one in found for figure in (*one.shares, *one.figures))
    headings = ("clean", *robust, *own)
    lines = tuple((row, row.key.label, tuple(_cell(row.measures[name], key) for key in headings)) for row in rows)
    threat = f", {found[0].threat}" if found[0].threat else ""
    return SideTable(f"{name}: {found[0].samples} test images{threat}", headings, lines)


def _cell(measured: Measured, key: str) -> str:
    if key in {"clean", "robust"}:
        return percent(measured.clean if key == "clean" else measured.robust)
    if key in measured.shares:
        return percent(measured.shares[key])
    return significant(measured.figures[key].mean) if key in measured.figures else ABSENT
