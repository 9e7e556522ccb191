"""A cell, one row of the table for one seed, with the stages that make it; a setting, what of a machine decides results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.records import CellName, Comparable
    from harness.resolved import ResolvedAdapter, ResolvedCorrector, ResolvedEvaluator, ResolvedFigure
    from harness.stages.stage import Stage


@dataclass(frozen=True)
class Cell:
    """One row of the table for one seed, and the stages that make it."""

    name: CellName
    key: str
    comparable: Comparable
    corrector: ResolvedCorrector | None
    adapter: ResolvedAdapter | None
    split: Stage
    correct: Stage | None
    adapt: Stage | None
    evaluate: Stage
    baseline_evaluate: Stage
    measures: tuple[tuple[ResolvedEvaluator, Stage], ...] = ()

    def stages(self) -> Iterator[Stage]:
        """Yield every stage the cell needs, inputs first; one may come more than once."""
        measures = [stage for _, stage in self.measures]
        for stage in (self.baseline_evaluate, *((self.correct,) if self.correct else ()), self.evaluate, *measures):
            yield from _with_inputs(stage)


@dataclass(frozen=True)
class Picture:
    """A figure of one classifier for one seed, and the stage that draws it; it belongs to no cell. ``stem`` names its files."""

    asked: ResolvedFigure
    dataset: str
    model: str
    seed: int
    stem: str
    stage: Stage

    @property
    def key(self) -> str:
        """The content key of what is drawn."""
        return self.stage.key

    def stages(self) -> Iterator[Stage]:
        """Yield every stage it needs, inputs first; one may come more than once."""
        yield from _with_inputs(self.stage)


@dataclass(frozen=True)
class Setting:
    """What of a machine decides results: the device's kind and the threads of a worker."""

    device: str
    threads: int


def _with_inputs(stage: Stage) -> Iterator[Stage]:
    for _, source in stage.inputs:
        yield from _with_inputs(source)
    yield stage
