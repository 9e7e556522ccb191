"""How every report writes its numbers and names its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.claims import REFERENCE_WORDS, REFERENCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.averages import Statistic
    from harness.claims import ClaimName, Reference, ReferenceName
    from harness.corrections import CorrectionCounts
    from harness.leaderboard import Column, Row, Table

ABSENT = "–"

COLUMN_WORDS: Mapping[Column, str] = {
    "source": "T'",
    "train": "Train",
    "valid": "Valid",
    "test": "Test",
    "delta": "ΔAcc",
}

DIFFERENCES_TITLE = "Paired differences in test accuracy (points, 95% interval)"


def reference_columns() -> list[tuple[ClaimName, ReferenceName]]:
    """Return the columns of the table of differences."""
    return [(claim, reference) for claim, references in REFERENCES.items() for reference in references]


def reference_heading(claim: ClaimName, reference: ReferenceName) -> tuple[str, str]:
    """Return the two lines of such a column's heading."""
    return f"{claim}:", f"vs {REFERENCE_WORDS[reference]}"


def percent(statistic: Statistic | None, *, signed: bool = False, std: bool = True) -> str:
    """Write a share in percent points, ``93.29 ± 0.37``; the mean alone for one seed."""
    if statistic is None:
        return ABSENT
    mean = f"{100 * statistic.mean:+z.2f}" if signed else f"{100 * statistic.mean:z.2f}"
    return f"{mean} ± {100 * statistic.std:.2f}" if std and statistic.std is not None else mean


def cell(row: Row, column: Column, *, std: bool = True) -> str:
    """Write one accuracy of a row."""
    return percent(row.column(column), signed=column == "delta", std=std)


def loss(statistic: Statistic | None) -> str:
    """Write a mean loss."""
    return ABSENT if statistic is None else f"{statistic.mean:.4f}"


def rate(counts: CorrectionCounts | None) -> str:
    """Write a correction rate, ``55/176 (31%)``: means over seeds; a sham's is labelled true/moved."""
    if counts is None or counts.tried is None:
        return ABSENT
    share = ABSENT if counts.rate is None else whole_percent(counts.rate)
    return f"{_count(counts.corrected.mean)}/{_count(counts.tried.mean)} ({share})"


def significant(value: float) -> str:
    """Write a number with three significant digits, the units' digits in full."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:#.3g}" if abs(value) >= 1e-4 else f"{value:.3g}"


def whole_percent(share: float) -> str:
    """Round to whole percent, but never to all or nothing what is not."""
    if 0 < share < 0.01:
        return "<1%"
    if 0.99 < share < 1:
        return ">99%"
    return f"{100 * share:.0f}%"


def difference(reference: Reference) -> str:
    """Write a paired difference: with its interval, or for one seed with McNemar's p."""
    if reference.difference is None:
        return ABSENT
    p_values = "".join(f" (p = {test.p:.2g})" for test in reference.mcnemar.values())
    return f"{reference.difference}{p_values if reference.difference.n == 1 else ''}"


def clear_gain(reference: Reference) -> bool:
    """Whether a difference's interval lies above zero."""
    found = reference.difference
    return found is not None and found.p is not None and found.low is not None and found.low > 0


def seeds_words(table: Table, *, std: bool = True) -> str:
    """Say over which seeds a table's means are taken, and whether their std is shown."""
    seeds = _seeds(table)
    listed = ", ".join(map(str, seeds))
    if len(seeds) == 1:
        return f"Percent (ΔAcc: points), seed {listed} alone."
    return f"Percent (ΔAcc: points), {'mean ± sample std' if std else 'mean'} over seeds {listed}."


def best_words(table: Table, mark: str) -> str:
    """Say what a mark on the best means, nothing where no row bears it."""
    if not any(row.best for row in table.rows):
        return ""
    seeds = _seeds(table)
    complete = all(list(row.seeds) == seeds for row in table.rows)
    return f" {mark}: best mean{'' if complete else ' of the rows with every seed'}."


def _seeds(table: Table) -> list[int]:
    return sorted({seed for row in table.rows for seed in row.seeds})


def _count(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"
