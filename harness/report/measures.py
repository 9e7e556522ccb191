"""How every report writes what stands beside the leaderboard: quantized rows before and after, a table for each evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from harness.claims import REFERENCES, summary_sentence
from harness.measures import measure_settings
from harness.report.notation import (
    ABSENT,
    difference,
    percent,
    reference_columns,
    reference_heading,
    significant,
)
from harness.report.tuning import TUNING_CAPTION, TUNING_TITLE, tuning_headings, tuning_lines, tuning_title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.leaderboard import Row, Table
    from harness.measures import Measured, MeasureSetting
    from harness.quantization import Precision

MEASURES_TITLE = "What evaluators found on the test images"
MEASURES_CAPTION = (
    "clean: percent labelled true unperturbed; robust: percent still labelled true when perturbed, as the harness judged it. "
    "The other columns are the evaluator's own, percent where they have two decimals."
)


QUANTIZATION_TITLE = "Before and after quantizing"
QUANTIZATION_CAPTION = (
    "BL: the baseline in full precision; PTSQ: quantized after training; PTSQ-IST: what is adapted, before it is quantized again "
    "and after. ΔAcc: points over PTSQ. MB: a million bytes, as stored. Images/s: both on one device, batch-norm folded, as timed "
    "in the run, beside whatever else ran. simulated: integers computed in float; they would take so many MB, and the speed is the "
    "simulation's, not theirs."
)


@dataclass(frozen=True)
class SideTable:
    """A table beside the leaderboard: its title, headings, and for each line its row of the leaderboard, label and cells.

    ``notes`` are sentences below it.
    """

    title: str
    headings: tuple[str, ...]
    lines: tuple[tuple[Row, str, tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()


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
    return [SideTable(table.title, headings, tuple(lines), tuple(_timed_on(table)))] if lines else []


def _timed_on(table: Table) -> Iterator[str]:
    """Say what images/s were timed on, where the rows agree in that."""
    timed = {row.quantized.timed for row in table.rows if row.quantized}
    if len(timed) == 1 and (found := timed.pop()):
        threads = f", {found.threads} thread{'s' if found.threads > 1 else ''}" if found.device == "cpu" else ""
        yield f"Images/s were timed on: {found.device}{threads}."


def _before_and_after(row: Row) -> Iterator[tuple[Row, str, tuple[str, ...]]]:
    if row.quantized is None:
        return
    if row.key.control == "none":
        before, after = "BL", "PTSQ"
    else:
        approach = f"PTSQ-IST {row.label}" if row.key.is_method else row.label
        before, after = f"{approach} (before)", f"{approach} (after)"
    yield row, before, _precision(row.quantized.before, ABSENT)
    gain = ABSENT if row.key.control == "none" else percent(row.delta, signed=True)
    yield row, after, _precision(row.quantized.after, gain)


def _precision(found: Precision, gain: str) -> tuple[str, ...]:
    accuracies = (found.source, found.train, found.valid, found.test)
    told = " simulated" if found.simulated else ""
    size = ABSENT if found.megabytes is None else significant(found.megabytes) + told
    speed = ABSENT if found.images_per_second is None else significant(found.images_per_second.mean) + told
    return (*map(percent, accuracies), gain, size, speed)


def measure_tables(table: Table) -> list[SideTable]:
    """Return a table for each evaluator, in the order of the spec; several where not all rows were measured alike."""
    settings = measure_settings(row.measures for row in table.rows)
    tables = []
    for setting in settings:
        name = setting.name
        rows = [row for row in table.rows if name in row.measures and row.measures[name].setting == setting]
        title = f"{name}{_told_apart(setting, [other for other in settings if other.name == name])}"
        tables += [_measure_table(rows, name, title), *_robust_differences(rows, name, title)]
    return tables


def _told_apart(setting: MeasureSetting, settings: Sequence[MeasureSetting]) -> str:
    """Say what tells a setting from others of its name and is said nowhere else in the title."""
    said = setting.words()
    names = [name for name in said if name not in {"eps", "norm"}]
    differing = [name for name in names if any(other.words().get(name, ABSENT) != said[name] for other in settings)]
    told = [f"{name} {ABSENT if said[name] is None else said[name]}" for name in differing]
    return f" ({', '.join(told)})" if told else ""


def _measure_table(rows: Sequence[Row], name: str, title: str) -> SideTable:
    found = [row.measures[name] for row in rows]
    robust = ["robust"] if any(one.robust for one in found) else []
    own = dict.fromkeys(figure for one in found for figure in (*one.shares, *one.figures))
    headings = ("clean", *robust, *own)
    lines = tuple((row, row.label, tuple(_cell(row.measures[name], key) for key in headings)) for row in rows)
    threat = f", {found[0].threat}" if found[0].threat else ""
    sampling = f"; of so many a share is known to within ±{_sampling_error(found[0].samples):.1f} points (95%)"
    return SideTable(f"{title}: {found[0].samples} test images{threat}{sampling}", headings, lines)


def _sampling_error(samples: int) -> float:
    """Return half the width of the widest 95% interval of a share of so many images, in points (normal approximation)."""
    return 100 * 1.96 * sqrt(0.25 / samples)


def _robust_differences(rows: Sequence[Row], name: str, title: str) -> list[SideTable]:
    """Compare rows that were measured alike with their controls in robust accuracy, by the controls that were run."""
    judged = [(row, row.robust_claims[name]) for row in rows if name in row.robust_claims]
    wanted = [
        place
        for place, _ in enumerate(reference_columns())
        if any(claims.references[place].difference is not None for _, claims in judged)
    ]
    if not wanted:
        return []
    headings = tuple(" ".join(reference_heading(*reference_columns()[place])) for place in wanted)
    lines = tuple(
        (row, row.label, tuple(difference(claims.references[place]) for place in wanted)) for row, claims in judged
    )
    told = tuple(summary_sentence(claim, [claims for _, claims in judged]) for claim in REFERENCES)
    threat = rows[0].measures[name].threat
    within = f", {threat}" if threat else ""
    heading = f"{title}{within}: paired differences in robust accuracy (points, 95% interval)"
    return [SideTable(heading, headings, lines, told)]


def _cell(measured: Measured, key: str) -> str:
    if key in {"clean", "robust"}:
        return percent(measured.clean if key == "clean" else measured.robust)
    if key in measured.shares:
        return percent(measured.shares[key])
    return significant(measured.figures[key].mean) if key in measured.figures else ABSENT
