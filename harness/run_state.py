"""What of a plan is done, failed, under way, and how long the rest may take."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.drawings import is_drawn
from harness.errors import StoreError
from harness.records import read_record, record_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from harness.cells import Cell, Picture
    from harness.drawings import DrawingRecord
    from harness.executors import StageFailure
    from harness.plan import Plan
    from harness.records import CellFailure
    from harness.stages.stage import Stage
    from harness.store import Store


Likeness = tuple[tuple[str, ...], ...]
"""The groups whose seconds tell something of a stage's, the closest first."""


@dataclass
class RunState:
    """What of a plan is done, failed, under way. ``stages`` are those of cells without a record and of figures not drawn.

    A stage passes from one to the other through the methods alone, which count what is left: whoever asked all stages after each
    of them would take a time that grows with the square of the plan.
    """

    plan: Plan
    stages: dict[str, Stage]
    done: set[str]
    cached: int
    pending_cells: dict[str, Cell]
    finished_cells: int
    failed: dict[str, StageFailure] = field(default_factory=dict)
    failures: list[CellFailure] = field(default_factory=list)
    pending_pictures: list[Picture] = field(default_factory=list)
    failed_pictures: list[DrawingRecord] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    started_at: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    _left: dict[str, Stage] = field(init=False)
    _alike: Counter[Likeness] = field(init=False)
    _paces: dict[tuple[str, ...], _Pace] = field(init=False, default_factory=dict)
    _readers: dict[str, list[Stage]] = field(init=False, default_factory=dict)
    _cells: dict[str, list[Cell]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._left = {key: stage for key, stage in self.stages.items() if key not in self.done}
        self._alike = Counter(map(_likeness, self._left.values()))
        for stage in self.stages.values():
            for _, source in stage.inputs:
                self._readers.setdefault(source.key, []).append(stage)
        for cell in self.pending_cells.values():
            for key in {stage.key for stage in cell.stages()}:
                self._cells.setdefault(key, []).append(cell)

    @property
    def pending(self) -> bool:
        """Whether a cell or a figure is still to be made."""
        return bool(self.pending_cells or self.pending_pictures)

    @property
    def exit_code(self) -> int:
        """Return 1 where a cell or a figure failed, 0 otherwise."""
        return 1 if self.failures or self.failed_pictures else 0

    def remaining(self) -> list[Stage]:
        """Return the stages neither done nor failed."""
        return list(self._left.values())

    def ready(self) -> Iterator[Stage]:
        """Yield the stages whose inputs are done."""
        for stage in self._left.values():
            if all(source.key in self.done for _, source in stage.inputs):
                yield stage

    def cells_of(self, stages: Iterable[Stage]) -> list[Cell]:
        """Return the pending cells that need one of the stages."""
        found = {cell.key: cell for stage in stages for cell in self._cells.get(stage.key, ())}
        return [cell for key, cell in found.items() if key in self.pending_cells]

    def started(self, stage: Stage) -> None:
        """Note that a stage began."""
        self.started_at[stage.key] = time.monotonic()

    def finished(self, stage: Stage) -> float:
        """Note that a stage is done; returns its seconds."""
        seconds = time.monotonic() - self.started_at.pop(stage.key, time.monotonic())
        self._leaves(stage)
        self.done.add(stage.key)
        for group in _likeness(stage):
            self._paces.setdefault(group, _Pace()).add(seconds)
        return seconds

    def fail(self, stage: Stage, failure: StageFailure) -> list[Stage]:
        """Note that a stage failed, and with it all that would read what it makes; returns them all."""
        lost = [stage]
        for one in lost:  # which grows while it is gone through
            self._leaves(one)
            self.failed[one.key] = failure
            lost += [reader for reader in self._readers.get(one.key, ()) if reader.key in self._left]
        return lost

    def put_back(self, stages: Iterable[Stage]) -> None:
        """Note that stages which were done are to be made again."""
        for stage in stages:
            if stage.key in self.done:
                self.done.discard(stage.key)
                self._left[stage.key] = stage
                self._alike[_likeness(stage)] += 1

    def seconds_left(self, workers: int) -> float | None:
        """Estimate what is left from stages alike; None while nothing is known of most of them."""
        expected = [(mean, count) for alike, count in self._alike.items() if (mean := self._mean(alike)) is not None]
        for stage in [self._left[key] for key in self.started_at if key in self._left]:
            # By its own pace, in place of what those like it took.
            if (mean := self._mean(_likeness(stage))) is not None:
                expected.append((mean, -1))
            if (seconds := self._expected_seconds(stage)) is not None:
                expected.append((seconds, 1))
        known = sum(count for _, count in expected)
        if 2 * known <= len(self._left):
            return None
        return sum(seconds * count for seconds, count in expected) / known * len(self._left) / workers

    def _expected_seconds(self, stage: Stage) -> float | None:
        """Estimate what a stage under way still takes: by its own pace, by those with the same plugin, by those of its kind."""
        elapsed = time.monotonic() - self.started_at[stage.key]
        share = self.shares.get(stage.key, 0.0)
        if share > 0:
            return elapsed * (1 - share) / share
        mean = self._mean(_likeness(stage))
        return None if mean is None else max(0.0, mean - elapsed)

    def _mean(self, likeness: Likeness) -> float | None:
        for group in likeness:
            if pace := self._paces.get(group):
                return pace.mean
        return None

    def _leaves(self, stage: Stage) -> None:
        """Strike a stage off what is left."""
        self.started_at.pop(stage.key, None)
        self.shares.pop(stage.key, None)
        if self._left.pop(stage.key, None):
            alike = _likeness(stage)
            self._alike[alike] -= 1
            if not self._alike[alike]:
                del self._alike[alike]


@dataclass
class _Pace:
    """What stages alike took."""

    total: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        self.total += seconds
        self.count += 1

    @property
    def mean(self) -> float:
        return self.total / self.count


def survey(plan: Plan, store: Store, results: Path) -> RunState:
    """Return what a run would find: cells that have their record, stages that are stored."""
    records = results / "records"
    pending = {cell.key: cell for cell in plan.cells if not _has_record(cell, records)}
    pictures = [picture for picture in plan.pictures if not is_drawn(results, picture.stem, picture.key)]
    unmade: list[Cell | Picture] = [*pending.values(), *pictures]
    stages = {stage.key: stage for made in unmade for stage in made.stages()}
    done = {key for key, stage in stages.items() if store.has(stage.kind, key)}
    return RunState(plan, stages, done, len(done), pending, len(plan.cells) - len(pending), pending_pictures=pictures)


def _has_record(cell: Cell, records: Path) -> bool:
    path = records / record_name(cell.name, cell.key)
    if not path.is_file():
        return False
    try:
        return read_record(path).key == cell.key
    except StoreError:
        return False


def _likeness(stage: Stage) -> Likeness:
    plugins = (getattr(stage.job, role, None) for role in ("corrector", "adapter", "figure"))
    names = [plugin.name for plugin in plugins if plugin is not None]
    model = stage.job.subject.model.name
    return (stage.kind, model, *names), (stage.kind, model), (stage.kind,)
