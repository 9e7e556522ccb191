"""Run stages in worker processes on this machine. A worker that is killed costs its stage one more try."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from queue import Empty
from typing import TYPE_CHECKING, Any

from harness.executors import Outcome, Progress, StageFailure, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.queues import Queue

    from harness.stages.context import Workshop
    from harness.stages.stage import Stage

TRIES = 2
POLL_SECONDS = 0.2


class ProcessExecutor:
    """A pool of processes that share the store."""

    def __init__(self, settings: WorkerSettings, workers: int) -> None:
        self.capacity = workers
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")
        self._news: Queue[tuple[str, int, int]] = self._context.Queue()
        self._pool = self._open()
        self._running: dict[Future[Outcome], Stage] = {}
        self._tries: dict[str, int] = {}

    def submit(self, stage: Stage) -> None:
        """Hand a stage to the pool."""
        self._tries[stage.key] = self._tries.get(stage.key, 0) + 1
        try:
            self._running[self._pool.submit(_work, stage)] = stage
        except BrokenProcessPool:
            self._pool = self._open()
            self._running[self._pool.submit(_work, stage)] = stage

    def wait(self) -> Sequence[Outcome | Progress]:
        """Return finished stages and progress; waits a moment for either."""
        finished, _ = wait(self._running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        outcomes: list[Outcome | Progress] = list(self._progress())
        broken: list[Stage] = []
        for future in finished:
            stage = self._running.pop(future)
            try:
                outcomes.append(future.result())
            except BrokenProcessPool:
                broken.append(stage)
        if broken:
            outcomes.extend(self._recover(broken))
        return outcomes

    def close(self, *, now: bool) -> None:
        """End the workers."""
        if now:
            for process in list((self._pool._processes or {}).values()):  # noqa: SLF001 (no public way before Python 3.14)
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._news.close()
        self._news.join_thread()

    def _open(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.capacity, mp_context=self._context, initializer=_begin, initargs=(self._settings, self._news)
        )

    def _recover(self, broken: list[Stage]) -> list[Outcome]:
        """Give the stages that a dead worker took along another try, in a new pool."""
        broken += self._running.values()
        self._running.clear()
        self._pool.shutdown(wait=True)
        self._pool = self._open()
        outcomes = []
        for stage in broken:
            if self._tries[stage.key] < TRIES:
                self.submit(stage)
            else:
                outcomes.append(Outcome(stage.key, _KILLED))
        return outcomes

    def _progress(self) -> list[Progress]:
        heard = []
        while True:
            try:
                heard.append(Progress(*self._news.get_nowait()))
            except Empty:
                return heard


_KILLED = StageFailure(
    f"its worker process was killed {TRIES} times; out of memory? Try --workers 1 or smaller batches", 1, ""
)


class _Worker:
    """The state of a worker process: set once by the pool's initializer, in that process alone."""

    workshop: Workshop
    tell: Callable[[str, int, int], None]


def _begin(settings: WorkerSettings, news: Any) -> None:
    from harness.executors.working import open_workshop

    # Ctrl-C reaches the whole group: the parent decides. A parent that is killed must not leave workers behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.workshop = open_workshop(settings)
    _Worker.tell = staticmethod(lambda key, done, total: news.put((key, done, total)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(stage: Stage) -> Outcome:
    from harness.executors.working import work

    return work(stage, _Worker.workshop, lambda done, total: _Worker.tell(stage.key, done, total))
