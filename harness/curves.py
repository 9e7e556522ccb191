"""Budget curves: validation accuracy against optimizer steps and seconds, of every row of a table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from harness.averages import if_all_have, over_seeds
from harness.correction_curves import correction_curves
from harness.marks import Uses
from harness.records import step_time
from harness.rows import RowKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.averages import Statistic
    from harness.correction_curves import CorrectorCurve
    from harness.leaderboard import Table
    from harness.records import CellRecord

Axis = Literal["steps", "seconds"]
AXES: tuple[Axis, ...] = ("steps", "seconds")

_TIE = 1e-12  # means of equal accuracies differ by rounding


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A validated checkpoint of one seed: its accuracy, and that of the best checkpoint up to it, both in [0, 1].

    ``kept`` is what would be kept if training stopped there. The baseline at step 0 is no checkpoint, and is never kept.
    ``seconds`` of training, without validations, are None where they were not recorded.
    """

    step: int
    seconds: float | None
    valid: float
    kept: float


@dataclass(frozen=True, kw_only=True)
class MeanPoint:
    """A row's accuracy in [0, 1] over its seeds; ``seconds`` is their mean, None where a seed has no checkpoint just there."""

    step: int
    seconds: float | None
    valid: Statistic
    kept: Statistic

    def accuracy(self, *, raw: bool) -> Statistic:
        """Return the checkpoint's own accuracy (``raw``) or that of the best so far."""
        return self.valid if raw else self.kept


@dataclass(frozen=True, kw_only=True)
class RowCurve:
    """A row's curves, one a seed, in the order of their steps. A row that is not trained has a single point, at step 0."""

    key: RowKey
    per_seed: Mapping[int, tuple[CurvePoint, ...]]
    uses: Uses = field(default_factory=Uses)

    @property
    def label(self) -> str:
        """The row's name as it is shown, with its marks."""
        return self.key.label + self.uses.mark

    @property
    def steps(self) -> list[int]:
        """The steps at which any seed has a point."""
        return sorted({point.step for points in self.per_seed.values() for point in points})

    @property
    def is_trained(self) -> bool:
        """Whether there are steps to speak of."""
        return any(point.step for points in self.per_seed.values() for point in points)

    @property
    def is_timed(self) -> bool:
        """Whether every point has its seconds."""
        return all(point.seconds is not None for points in self.per_seed.values() for point in points)

    @property
    def end(self) -> MeanPoint:
        """What the row ends with."""
        found = self.at(self.steps[-1])
        assert found is not None  # noqa: S101 (every seed has a point by the last step; this tells the type checker)
        return found

    def at(self, place: float, axis: Axis = "steps") -> MeanPoint | None:
        """Average the last checkpoints up to a step, or up to so many seconds; None where a seed has none by then."""
        last = {seed: _last(points, place, axis) for seed, points in self.per_seed.items()}
        points = {seed: point for seed, point in last.items() if point is not None}
        if len(points) < len(last):
            return None
        step = max(point.step for point in points.values())
        seconds = if_all_have(points, lambda point: point.seconds if point.step == step else None)
        return MeanPoint(
            step=step,
            seconds=seconds.mean if seconds else None,
            valid=over_seeds(points, lambda point: point.valid),
            kept=over_seeds(points, lambda point: point.kept),
        )

    def means(self) -> list[MeanPoint]:
        """Return the mean curve, from the first step by which every seed has a point."""
        return [point for step in self.steps if (point := self.at(step))]

    def of_seeds(self, seeds: Iterable[int]) -> RowCurve:
        """Return the same row over some of its seeds."""
        return replace(self, per_seed={seed: self.per_seed[seed] for seed in seeds})


@dataclass(frozen=True, kw_only=True)
class Reach:
    """When a row first has, on average over their common seeds, the ``level`` that ``finetune-target`` comes to.

    ``step`` and ``seconds`` are those of the first such checkpoint, None where there is none; the ratios are to those of
    ``finetune-target`` itself. ``seeds_reached`` counts those of the ``seeds`` that come to the level of their own
    ``finetune-target``; seeds in which that ends no higher than it starts have nothing to come to, and are in neither count.
    """

    level: float
    step: int | None
    seconds: float | None
    steps_ratio: float | None
    seconds_ratio: float | None
    seeds_reached: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class TableCurves:
    """The curves of a leaderboard's table, of comparable rows alone.

    ``precise``: the accuracies are those of the full-precision weights of a quantized subject, which are what is trained and
    selected. ``untold`` names the correctors whose records were written before the curve was kept.
    """

    key: str
    title: str
    note: str | None
    rows: tuple[RowCurve, ...]
    correctors: tuple[CorrectorCurve, ...]
    untold: tuple[str, ...]
    precise: bool

    @property
    def seeds(self) -> list[int]:
        """The seeds of any row."""
        return sorted({seed for row in self.rows for seed in row.per_seed})

    @property
    def trained(self) -> list[RowCurve]:
        """The rows that were trained."""
        return [row for row in self.rows if row.is_trained]

    @property
    def reference(self) -> RowCurve | None:
        """The row of ``finetune-target``."""
        return next((row for row in self.rows if row.key.control == "finetune-target" and row.is_trained), None)

    def reach(self, row: RowCurve, *, share: float = 1) -> Reach | None:
        """Say when a row reaches what ``finetune-target`` ends with, or what it has after a ``share`` of its gain, in (0, 1].

        None without that row or a seed in common, and where fine-tuning ends no higher than it starts: nothing is to be reached.
        """
        reference = self.reference
        common = sorted(row.per_seed.keys() & reference.per_seed.keys()) if reference else []
        if reference is None or not common:
            return None
        ours, theirs = row.of_seeds(common), reference.of_seeds(common)
        level = _level(theirs, share)
        end = _first(theirs, level)
        if end is None or end.step == 0:
            return None
        found = _first(ours, level)
        alone = [reached for seed in common if (reached := _reaches(ours, theirs, seed, share)) is not None]
        return Reach(
            level=level,
            step=found.step if found else None,
            seconds=found.seconds if found else None,
            steps_ratio=_ratio(found.step, end.step) if found else None,
            seconds_ratio=_ratio(found.seconds, end.seconds) if found else None,
            seeds_reached=sum(alone),
            seeds=len(alone),
        )


