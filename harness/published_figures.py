"""One number of a published row beside ours: which of a record's figures answers which of a table's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.averages import Statistic, if_all_have, statistic
from harness.printed_settings import measure_wanted, robust_measure
from harness.published import UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.corrections import CorrectionCounts
    from harness.counterparts import Counterpart
    from harness.published import Figure, Printed, PublishedRow, PublishedTable
    from harness.records import Accuracies, CellRecord

ACCURACIES: frozenset[Figure] = frozenset({"source", "train", "valid", "test"})
OF_REFINED: frozenset[Figure] = frozenset({"delta", "source_size"})
"""What a baseline has none of: a gain over itself, a T'."""
MEGABYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class ComparedFigure:
    """One number of a row, theirs beside ours, in the figure's unit; None where there is none.

    ``samples`` are the test images that ours is of, where an evaluator found it.
    """

    figure: Figure
    theirs: Printed | None
    ours: Statistic | None
    samples: int | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus theirs: in points where both are percentages."""
        return self.ours.mean - self.theirs.mean if self.ours and self.theirs else None

    @property
    def in_their_std(self) -> float | None:
        """The difference as a multiple of their printed std, None where they print none."""
        difference = self.difference
        return difference / self.theirs.std if difference is not None and self.theirs and self.theirs.std else None


def compared_figures(
    row: PublishedRow, ours: Counterpart | None, table: PublishedTable, counts: CorrectionCounts | None
) -> tuple[ComparedFigure, ...]:
    """Set every figure that the table has beside ours."""
    wanted = measure_wanted(table)
    return tuple(
        ComparedFigure(
            figure=figure,
            theirs=row.figures.get(figure),
            ours=_ours(figure, ours, row, wanted, counts) if ours else None,
            samples=_samples(ours, wanted) if ours and figure == "autoattack" else None,
        )
        for figure in table.figures
    )


def clean_on_attacked(ours: Counterpart, wanted: Mapping[str, Any]) -> Statistic | None:
    """Return the accuracy in percent on the images that were attacked; None where a seed has no such test."""

    def clean(record: CellRecord) -> float | None:
        measure = robust_measure(record, wanted)
        return measure.clean if measure else None

    return _scaled(ours, clean, 100)


def _ours(
    figure: Figure,
    ours: Counterpart,
    row: PublishedRow,
    wanted: Mapping[str, Any],
    counts: CorrectionCounts | None,
) -> Statistic | None:
    if figure == "rate":
        return _rate(counts)
    if figure in OF_REFINED and figure not in row.figures:
        return None
    if figure == "size":
        return _size(ours, row)
    scale = 1 if figure in UNITS else 100
    return _scaled(ours, lambda record: _value(figure, record, wanted, before=ours.before), scale)


def _value(figure: Figure, record: CellRecord, wanted: Mapping[str, Any], *, before: bool) -> float | None:
    if figure in ACCURACIES:
        share: float | None = getattr(_accuracies(record, before=before), figure)
        return share
    if figure == "delta":
        return record.delta
    if figure == "source_size":
        return record.counts["source"] / record.counts["train"]
    if figure in {"loss_target", "loss_source"}:  # the baseline's, before any adaptation, as the paper's are
        return _initial_loss(figure, record, before=before)
    if figure == "clean":
        return record.accuracy.test
    measure = robust_measure(record, wanted)
    return measure.robust if measure else None


def _initial_loss(figure: Figure, record: CellRecord, *, before: bool) -> float | None:
    """Return a loss of the baseline; a quantized record's are the quantized classifier's alone."""
    if before:
        return None
    if record.correction is None:
        return record.loss.target if figure == "loss_target" and record.cell.control == "none" else None
    loss: float | None = getattr(record.correction, figure)
    return loss


def _accuracies(record: CellRecord, *, before: bool) -> Accuracies:
    return record.quantized.before if before and record.quantized else record.accuracy


def _size(ours: Counterpart, row: PublishedRow) -> Statistic | None:
    """Return what the row's classifier takes when it is stored; only records of quantized subjects know."""
    if "size" not in row.figures:
        return None
    full_precision = ours.before or ours.sized is not None
    sizes = {
        seed: found.full_precision_bytes if full_precision else found.num_bytes
        for seed, record in (ours.sized or ours.records).items()
        if (found := record.quantized)
    }
    known = {seed: size / MEGABYTE for seed, size in sizes.items() if size is not None}
    return statistic(known) if known else None


def _scaled(ours: Counterpart, value: Callable[[CellRecord], float | None], scale: float) -> Statistic | None:
    found = if_all_have(ours.records, value)
    return statistic({seed: scale * one for seed, one in found.per_seed.items()}) if found else None


def _samples(ours: Counterpart, wanted: Mapping[str, Any]) -> int | None:
    """Return how many test images every seed attacked, the fewest where they differ; None where one attacked none."""
    measures = [robust_measure(record, wanted) for record in ours.records.values()]
    found = [measure.samples for measure in measures if measure]
    return min(found) if len(found) == len(measures) else None


def _rate(counts: CorrectionCounts | None) -> Statistic | None:
    """Return the rate over all seeds' wrong samples, as the leaderboard has it; its spread is not theirs to compare with."""
    if counts is None or counts.rate is None or counts.tried is None:
        return None
    tried = counts.tried.per_seed
    per_seed = {seed: 100 * done / tried[seed] for seed, done in counts.corrected.per_seed.items() if tried[seed]}
    return Statistic(mean=100 * counts.rate, std=None, per_seed=per_seed)
