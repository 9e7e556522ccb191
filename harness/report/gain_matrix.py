"""A leaderboard at a glance: the mean gain in test accuracy of each adapter from each source, where the table is a long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.controls import SUBSTITUTES
from harness.report.notation import ABSENT, cell
from harness.report.text_table import TextColumn, TextTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.leaderboard import Row, Table

LONG = 40
"""Rows of a table from which on it is printed."""
TITLE = "ΔAcc at a glance, in points: adapter by corrector"
_ELSEWHERE = (*SUBSTITUTES, "random-subset")


def gain_matrix(table: Table) -> TextTable | None:
    """Return a line an adapter, and a column for each corrector, for T→T and for the curriculum; None for a short table.

    Rows that stand for no corrector (shams, random subsets, corrections for other models) are left to the table itself; those that
    have neither an adapter nor a source are named in a note.
    """
    if len(table.rows) < LONG:
        return None
    rows = [row for row in table.rows if row.key.source_label and row.adapter_label]
    shown = [row for row in rows if row.key.control not in _ELSEWHERE]
    gains = {(row.adapter_label, row.key.source_label): cell(row, "delta", std=False) for row in shown}
    adapters = tuple(dict.fromkeys(row.adapter_label for row in shown))
    return TextTable(
        heading="Adapter",
        labels=adapters,
        dim=tuple(adapter == "finetune-source" for adapter in adapters),
        columns=tuple(
            TextColumn(source, tuple(gains.get((adapter, source), ABSENT) for adapter in adapters), rank)
            for rank, source in enumerate(_sources(shown))
        ),
        notes=tuple(_alone(table.rows)),
    )


def _sources(rows: Iterable[Row]) -> list[str]:
    """Return the columns; T→T and the curriculum, which every other is compared with, first."""
    return sorted(
        dict.fromkeys(row.key.source_label for row in rows),
        key=lambda source: ("T→T", "curriculum").index(source) if source in {"T→T", "curriculum"} else 2,
    )


def _alone(rows: Iterable[Row]) -> list[str]:
    said = [f"{row.label} {cell(row, 'delta', std=False)}" for row in rows if not row.key.source_label]
    return [f"Trained on T alone: {', '.join(said)}."] if said else []
