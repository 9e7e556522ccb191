"""What the reader of a comparison with a published table should know of the figures, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.counterparts import differences
from harness.printed_settings import measure_wanted, other_measures
from harness.published_figures import clean_on_attacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.counterparts import Subject
    from harness.published import PublishedTable
    from harness.published_comparison import ComparedRow
    from harness.published_figures import ComparedFigure


class Interval(NamedTuple):
    """The ends of an interval, in percent."""

    low: float
    high: float


def remarks(rows: Sequence[ComparedRow], subject: Subject, table: PublishedTable, adapter: str | None) -> list[str]:
    """Return what is to be said of a comparison's rows."""
    return [*_namesakes(rows, subject, table, adapter), *_robustness(rows, table)]


def sampling_interval(percent: float, samples: int) -> Interval:
    """Return Wilson's 95% interval of a share in percent of ``samples`` images that were drawn from more."""
    from scipy.stats import binomtest

    found = binomtest(round(percent * samples / 100), samples).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(100 * found.low, 100 * found.high)


def _namesakes(rows: Sequence[ComparedRow], subject: Subject, table: PublishedTable, adapter: str | None) -> list[str]:
    """Say why a row that is called after a corrector of theirs does not answer it."""
    printed = {
        table.paper.correctors[row.published.attack]: row.published.attack for row in rows if row.published.attack
    }
    used = {row.ours.key for row in rows if row.ours}
    said = []
    for key, records in {**(subject.full_precision or {}), **subject.rows}.items():
        name = str(key.corrector)
        if key.is_method and key.adapter == adapter and name in printed and key not in used:
            other = dict.fromkeys(how for one in records.values() for how in differences(table.presets[name], one))
            if other:
                said.append(f"{key.label} is not their {printed[name]}: {'; '.join(other)}.")
    return said


def _robustness(rows: Sequence[ComparedRow], table: PublishedTable) -> list[str]:
    wanted = measure_wanted(table)
    if not wanted:
        return []
    if any(row.figure("autoattack").ours for row in rows):
        said = [_on_a_part(row, table) for row in rows]
        parts = [one for one in said if one]
        return [f"On a part of the test images alone: {'; '.join(parts)}. {_HOW}"] if parts else []
    run = other_measures([record for row in rows if row.ours for record in row.ours.records.values()], wanted)
    but = f"; they have it with {', '.join(run)}" if run else ""
    return [f"No AutoAttack with {wanted['norm']} {wanted['eps']:.4g} in these records{but}."]


_HOW = (
    "Intervals: Wilson's, 95%, of the seeds' mean on that many images; the seeds share these, so it is what drawing the images "
    "leaves open."
)


def _on_a_part(row: ComparedRow, table: PublishedTable) -> str:
    cell: ComparedFigure = row.figure("autoattack")
    if row.ours is None or cell.ours is None or cell.samples is None:
        return ""
    if cell.samples == max(record.counts["test"] for record in row.ours.records.values()):
        return ""
    low, high = sampling_interval(cell.ours.mean, cell.samples)
    clean = clean_on_attacked(row.ours, measure_wanted(table))
    before = f", clean {clean.mean:.2f}" if clean else ""
    return f"{row.published.label} {cell.ours.mean:.2f} [{low:.2f}, {high:.2f}]{before} (n = {cell.samples:,})"