def curves_of(records: Sequence[CellRecord], tables: Sequence[Table]) -> list[TableCurves]:
    """Return the curves of every table that ``harness.leaderboard.build`` made of these records."""
    by_key: dict[str, list[CellRecord]] = {}
    for record in records:
        by_key.setdefault(record.comparable.key, []).append(record)
    return [
        _of_table(table, table.comparable.key, by_key[table.comparable.key]) for table in tables if table.comparable
    ]


def _of_table(table: Table, key: str, records: Sequence[CellRecord]) -> TableCurves:
    by_row: dict[RowKey, dict[int, CellRecord]] = {}
    for record in records:
        by_row.setdefault(RowKey.of(record.cell), {})[record.cell.seed] = record
    baselines = {record.cell.seed: _selected(record) for record in records if record.cell.control == "none"}
    correctors, untold = correction_curves(records)
    return TableCurves(
        key=key,
        title=table.title,
        note=table.note,
        rows=tuple(
            RowCurve(
                key=row.key,
                per_seed={seed: _points(by_row[row.key][seed], baselines.get(seed)) for seed in row.seeds},
                uses=row.uses,
            )
            for row in table.rows
        ),
        correctors=correctors,
        untold=untold,
        precise=any(record.quantized for record in records),
    )


def _points(record: CellRecord, baseline: float | None) -> tuple[CurvePoint, ...]:
    history = [checkpoint for checkpoint in record.adaptation.history if checkpoint.step]
    if not history:
        seconds = 0.0 if record.cell.control == "none" else record.times.get(step_time(0))
        valid = _selected(record)
        return (CurvePoint(step=0, seconds=seconds, valid=valid, kept=valid),)
    # A quantized subject's own baseline is quantized; the checkpoints are not, nor is what the row "none" says of before.
    start = baseline if record.quantized else record.baseline.valid
    points = [] if start is None else [CurvePoint(step=0, seconds=0.0, valid=start, kept=start)]
    best = None
    for checkpoint in history:
        if checkpoint.candidate:
            best = max(best or 0.0, checkpoint.valid)
        # Without a candidate yet, the weights as they are.
        kept = checkpoint.valid if best is None else best
        seconds = record.times.get(step_time(checkpoint.step))
        points.append(CurvePoint(step=checkpoint.step, seconds=seconds, valid=checkpoint.valid, kept=kept))
    return tuple(points)


def _selected(record: CellRecord) -> float:
    """Return the validation accuracy of what was kept, before any quantizing."""
    return (record.quantized.before if record.quantized else record.accuracy).valid


def _last(points: Sequence[CurvePoint], place: float, axis: Axis) -> CurvePoint | None:
    found = None
    for point in points:
        reached = point.step if axis == "steps" else point.seconds
        if reached is None:
            return None
        if reached <= place:
            found = point
    return found


def _first(row: RowCurve, level: float) -> MeanPoint | None:
    """Return the first point of the mean curve that is as high, without averaging all that a point holds on the way to it."""
    for step in row.steps:
        last = [_last(points, step, "steps") for points in row.per_seed.values()]
        kept = [point.kept for point in last if point is not None]
        if len(kept) == len(last) and fmean(kept) >= level - _TIE:
            return row.at(step)
    return None


def _reaches(ours: RowCurve, theirs: RowCurve, seed: int, share: float) -> bool | None:
    """Say whether a seed comes to what its own reference gains, None where that gains nothing."""
    own = theirs.of_seeds([seed])
    level = _level(own, share)
    end = _first(own, level)
    if end is None or end.step == 0:
        return None
    return _first(ours.of_seeds([seed]), level) is not None


def _level(reference: RowCurve, share: float) -> float:
    """Return the accuracy in [0, 1] at which a share of the row's gain over its first point is made."""
    start = fmean(points[0].kept for points in reference.per_seed.values())
    end = fmean(points[-1].kept for points in reference.per_seed.values())
    return start + share * (end - start)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or not theirs else ours / theirs
