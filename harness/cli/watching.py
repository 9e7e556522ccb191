"""Show a run to a person: bars with an estimate on a terminal, a line a cell elsewhere. All of it on stderr."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from harness.rows import RowKey

if TYPE_CHECKING:
    from rich.progress import Task, TaskID

    from harness.records import CellFailure, CellName, CellRecord
    from harness.run_state import RunState
    from harness.runner import Watcher
    from harness.stages.stage import Stage


class _Unheard(Console):
    """A console that falls silent when its reader goes away: a run is not worth less because nobody watches it."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on, the interpreter's own last words too."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def make_watcher(*, workers: int, quiet: bool = False) -> LineWatcher:
    """Return what fits stderr."""
    if quiet:
        return LineWatcher(workers, quiet=True)
    return BarWatcher(workers) if sys.stderr.isatty() else LineWatcher(workers)


class LineWatcher:
    """A line per finished cell."""

    def __init__(self, workers: int, *, quiet: bool = False) -> None:
        self.workers = workers
        self.console = _Unheard(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._start = time.monotonic()

    def started(self, state: RunState) -> None:
        """Say what there is to do."""
        total, pending = len(state.plan.cells), len(state.pending_cells)
        stages = len(state.stages) - state.cached
        self._say(
            f"{state.plan.experiment}: {total} cells, {pending} to do in {stages} stages, {state.cached} stages stored"
        )

    def stage_started(self, stage: Stage) -> None:
        """Say nothing: a line a cell is enough."""

    def progressed(self, stage: Stage, done: int, total: int) -> None:
        """Say nothing."""

    def stage_finished(self, stage: Stage, state: RunState) -> None:
        """Say nothing."""

    def cell_finished(self, record: CellRecord, state: RunState) -> None:
        """Say what came out."""
        done = state.finished_cells + len(state.failures)
        gain = f"{100 * record.delta:+.2f}"
        text = f"test {100 * record.accuracy.test:.2f} ({gain})"
        label = cell_label(record.cell, _dataset(record.comparable.dataset, state))
        self._say(f"[{done}/{len(state.plan.cells)}] {label}: {text}{self._left(state)}")

    def cell_failed(self, failure: CellFailure, state: RunState) -> None:
        """Say why."""
        done = state.finished_cells + len(state.failures)
        label = cell_label(failure.cell, _dataset(failure.dataset, state))
        self._say(f"[{done}/{len(state.plan.cells)}] {label}: failed in {failure.stage}: {failure.reason}")

    def close(self) -> None:
        """End the display."""

    def _left(self, state: RunState) -> str:
        seconds = state.seconds_left(self.workers)
        return f", ~{roughly(seconds)} left" if seconds and state.pending_cells else ""

    def _say(self, text: str) -> None:
        self.console.print(Text(text))


class BarWatcher(LineWatcher):
    """A bar for the cells, and one line a worker for the stage it is at: lines that stay where they are do not flicker."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._bars = Progress(
            TextColumn("{task.description}", table_column=Column(ratio=4, no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=3)),
            _NoteColumn(table_column=Column(ratio=4, no_wrap=True)),
            console=self.console,
            transient=True,
            expand=True,
        )
        self._all: TaskID | None = None
        self._free: list[TaskID] = []
        self._lines: dict[str, TaskID] = {}

    def started(self, state: RunState) -> None:
        """Open the bars."""
        super().started(state)
        cells = len(state.plan.cells)
        self._all = self._bars.add_task(state.plan.experiment, total=cells, note=lambda: self._note(state))
        self._free = [self._bars.add_task("", total=1, note=str, visible=False) for _ in range(self.workers)]
        self._move(state)
        self._bars.start()

    def stage_started(self, stage: Stage) -> None:
        """Give a stage a free line."""
        if self._free:
            line = self._lines[stage.key] = self._free.pop(0)
            self._bars.update(line, description=f"  {stage_label(stage)}", completed=0, total=1, visible=True)

    def progressed(self, stage: Stage, done: int, total: int) -> None:
        """Move a stage's bar."""
        line = self._lines.get(stage.key)
        if line is not None:
            self._bars.update(line, completed=done, total=total)

    def stage_finished(self, stage: Stage, state: RunState) -> None:
        """Free a stage's line for the next."""
        line = self._lines.pop(stage.key, None)
        if line is not None:
            self._free.insert(0, line)
            self._bars.update(line, description="", completed=0, total=1)
        self._move(state)

    def cell_finished(self, record: CellRecord, state: RunState) -> None:
        """Move the cells' bar."""
        del record
        self._move(state)

    def cell_failed(self, failure: CellFailure, state: RunState) -> None:
        """Say why, above the bars."""
        super().cell_failed(failure, state)
        self._move(state)

    def close(self) -> None:
        """Take the bars away."""
        self._bars.stop()

    def _move(self, state: RunState) -> None:
        if self._all is not None:
            self._bars.update(self._all, completed=state.finished_cells + len(state.failures))

    def _note(self, state: RunState) -> str:
        done = state.finished_cells + len(state.failures)
        # The seconds so far come last: on a narrow terminal they are cut off, the estimate is not.
        return f"{done}/{len(state.plan.cells)}{self._left(state)}, {duration(time.monotonic() - self._start)} so far"


class _NoteColumn(ProgressColumn):
    """What a task says of itself, asked anew whenever it is drawn, so that seconds tick."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"](), overflow="ellipsis")


def cell_label(cell: CellName, dataset: str = "") -> str:
    """Name a cell as its table's row does, with its seed, and with its data set where a plan has several."""
    return " · ".join(filter(None, (dataset, cell.model, RowKey.of(cell).label, f"seed {cell.seed}")))


def _dataset(name: str, state: RunState) -> str:
    """Return the data set's name where the plan has several, nothing else."""
    return name if len(state.plan.datasets) > 1 else ""


def stage_label(stage: Stage) -> str:
    """Name a stage for a person."""
    job = stage.job
    corrector = getattr(job, "corrector", None)
    adapter = getattr(job, "adapter", None)
    figure = getattr(job, "figure", None)
    what = next((part.name for part in (corrector, adapter, figure) if part is not None), "")
    return " ".join(part for part in (stage.kind, what, f"seed {job.subject.seed}") if part)


def duration(seconds: float) -> str:
    """Write seconds as a person would: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def roughly(seconds: float) -> str:
    """Write an estimate no finer than it is: 10 s, 40 s, 5 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    hours, tens = divmod(round(seconds / 600), 6)
    return f"{hours} h {10 * tens:02} min"


def _is_a_watcher(watcher: LineWatcher) -> Watcher:
    """Let the type checker see that the protocol is kept."""
    return watcher
