"""The lines that every report sets beneath its tables: flags, missing differences, Wilcoxon's test, failed cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.claims import REFERENCE_WORDS
from harness.rows import RowKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.claims import Claim
    from harness.leaderboard import Row, Table
    from harness.records import CellFailure

INDENT = "  "
_ONE_SEED = "One seed has no interval: p is McNemar's (McNemar p), exact, on the predictions for its test images."


def flag_lines(table: Table) -> list[str]:
    """Say each flag once, with the rows that it is raised in."""
    rows_of: dict[str, list[Row]] = {}
    for row in table.rows:
        for flag in row.flags:
            rows_of.setdefault(flag, []).append(row)
    return [_flag(flag, rows, table.rows) for flag, rows in rows_of.items()]


def _flag(flag: str, raised: Sequence[Row], rows: Sequence[Row]) -> str:
    """Say a flag with its rows; an adapter's own, which names it and is raised in all of its rows, needs none."""
    text = " ".join(flag.split())
    (adapter, *others) = dict.fromkeys(row.key.adapter for row in raised)
    whole = len(raised) == sum(row.key.adapter == adapter for row in rows)
    if not others and whole and flag.startswith(f"{adapter}: "):
        return text
    return f"{', '.join(row.label for row in raised)}: {text}"


def missing_lines(table: Table) -> list[str]:
    """Say which claims' differences are missing and why, once for all rows that lack the same ones."""
    labels_of: dict[str, list[str]] = {}
    for row in table.rows:
        lacking = "; ".join(_lacking(claim) for claim in row.claims or () if claim.missing)
        if lacking:
            labels_of.setdefault(lacking, []).append(row.label)
    return [f"{', '.join(labels)}: {lacking}" for lacking, labels in labels_of.items()]


def part_lines(table: Table) -> list[str]:
    """Say where only some of a table's rows are shown; what is said of them is still of all."""
    if table.of is None or table.of == len(table.rows):
        return []
    return [f"{len(table.rows)} of {table.of} rows; the best mean and Holm's adjustment are those of all {table.of}."]


def one_seed_lines(table: Table) -> list[str]:
    """Say what p stands beside a difference of one seed; no line where there is none."""
    alone = any(
        reference.difference is not None and reference.difference.n == 1
        for row in table.rows
        for reference in (row.claims.references if row.claims else ())
    )
    return [_ONE_SEED] * alone


def wilcoxon_lines(table: Table) -> list[str]:
    """Name the difference with the smallest signed-rank p; no line where no row has the seeds for the test."""
    tested = [
        (
            found.wilcoxon_p,
            f"{row.label} vs {REFERENCE_WORDS[reference.name]} ({found.mean:+z.2f} points, n = {found.n})",
        )
        for row in table.rows
        for reference in (row.claims.references if row.claims else ())
        if (found := reference.difference) and found.wilcoxon_p is not None
    ]
    if not tested:
        return []
    smallest = min(p for p, _ in tested)
    first, *others = [words for p, words in tested if p == smallest]
    tied = f", and {len(others)} more as small" if others else ""
    return [f"Smallest of {len(tested)} Wilcoxon p-values, none adjusted: {smallest:.2g}, {first}{tied}."]


def failure_lines(table: Table) -> list[str]:
    """Say each reason once, with the stage and the cells that failed for it; lines after its first are indented."""
    failed: dict[tuple[str, str], list[CellFailure]] = {}
    for failure in table.failures:
        failed.setdefault((failure.stage, _indented(failure.reason)), []).append(failure)
    # Where nothing else is in the table, its title says which cells these are.
    named = bool(table.rows) or len(failed) > 1
    return [_failure(stage, reason, cells, named=named) for (stage, reason), cells in failed.items()]


def _lacking(claim: Claim) -> str:
    absent = [REFERENCE_WORDS[reference.name] for reference in claim.references if reference.missing]
    against = f" vs {', '.join(absent)}" if len(absent) < len(claim.references) else ""
    return ", ".join(dict.fromkeys([f"no {claim.name} difference{against}", *claim.missing]))


def _failure(stage: str, reason: str, cells: Sequence[CellFailure], *, named: bool) -> str:
    if len(cells) == 1:
        return f"{_cells(cells)}: failed at {stage}: {reason}"
    return f"{len(cells)} cells{f' ({_cells(cells)})' if named else ''} failed at {stage}: {reason}"


def _cells(failures: Sequence[CellFailure]) -> str:
    seeds_of: dict[str, list[int]] = {}
    for failure in failures:
        seeds_of.setdefault(RowKey.of(failure.cell).label, []).append(failure.cell.seed)
    return "; ".join(
        f"{label}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}"
        for label, seeds in seeds_of.items()
    )


def _indented(reason: str) -> str:
    return f"\n{INDENT}".join(line.rstrip() for line in reason.strip().splitlines() if line.strip())
