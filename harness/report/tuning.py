"""How every report writes what searches chose: a line a row, the seeds' values side by side where they differ."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from harness.report.notation import ABSENT
from harness.validation import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.leaderboard import Row, Table
    from harness.searches import Tuning

TUNING_TITLE = "Search"
TUNING_CAPTION = (
    "Every row that can be tuned has the same number of trials; the one with the best validation accuracy (Valid, percent, which "
    "is flattered by that choice) is what the tables above measure. Distinct: settings that differ; the other trials repeat them "
    "with other orders of the batches. Seeds' values in this order, one where all are the same."
)


def tuning_title(table: Table) -> str:
    """Say by which sampler, in how many trials, and over which seeds."""
    found = [row for row in table.rows if row.tuning]
    first = found[0].tuning
    seeds = sorted({seed for row in found for seed in row.seeds})
    over = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return f"{first.sampler}, {first.trials} trials a row and seed; {over}" if first else ""


def tuning_headings(table: Table) -> tuple[str, ...]:
    """Return the columns: a dimension's is called after its option, and after its owner where two options are called the same."""
    found = _tunings(table)
    lost = ("Lost",) * any(tuning.failed for tuning in found)
    order = ("Batch order",) * any(any(tuning.repetitions.values()) for tuning in found)
    return ("Distinct", *lost, "Valid", *_names(found).values(), *order)


def tuning_lines(table: Table) -> list[tuple[Row, str, tuple[str, ...]]]:
    """Return a line for each row that was tuned."""
    headings, names = tuning_headings(table), _names(_tunings(table))
    return [
        (row, row.label, tuple(_cells(row.tuning, names)[heading] for heading in headings))
        for row in table.rows
        if row.tuning
    ]


def _cells(tuning: Tuning, names: Mapping[str, str]) -> dict[str, str]:
    return {
        "Distinct": together(tuning.distinct.values()),
        "Lost": str(tuning.failed),
        "Valid": together([f"{100 * value:.2f}" for value in tuning.valid.per_seed.values()]),
        "Batch order": together(number + 1 for number in tuning.repetitions.values()),
        **{
            heading: together(tuning.chosen[name].values()) if name in tuning.chosen else ABSENT
            for name, heading in names.items()
        },
    }


def together(values: Iterable[Any]) -> str:
    """Write the seeds' values: ``0.01 / 0.001 / 0.01``, or one for all."""
    texts = [_written(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if isinstance(value, float) else shown(value)


def _tunings(table: Table) -> list[Tuning]:
    return [row.tuning for row in table.rows if row.tuning]


def _names(found: Sequence[Tuning]) -> dict[str, str]:
    dimensions = list(dict.fromkeys(name for tuning in found for name in tuning.chosen))
    count = Counter(name.rpartition(".")[2] for name in dimensions)
    return {
        name: option if count[option := name.rpartition(".")[2]] == 1 else name.partition(".")[2] for name in dimensions
    }
