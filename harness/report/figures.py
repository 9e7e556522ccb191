"""How every report writes the losses and diagnostics of an adaptation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.figures import names_of
from harness.report.notation import ABSENT, significant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.averages import Statistic
    from harness.leaderboard import Row, Table

FIGURES_TITLE = "Losses while adapting"
FIGURES_CAPTION = (
    "Means over checkpoints and seeds. A loss is what was summed and minimized, its weight included, averaged over the steps since "
    "the checkpoint before; the other figures are the adapter's own, without weights, on the last batches before each "
    "checkpoint. A noise floor is the adapter's estimate of what sampling alone makes of that figure. It takes features to be "
    "Gaussian, and can be up to about twice what logits clustered by class give; T→T measures the figure where there is no gap."
)


def figure_headings(table: Table) -> list[str]:
    """Return the headings of the table's losses, then of its diagnostics."""
    figures = [row.figures for row in table.measured]
    return [*(f"Loss: {name}" for name in names_of("losses", figures)), *names_of("diagnostics", figures)]


def figure_cells(table: Table, row: Row) -> list[str]:
    """Return a row's values under these headings."""
    figures = [row.figures for row in table.measured]
    return [
        *(_figure(row.figures.losses, name) for name in names_of("losses", figures)),
        *(_figure(row.figures.diagnostics, name) for name in names_of("diagnostics", figures)),
    ]


def _figure(figures: Mapping[str, Statistic], name: str) -> str:
    return significant(figures[name].mean) if name in figures else ABSENT
