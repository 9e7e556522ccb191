"""Run stages in this process, one after the other."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from harness.executors import Outcome, Progress, WorkerSettings
from harness.executors.working import open_workshop, work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.manager import Manager
    from harness.stages.stage import Stage


class InlineExecutor:
    """The simplest executor: what is submitted waits for ``wait``."""

    capacity = 1

    def __init__(self, settings: WorkerSettings, manager: Manager | None = None) -> None:
        self._workshop = open_workshop(settings, manager)
        self._waiting: deque[Stage] = deque()

    def submit(self, stage: Stage) -> None:
        """Take a stage."""
        self._waiting.append(stage)

    def wait(self, tell: Callable[[Progress], None]) -> Sequence[Outcome]:
        """Run the next stage."""
        stage = self._waiting.popleft()
        return [work(stage, self._workshop, lambda done, total: tell(Progress(stage.key, done, total)))]

    def close(self, *, now: bool) -> None:
        """Forget what was not begun."""
        del now
        self._waiting.clear()
