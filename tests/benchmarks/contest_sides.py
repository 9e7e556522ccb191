"""Processes that work for the sides of a contest: the same requests to each, which differ in how they were started."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module

import torch
from contest_subject import Subject

from harness.executors.processes import _ALLOCATOR

ENVIRONMENTS = {"peer": {}, "peer, worker's allocator": _ALLOCATOR, "ours": _ALLOCATOR}
"""What the allocator is told in each side's process: the C library's defaults, or what the harness starts its workers with."""


@dataclass(frozen=True)
class Work:
    """What a side is to do: ``module.function``, which a subject and ``options`` turn into what is timed and what is told of it.

    ``warm``: the options that are smaller in the run before the first that is timed.
    """

    function: str
    options: dict = field(default_factory=dict)
    warm: dict = field(default_factory=dict)

    def make(self, subject, *, warm=False):
        """Return the function without arguments that is timed, and the one that tells of its result."""
        module, _, name = self.function.rpartition(".")
        return getattr(import_module(module), name)(subject, **{**self.options, **(self.warm if warm else {})})


class WorkFailedError(Exception):
    """What a side's process ran into, as it told it."""


class Side:
    """A process that lives as long as its side does, with torch's own choice of threads."""

    def __init__(self, name, subject):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, subject), name=name, daemon=True)
        with _environment(ENVIRONMENTS[name]):
            self.process.start()
        theirs.close()

    def settings(self):
        """Return how many threads torch computes in, and what the allocator was told, as the process itself sees it."""
        return self._ask("settings", None)

    def prepare(self, work):
        """Make all that is needed for some work, and run it once in small."""
        self._ask("prepare", work)

    def seconds(self, work):
        """Do some work; returns how long that took in the process itself."""
        return self._ask("seconds", work)

    def told(self, work):
        """Return what there is to tell of the work's last result."""
        return self._ask("told", work)

    def close(self):
        """End the process, whatever it is at."""
        self.connection.close()
        self.process.terminate()
        self.process.join()

    def _ask(self, what, work):
        self.connection.send((what, work))
        answer = self.connection.recv()
        if isinstance(answer, WorkFailedError):
            raise answer
        return answer


@contextmanager
def _environment(variables):
    """Let a process started inside see these variables of the allocator's and no others."""
    before = dict(os.environ)
    for name in _ALLOCATOR:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# -- in the process ----------------------------------------------------------------------------------------------------


def _serve(connection, subject):
    bench = _Bench(Subject.load(subject))
    with suppress(EOFError):
        while True:
            what, work = connection.recv()
            try:
                connection.send(getattr(bench, what)(work))
            except Exception:  # noqa: BLE001 (whoever asked is told)
                connection.send(WorkFailedError(traceback.format_exc()))


class _Bench:
    """What was made for each work, and its last result."""

    def __init__(self, subject):
        self.subject = subject
        self.made = {}
        self.results = {}

    def settings(self, _):
        allocator = {name: value for name, value in os.environ.items() if name in _ALLOCATOR}
        return {"threads": torch.get_num_threads(), "allocator": allocator}

    def prepare(self, work):
        run, tell = work.make(self.subject, warm=True)
        tell(run())
        self.made[repr(work)] = work.make(self.subject)

    def seconds(self, work):
        run, _ = self.made[repr(work)]
        start = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - start
        self.results[repr(work)] = result
        return seconds

    def told(self, work):
        return self.made[repr(work)][1](self.results[repr(work)])
