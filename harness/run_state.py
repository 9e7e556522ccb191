"""What of a plan is done, failed, under way, and how long the rest may take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.drawings import is_drawn
from harness.errors import StoreError
from harness.records import read_record, record_name

if TYPE_CHECKING:
    from pathlib import Path

    from harness.cells import Cell, Picture
    from harness.drawings import DrawingRecord
    from harness.executors import StageFailure
    from harness.plan import Plan
    from harness.records import CellFailure
    from harness.stages.stage import Stage
    from harness.store import Store


@dataclass
class RunState:
    """What of a plan is done, failed, under way. ``stages`` are those of cells without a record and of figures not drawn."""

    plan: Plan
    stages: dict[str, Stage]
    done: set[str]
    cached: int
    pending_cells: list[Cell]
    finished_cells: int
    failed: dict[str, StageFailure] = field(default_factory=dict)
    failures: list[CellFailure] = field(default_factory=list)
    pending_pictures: list[Picture] = field(default_factory=list)
    failed_pictures: list[DrawingRecord] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    started_at: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    seconds: dict[tuple[str, ...], list[float]] = field(default_factory=dict)

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
        return [stage for key, stage in self.stages.items() if key not in self.done and key not in self.failed]

    def started(self, stage: Stage) -> None:
        """Note that a stage began."""
        self.started_at[stage.key] = time.monotonic()

    def finished(self, stage: Stage) -> float:
        """Note that a stage is done; returns its seconds."""
        seconds = time.monotonic() - self.started_at.pop(stage.key, time.monotonic())
        self.shares.pop(stage.key, None)
        self.done.add(stage.key)
        for likeness in _likenesses(stage):
            self.seconds.setdefault(likeness, []).append(seconds)
        return seconds

    def seconds_left(self, workers: int) -> float | None:
        """Estimate what is left from stages alike; None while nothing is known of most of them."""
        remaining = self.remaining()
        expected = [seconds for stage in remaining if (seconds := self._expected_seconds(stage)) is not None]
        if 2 * len(expected) <= len(remaining):
            return None
        return sum(expected) / len(expected) * len(remaining) / workers

    def _expected_seconds(self, stage: Stage) -> float | None:
        """Estimate what a stage still takes: by its own pace, by those with the same plugin, by those of its kind."""
        begun = self.started_at.get(stage.key)
        elapsed = 0.0 if begun is None else time.monotonic() - begun
        share = self.shares.get(stage.key, 0.0)
        if share > 0:
            return elapsed * (1 - share) / share
        for likeness in _likenesses(stage):
            known = self.seconds.get(likeness)
            if known:
                return max(0.0, sum(known) / len(known) - elapsed)
        return None


def survey(plan: Plan, store: Store, results: Path) -> RunState:
    """Return what a run would find: cells that have their record, stages that are stored."""
    records = results / "records"
    pending = [cell for cell in plan.cells if not _has_record(cell, records)]
    pictures = [picture for picture in plan.pictures if not is_drawn(results, picture.stem, picture.key)]
    unmade: list[Cell | Picture] = [*pending, *pictures]
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


def _likenesses(stage: Stage) -> list[tuple[str, ...]]:
    """Name the groups whose seconds tell something of a stage's, the closest first."""
    plugins = (getattr(stage.job, role, None) for role in ("corrector", "adapter", "figure"))
    names = [plugin.name for plugin in plugins if plugin is not None]
    return [
        (stage.kind, stage.job.subject.model.name, *names),
        (stage.kind, stage.job.subject.model.name),
        (stage.kind,),
    ]
