"""Run stages in worker processes on this machine. A worker that dies costs its stage one more try, and no other stage anything."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING, Any

from harness.executors import Outcome, Progress, StageFailure, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from harness.stages.stage import Stage

TRIES = 2
WAIT_SECONDS = 1.0
PATIENCE_SECONDS = 3.0


class ProcessExecutor:
    """Worker processes that share the store; each is started when it is first needed."""

    def __init__(self, settings: WorkerSettings, workers: int) -> None:
        self.capacity = workers
        self._settings = settings
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._tries: dict[str, int] = {}
        self._refused: list[Outcome] = []

    def submit(self, stage: Stage) -> None:
        """Hand a stage to an idle worker, or to a new one."""
        try:
            payload = pickle.dumps(stage)
        except Exception as error:  # noqa: BLE001 (a plugin's options may hold anything)
            reason = f"cannot be sent to a worker process ({type(error).__name__}: {error}); try --workers 1"
            self._refused.append(Outcome(stage.key, StageFailure(reason, 1, "")))
            return
        self._hand_out(stage.key, payload)

    def wait(self, tell: Callable[[Progress], None]) -> Sequence[Outcome]:
        """Return finished stages, and ``tell`` the progress of others; waits a moment for either."""
        outcomes = self._refused
        self._refused = []
        doors = [door for worker in self._busy for door in (worker.connection, worker.process.sentinel)]
        ready = wait_for(doors, timeout=0 if outcomes else WAIT_SECONDS)
        for worker in list(self._busy):
            if worker.connection in ready or worker.process.sentinel in ready:
                outcomes.extend(self._hear(worker, tell))
        return outcomes

    def close(self, *, now: bool) -> None:
        """End the workers: ``now``, or when they have nothing left to do."""
        for worker in (*self._idle, *self._busy):
            if now:
                worker.process.terminate()
            worker.connection.close()
        for worker in (*self._idle, *self._busy):
            worker.process.join(PATIENCE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._idle, self._busy = [], []

    def _hand_out(self, key: str, payload: bytes) -> None:
        self._tries[key] = self._tries.get(key, 0) + 1
        worker = self._worker()
        worker.key, worker.payload = key, payload
        self._busy.append(worker)
        # One that dies right now is found by the next wait().
        with suppress(OSError):
            worker.connection.send((key, payload))

    def _worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_alive():
                return worker
            worker.connection.close()
        return _Worker(self._settings)

    def _hear(self, worker: _Worker, tell: Callable[[Progress], None]) -> list[Outcome]:
        alive = worker.process.is_alive()  # asked first: what it said before it died is still in the pipe
        try:
            while worker.connection.poll():
                heard = worker.connection.recv()
                if isinstance(heard, Outcome):
                    self._busy.remove(worker)
                    self._idle.append(worker)
                    return [heard]
                tell(heard)
        except (EOFError, OSError):
            alive = False
        return [] if alive else self._bury(worker)

    def _bury(self, worker: _Worker) -> list[Outcome]:
        """Give a dead worker's stage another try, in a new worker."""
        self._busy.remove(worker)
        worker.connection.close()
        worker.process.join()
        if self._tries[worker.key] < TRIES:
            self._hand_out(worker.key, worker.payload)
            return []
        reason = f"its worker process was lost {TRIES} times, {_end(worker.process.exitcode)}"
        return [Outcome(worker.key, StageFailure(reason, 1, ""))]


class _Worker:
    """A process, the pipe to it, and the stage it has."""

    def __init__(self, settings: WorkerSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(settings, theirs), name="harness-worker", daemon=True)
        with _interrupts_blocked(), _memory_kept():
            self.process.start()
        theirs.close()
        self.key = ""
        self.payload = b""


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let a process started inside never see Ctrl-C, which reaches the whole group: the parent decides what ends.

    The child inherits the mask, so that this holds from its first instruction on.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # Starting this helper unblocks the signal: it must run before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _memory_kept() -> Iterator[None]:
    """Let a process started inside keep the memory it frees, unless the user has set it otherwise.

    A pass over a batch frees and takes the same megabytes at every layer; glibc hands them back to the kernel each time, which
    costs a network of small images a tenth to a third of its time. Other allocators do not read these variables.
    """
    mine = {name: value for name, value in _ALLOCATOR.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}


def _end(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "; out of memory? Try --workers 1 or smaller batches" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"with exit code {exit_code}; its last words are above"


# -- in the worker ------------------------------------------------------------------------------------------------------


def _serve(settings: WorkerSettings, connection: Connection) -> None:
    """Run the stages that come through the pipe, until it closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Whatever a library prints must not get among the parent's data on stdout.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    workshop: Any = None
    with suppress(EOFError, OSError):
        while True:
            key, payload = connection.recv()
            try:
                from harness.executors.working import open_workshop, work

                workshop = workshop or open_workshop(settings)
                stage: Stage = pickle.loads(payload)  # noqa: S301 (the parent's own)
            except Exception as error:  # noqa: BLE001 (an installation that broke, a plugin that cannot be imported here)
                reason = f"a worker process cannot begin it: {type(error).__name__}: {error}"
                connection.send(Outcome(key, StageFailure(reason, 1, "")))
                continue
            connection.send(work(stage, workshop, partial(_send_progress, connection, key)))


def _send_progress(connection: Connection, key: str, done: int, total: int) -> None:
    connection.send(Progress(key, done, total))


def _end_with_parent() -> None:
    """End a worker whose parent is gone, in the middle of a stage too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
