"""Run a plan: each distinct stage once, a record as soon as a cell is finished, the rest goes on when one fails."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import StoreError
from harness.executors import StageFailure
from harness.picturing import write_failure, write_picture
from harness.recording import record_cell
from harness.records import CellFailure, CellRecord, record_name, write_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from harness.cells import Cell, Picture, Setting
    from harness.executors import Executor, Outcome, Progress
    from harness.manager import Manager
    from harness.run_state import RunState
    from harness.stages.stage import Stage
    from harness.store import Store


class Watcher(Protocol):
    """Whoever shows a run to a person."""

    def started(self, state: RunState) -> None:
        """Hear that the run begins."""

    def stage_started(self, stage: Stage) -> None:
        """Hear that a stage is under way."""

    def progressed(self, stage: Stage, done: int, total: int) -> None:
        """Hear how far a stage is."""

    def stage_finished(self, stage: Stage, state: RunState) -> None:
        """Hear that a stage is at its end, done or failed."""

    def cell_finished(self, record: CellRecord, state: RunState) -> None:
        """Hear that a cell has its record."""

    def cell_failed(self, failure: CellFailure, state: RunState) -> None:
        """Hear that a cell failed."""


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
        self._put_back: set[str] = set()

    def run(self) -> RunState:
        """Run what is pending. On an interruption the workers end at once and what is finished stays."""
        state = self.state
        self._announce("run-started", cells=len(state.plan.cells), pending=len(state.pending_cells))
        self.watcher.started(state)
        try:
            self._finish_cells(list(state.pending_cells.values()))
            self._finish_pictures()
            self._submit_ready()
            while state.pending:
                ended = [stage for outcome in self.executor.wait(self._progressed) for stage in self._take(outcome)]
                # What ended concerns its own cells alone: a look at all of them each time would cost the square of their number.
                self._finish_cells(state.cells_of(ended))
                self._finish_pictures()
                self._submit_ready()
        except BaseException:
            self.executor.close(now=True)
            raise
        self.executor.close(now=False)
        self._announce("run-finished", failed=len(state.failures))
        return state

    def _submit_ready(self) -> None:
        if len(self._under_way) >= self.executor.capacity:
            return
        for stage in self.state.ready():
            if stage.key not in self._under_way:
                self._under_way.add(stage.key)
                self.state.started(stage)
                self.watcher.stage_started(stage)
                self.executor.submit(stage)
            if len(self._under_way) >= self.executor.capacity:
                return

    def _take(self, outcome: Outcome) -> list[Stage]:
        """Note how a stage ended; returns what is done or failed by it."""
        stage = self.state.stages[outcome.key]
        self._under_way.discard(outcome.key)
        ended = [stage]
        if outcome.failure is None:
            seconds = self.state.finished(stage)
            self._announce("stage-finished", stage=stage.kind, key=stage.key, seconds=seconds)
        elif self._inputs_put_back(stage):
            ended = []
        else:
            ended = self.state.fail(stage, outcome.failure)
            if outcome.failure.traceback:
                self.state.tracebacks.append(outcome.failure.traceback)
        self.watcher.stage_finished(stage, self.state)
        return ended

    def _progressed(self, news: Progress) -> None:
        self.state.shares[news.key] = news.done / max(news.total, 1)
        self.watcher.progressed(self.state.stages[news.key], news.done, news.total)

    def _inputs_put_back(self, stage: Stage) -> bool:
        """Whether a stage failed for inputs that were found damaged and removed; then they are made again, once."""
        lost = [source for _, source in stage.inputs if not self.store.has(source.kind, source.key)]
        if not lost or stage.key in self._put_back:
            return False
        self._put_back.add(stage.key)
        self.state.put_back(lost)
        return True

    def _finish_pictures(self) -> None:
        state = self.state
        for picture in list(state.pending_pictures):
            keys = {stage.key for stage in picture.stages()}
            if failed := next((state.failed[key] for key in keys if key in state.failed), None):
                self._fail_picture(picture, failed.reason)
            elif picture.key in state.done:
                self._write_picture(picture)

    def _write_picture(self, picture: Picture) -> None:
        try:
            write_picture(picture, self.store, self.results, experiment=self.state.plan.experiment)
        except StoreError as error:
            # Its pictures are damaged: they are drawn again, once.
            if (again := f"picture {picture.key}") in self._put_back:
                self._fail_picture(picture, str(error))
                return
            self._put_back.add(again)
            self.store.discard(picture.stage.kind, picture.key)
            self.state.put_back([picture.stage])
            return
        self.state.pending_pictures.remove(picture)

    def _fail_picture(self, picture: Picture, reason: str) -> None:
        self.state.pending_pictures.remove(picture)
        record = write_failure(picture, self.results, experiment=self.state.plan.experiment, reason=reason)
        self.state.failed_pictures.append(record)

    def _finish_cells(self, cells: Iterable[Cell]) -> None:
        """Record those of the cells that have come to their end."""
        state = self.state
        for cell in cells:
            stages = {stage.key: stage for stage in cell.stages()}
            broken = [stage for key, stage in stages.items() if key in state.failed]
            if broken:
                del state.pending_cells[cell.key]
                self._record_failure(cell, broken[0])
            elif all(key in state.done for key in stages):
                self._record(cell)

    def _record(self, cell: Cell) -> None:
        try:
            record = record_cell(cell, self.store, experiment=self.state.plan.experiment, setting=self.setting)
        except StoreError as error:
            if not self._artifacts_put_back(cell):
                del self.state.pending_cells[cell.key]
                self._add_failure(cell, "record", StageFailure(str(error), error.exit_code, ""))
            return
        del self.state.pending_cells[cell.key]
        # First the failure: were it left beside a record, the table would show both.
        (self.results / "failures" / record_name(cell.name, cell.key)).unlink(missing_ok=True)
        write_record(self.results / "records", record)
        self.state.finished_cells += 1
        self._announce("cell-finished", cell=cell.name.model_dump(), key=cell.key)
        self.watcher.cell_finished(record, self.state)

    def _artifacts_put_back(self, cell: Cell) -> bool:
        """Remove a cell's damaged artifacts, so that they are made again, once; whether there were any."""
        damaged = [stage for stage in cell.stages() if not self._is_readable(stage)]
        if not damaged or cell.key in self._put_back:
            return False
        self._put_back.add(cell.key)
        for stage in damaged:
            self.store.discard(stage.kind, stage.key)
        self.state.put_back(damaged)
        return True

    def _is_readable(self, stage: Stage) -> bool:
        try:
            self.store.load_meta(stage.kind, stage.key)
        except StoreError:
            return False
        return True

    def _record_failure(self, cell: Cell, stage: Stage) -> None:
        self._add_failure(cell, stage.kind, self.state.failed[stage.key])

    def _add_failure(self, cell: Cell, stage: str, failure: StageFailure) -> None:
        recorded = CellFailure(
            experiment=self.state.plan.experiment,
            key=cell.key,
            dataset=cell.comparable.dataset,
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
