"""Show a run to a person: bars with an estimate on a terminal, a line a cell elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from harness.rows import RowKey

if TYPE_CHECKING:
    from harness.records import CellFailure, CellName, CellRecord
    from harness.runner import RunState, Watcher
    from harness.stages.stage import Stage


def make_watcher(*, workers: int, quiet: bool = False) -> LineWatcher:
    """Return what fits stderr."""
    if quiet:
        return LineWatcher(workers, quiet=True)
    return BarWatcher(workers) if sys.stderr.isatty() else LineWatcher(workers)


class LineWatcher:
    """A line per finished cell."""

    def __init__(self, workers: int, *, quiet: bool = False) -> None:
        self.workers = workers
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._start = time.monotonic()

    def started(self, state: RunState) -> None:
        """Say what there is to do."""
        total, pending = len(state.plan.cells), len(state.pending_cells)
        stages = len(state.stages) - state.cached
        self._say(
            f"{state.plan.experiment}: {total} cells, {pending} to do in {stages} stages, {state.cached} stages stored"
        )

    def progressed(self, stage: Stage, done: int, total: int) -> None:
        """Say nothing: a line a cell is enough."""

    def stage_finished(self, stage: Stage, state: RunState) -> None:
        """Say nothing."""

    def cell_finished(self, record: CellRecord, state: RunState) -> None:
        """Say what came out."""
        done = state.finished_cells + len(state.failures)
        gain = f"{100 * record.delta:+.2f}"
        text = f"test {100 * record.accuracy.test:.2f} ({gain})"
        self._say(f"[{done}/{len(state.plan.cells)}] {cell_label(record.cell)}: {text}{self._left(state)}")

    def cell_failed(self, failure: CellFailure, state: RunState) -> None:
        """Say why."""
        done = state.finished_cells + len(state.failures)
        self._say(
            f"[{done}/{len(state.plan.cells)}] {cell_label(failure.cell)}: failed in {failure.stage}: {failure.reason}"
        )

    def close(self) -> None:
        """End the display."""

    def _left(self, state: RunState) -> str:
        seconds = state.seconds_left(self.workers)
        return f", about {duration(seconds)} left" if seconds and state.remaining() else ""

    def _say(self, text: str) -> None:
        self.console.print(Text(text))


class BarWatcher(LineWatcher):
    """A bar for the cells and one for each stage under way."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )
        self._all: TaskID | None = None
        self._stages: dict[str, TaskID] = {}

    def started(self, state: RunState) -> None:
        """Open the bars."""
        super().started(state)
        self._all = self._bars.add_task(state.plan.experiment, total=len(state.plan.cells), note="")
        self._bars.start()
        self._refresh(state)

    def progressed(self, stage: Stage, done: int, total: int) -> None:
        """Move a stage's bar."""
        if stage.key not in self._stages:
            self._stages[stage.key] = self._bars.add_task(f"  {stage_label(stage)}", total=total, note="")
        self._bars.update(self._stages[stage.key], completed=done, total=total)

    def stage_finished(self, stage: Stage, state: RunState) -> None:
        """Close a stage's bar."""
        bar = self._stages.pop(stage.key, None)
        if bar is not None:
            self._bars.remove_task(bar)
        self._refresh(state)

    def cell_finished(self, record: CellRecord, state: RunState) -> None:
        """Move the cells' bar."""
        del record
        self._refresh(state)

    def close(self) -> None:
        """Take the bars away."""
        self._bars.stop()

    def _refresh(self, state: RunState) -> None:
        if self._all is None:
            return
        done = state.finished_cells + len(state.failures)
        note = f"{done}/{len(state.plan.cells)} cells, {duration(time.monotonic() - self._start)}{self._left(state)}"
        self._bars.update(self._all, completed=done, note=note)


def cell_label(cell: CellName) -> str:
    """Name a cell as its table's row does, with its seed."""
    return f"{cell.model} · {RowKey.of(cell).label} · seed {cell.seed}"


def stage_label(stage: Stage) -> str:
    """Name a stage for a person."""
    job = stage.job
    corrector = getattr(job, "corrector", None)
    adapter = getattr(job, "adapter", None)
    what = next((part.name for part in (corrector, adapter) if part is not None), "")
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


def _is_a_watcher(watcher: LineWatcher) -> Watcher:
    """Let the type checker see that the protocol is kept."""
    return watcher
