"""Run a plan: each distinct stage once, a record as soon as a cell is finished, the rest goes on when one fails."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import StoreError
from harness.executors import Outcome, Progress, StageFailure
from harness.recording import record_cell
from harness.records import CellFailure, CellRecord, read_record, record_name, write_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.executors import Executor
    from harness.manager import Manager
    from harness.plan import Cell, Plan, Setting
    from harness.stages.stage import Stage
    from harness.store import Store


class Watcher(Protocol):
    """Whoever shows a run to a person."""

    def started(self, state: RunState) -> None:
        """Hear that the run begins."""

    def progressed(self, stage: Stage, done: int, total: int) -> None:
        """Hear how far a stage is."""

    def stage_finished(self, stage: Stage, state: RunState) -> None:
        """Hear that a stage is done."""

    def cell_finished(self, record: CellRecord, state: RunState) -> None:
        """Hear that a cell has its record."""

    def cell_failed(self, failure: CellFailure, state: RunState) -> None:
        """Hear that a cell failed."""


@dataclass
class RunState:
    """What of a plan is done, failed, under way."""

    plan: Plan
    stages: dict[str, Stage]
    done: set[str]
    cached: int
    pending_cells: list[Cell]
    finished_cells: int
    failed: dict[str, StageFailure] = field(default_factory=dict)
    failures: list[CellFailure] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    started_at: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def remaining(self) -> list[Stage]:
        """Return the stages neither done nor failed."""
        return [stage for key, stage in self.stages.items() if key not in self.done and key not in self.failed]

    def seconds_left(self, workers: int) -> float | None:
        """Estimate what is left from the mean seconds of each kind of stage so far; None before the first."""
        known = [second for seconds in self.seconds.values() for second in seconds]
        if not known:
            return None
        overall = sum(known) / len(known)
        total = 0.0
        for stage in self.remaining():
            seconds = self.seconds.get(stage.kind)
            total += sum(seconds) / len(seconds) if seconds else overall
        return total / workers


def survey(plan: Plan, store: Store, results: Path) -> RunState:
    """Return what a run would find: cells that have their record, stages that are stored."""
    records = results / "records"
    pending = [cell for cell in plan.cells if not _has_record(cell, records)]
    stages = {stage.key: stage for cell in pending for stage in cell.stages()}
    done = {key for key, stage in stages.items() if store.has(stage.kind, key)}
    return RunState(plan, stages, done, len(done), pending, len(plan.cells) - len(pending))


def _has_record(cell: Cell, records: Path) -> bool:
    path = records / record_name(cell.name, cell.key)
    if not path.is_file():
        return False
    try:
        return read_record(path).key == cell.key
    except StoreError:
        return False


class Runner:
    """Runs a plan with an executor."""

    def __init__(
        self,
        state: RunState,
        *,
        store: Store,
        results: Path,
        executor: Executor,
        manager: Manager,
        setting: Setting,
        watcher: Watcher,
    ) -> None:
        self.state = state
        self.store = store
        self.results = results
        self.executor = executor
        self.manager = manager
        self.setting = setting
        self.watcher = watcher
        self._under_way: set[str] = set()

    def run(self) -> RunState:
        """Run what is pending. On an interruption the workers end at once and what is finished stays."""
        state = self.state
        self._announce("run-started", cells=len(state.plan.cells), pending=len(state.pending_cells))
        self.watcher.started(state)
        try:
            self._finish_cells()
            while state.pending_cells:
                self._submit_ready()
                for news in self.executor.wait():
                    self._take(news)
                self._finish_cells()
        except BaseException:
            self.executor.close(now=True)
            raise
        self.executor.close(now=False)
        self._announce("run-finished", failed=len(state.failures))
        return state

    def _submit_ready(self) -> None:
        for stage in self.state.remaining():
            if len(self._under_way) >= self.executor.capacity:
                return
            ready = all(source.key in self.state.done for _, source in stage.inputs)
            if ready and stage.key not in self._under_way:
                self._under_way.add(stage.key)
                self.state.started_at[stage.key] = time.monotonic()
                self.executor.submit(stage)

    def _take(self, news: Outcome | Progress) -> None:
        stage = self.state.stages[news.key]
        if isinstance(news, Progress):
            self.watcher.progressed(stage, news.done, news.total)
            return
        self._under_way.discard(news.key)
        seconds = time.monotonic() - self.state.started_at.get(news.key, time.monotonic())
        if news.failure is not None:
            self._fail(stage, news.failure)
            return
        self.state.done.add(news.key)
        self.state.seconds.setdefault(stage.kind, []).append(seconds)
        self._announce("stage-finished", stage=stage.kind, key=stage.key, seconds=seconds)
        self.watcher.stage_finished(stage, self.state)

    def _fail(self, stage: Stage, failure: StageFailure) -> None:
        """Fail a stage and all that would read what it makes."""
        self.state.failed[stage.key] = failure
        if failure.traceback:
            self.state.tracebacks.append(failure.traceback)
        for other in self.state.remaining():
            if any(source.key in self.state.failed for _, source in other.inputs):
                self.state.failed.setdefault(other.key, failure)

    def _finish_cells(self) -> None:
        state = self.state
        for cell in list(state.pending_cells):
            stages = {stage.key: stage for stage in cell.stages()}
            broken = [stage for key, stage in stages.items() if key in state.failed]
            if broken:
                state.pending_cells.remove(cell)
                self._record_failure(cell, broken[0])
            elif all(key in state.done for key in stages):
                state.pending_cells.remove(cell)
                self._record(cell)

    def _record(self, cell: Cell) -> None:
        try:
            record = record_cell(cell, self.store, experiment=self.state.plan.experiment, setting=self.setting)
        except StoreError as error:
            self._add_failure(cell, "record", StageFailure(f"{error}; run the spec again", error.exit_code, ""))
            return
        write_record(self.results / "records", record)
        (self.results / "failures" / record_name(cell.name, cell.key)).unlink(missing_ok=True)
        self.state.finished_cells += 1
        self._announce("cell-finished", cell=cell.name.model_dump(), key=cell.key)
        self.watcher.cell_finished(record, self.state)

    def _record_failure(self, cell: Cell, stage: Stage) -> None:
        self._add_failure(cell, stage.kind, self.state.failed[stage.key])

    def _add_failure(self, cell: Cell, stage: str, failure: StageFailure) -> None:
        recorded = CellFailure(
            experiment=self.state.plan.experiment,
            key=cell.key,
            cell=cell.name,
            stage=stage,
            reason=failure.reason,
            exit_code=failure.exit_code,
        )
        self.state.failures.append(recorded)
        write_record(self.results / "failures", recorded)
        self._announce("cell-failed", cell=cell.name.model_dump(), key=cell.key, reason=failure.reason)
        self.watcher.cell_failed(recorded, self.state)

    def _announce(self, kind: str, **fields: Any) -> None:
        self.manager.announce({"kind": kind, "experiment": self.state.plan.experiment, **fields})


@contextmanager
def results_locked(results: Path) -> Iterator[None]:
    """Keep a second run out of a results folder; the lock goes with the process, however it ends."""
    results.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no such lock on Windows; records are written atomically all the same
        yield
        return
    handle = os.open(results / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(OSError):
                owner = os.read(handle, 32).decode().strip()
            raise StoreError(
                f"{results}: another run is writing there (process {owner or 'unknown'}); wait for it or stop it"
            ) from None
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)
