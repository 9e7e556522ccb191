"""How every report writes the losses and diagnostics of an adaptation: a table for each adapter, in its own columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.figures import names_of
from harness.leaderboard import lines_by_adapter
from harness.report.measures import SideSection, SideTable
from harness.report.notation import ABSENT, significant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.averages import Statistic
    from harness.leaderboard import Row, Table

FIGURES_TITLE = "Losses while adapting"
FIGURES_CAPTION = (
    "Means over checkpoints and seeds. A loss is what was summed and minimized, its weight included, averaged over the steps since "
    "the checkpoint before; the other figures are the adapter's own, without weights, on the last batches before each "
    "checkpoint. X-noise-floor is what the adapter takes X to be by chance, each in a way of its own; Deep CORAL's takes features "
    "to be Gaussian, and can be up to about twice what logits clustered by class give. T→T measures X where there is no gap."
)


def figures_section(table: Table) -> SideSection | None:
    """Return a table for each adapter that has diagnostics, with what they come to beneath; None where none has any."""
    if not table.measured:
        return None
    by_adapter: dict[str, list[Row]] = {}
    for row in table.measured:
        by_adapter.setdefault(row.key.adapter, []).append(row)
    lines = lines_by_adapter(table)
    tables = tuple(_side_table(adapter, rows, lines[adapter]) for adapter, rows in by_adapter.items())
    return SideSection(FIGURES_TITLE, FIGURES_CAPTION, tables)


def _side_table(adapter: str, rows: Sequence[Row], notes: Sequence[str]) -> SideTable:
    figures = [row.figures for row in rows]
    losses, diagnostics = names_of("losses", figures), names_of("diagnostics", figures)
    lines = [
        (
            row,
            row.label,
            (
                *(_figure(row.figures.losses, name) for name in losses),
                *(_figure(row.figures.diagnostics, name) for name in diagnostics),
            ),
        )
        for row in rows
    ]
    return SideTable(adapter, (*(f"Loss: {name}" for name in losses), *diagnostics), tuple(lines), tuple(notes))


def _figure(figures: Mapping[str, Statistic], name: str) -> str:
    return significant(figures[name].mean) if name in figures else ABSENT
