"""Executors: the same results in whichever process, and nothing left behind whatever happens to it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from running import TINY_STAGES, environment, install_broken_plugins, records_of, run_spec, write_spec

from harness.executors import Outcome, WorkerSettings
from harness.executors.processes import ProcessExecutor, _memory_kept

# Without a word before its end: a worker whose parent is gone must not need to speak to notice.
LONG = {"name": "long", "adaptation": {"steps": 2_000_000, "batch_size": 16, "lr": 0.001, "validations": 1}}

needs_pgrep = pytest.mark.skipif(shutil.which("pgrep") is None, reason="looks for processes with pgrep")


@pytest.fixture(scope="module")
def inline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inline")
    run_spec(write_spec(folder), folder / "results")
    return folder / "results"


@pytest.fixture
def broken_plugins(tmp_path, monkeypatch):
    """The distribution "broken" is installed."""
    install_broken_plugins(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")


def test_two_workers_write_the_same_records_as_none(inline, tmp_path):
    witness, state = run_spec(write_spec(tmp_path), tmp_path / "results", workers=2)
    assert state.failures == []
    assert witness.kinds == TINY_STAGES
    assert records_of(tmp_path / "results") == records_of(inline)


def test_progress_of_workers_is_heard_in_order(tmp_path):
    witness, _ = run_spec(write_spec(tmp_path, correctors=["ll"]), tmp_path / "results", workers=2)
    steps = [(done, total) for kind, done, total in witness.progress if kind == "adapt"]
    assert steps == [(10, 40), (20, 40), (30, 40), (40, 40)]


def test_an_inline_run_leaves_the_global_generators_alone(tmp_path):
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    random.seed(7)
    run_spec(write_spec(tmp_path, correctors=["sp"]), tmp_path / "results")
    drawn = torch.rand(3), np.random.rand(3), [random.random() for _ in range(3)]  # noqa: NPY002
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    random.seed(7)
    assert torch.equal(drawn[0], torch.rand(3))
    assert (drawn[1] == np.random.rand(3)).all()  # noqa: NPY002
    assert drawn[2] == [random.random() for _ in range(3)]


def test_a_worker_that_is_killed_once_costs_nothing_but_time(tmp_path, broken_plugins):
    deadly = {"attack": "deadly-once", "marker": str(tmp_path / "marker")}
    spec = write_spec(tmp_path, correctors=[deadly, "ll"])
    _, state = run_spec(spec, tmp_path / "results", workers=2)
    assert (tmp_path / "marker").exists()
    assert state.failures == []
    assert len(records_of(tmp_path / "results")) == 2


def test_a_worker_that_is_killed_twice_fails_its_cell_alone(tmp_path, broken_plugins):
    spec = write_spec(tmp_path, correctors=[{"attack": "deadly"}, "ll", "vbi"])
    _, state = run_spec(spec, tmp_path / "results", workers=2)
    [failure] = state.failures
    assert (failure.cell.corrector, failure.stage) == ("deadly", "correct")
    assert failure.reason.startswith("its worker process was lost 2 times, killed by SIGKILL; out of memory?")
    assert [record.count('"corrector": "deadly"') for record in records_of(tmp_path / "results").values()] == [0, 0]


class Unpicklable:
    key = "k"

    def __reduce__(self):
        raise TypeError("not me")


def test_a_stage_that_cannot_be_sent_fails_with_its_reason(tmp_path):
    executor = ProcessExecutor(WorkerSettings(tmp_path, "cpu", 1), 1)
    executor.submit(Unpicklable())
    [outcome] = executor.wait(lambda _: None)
    executor.close(now=False)
    assert isinstance(outcome, Outcome)
    assert "cannot be sent to a worker process (TypeError: not me); try --workers 1" in outcome.failure.reason


# -- signals: a real command in a process group of its own ---------------------------------------------------------------


def children(pid):
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in found.split()]


def is_running(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def wait_until(condition, *, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def started(inline, tmp_path):
    """Start a long run with two workers in the middle of its adaptations; the stages before come from a finished one."""
    shutil.copytree(inline / ".store", tmp_path / "results" / ".store")
    command = [sys.executable, "-c", "from harness.cli import main; main()", "run", str(write_spec(tmp_path, **LONG))]
    command += ["--results", str(tmp_path / "results"), "--workers", "2", "--device", "cpu"]
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that a shell runs in the background are born deaf to Ctrl-C, and so would be what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no threads here)
    )
    wait_until(lambda: len(children(process.pid)) >= 2, seconds=60)
    yield process
    with suppress(ProcessLookupError):  # workers that a failed test left are in the group too, and hold the pipes open
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@needs_pgrep
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_a_run_that_is_stopped_says_so_and_leaves_no_workers(started, number):
    workers = children(started.pid)
    if number == signal.SIGINT:
        os.killpg(started.pid, number)  # as a terminal does, in the middle of the workers' start
    else:
        started.send_signal(number)
    _, said = started.communicate(timeout=30)
    assert started.returncode == 130
    assert said.endswith("\ninterrupted; what was finished is kept, the same command goes on from there\n")
    assert "Traceback" not in said
    wait_until(lambda: not any(map(is_running, workers)), seconds=5)


@needs_pgrep
def test_a_run_that_is_killed_leaves_no_workers(started):
    workers = children(started.pid)
    started.kill()
    started.wait(timeout=30)
    wait_until(lambda: not any(map(is_running, workers)), seconds=20)


def test_workers_are_told_to_keep_freed_memory_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "5")
    with _memory_kept():
        assert os.environ["MALLOC_MMAP_THRESHOLD_"] == str(32 * 1024**2)
        assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "5"
    assert "MALLOC_MMAP_THRESHOLD_" not in os.environ
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "5"
