"""Claims on folders, and stages that several processes come to at once: one at a time, each made once, none lost."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import signal
import subprocess
import sys
import threading
import time

import pytest
from same_stage import Shared, run_as_a_worker
from toys import no_progress

from harness.errors import StoreError
from harness.locking import LOCK, claimed
from harness.stages.execute import execute
from harness.store import Artifact, Store

KEY = "a" * 64


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "partial" / KEY


def test_a_claim_keeps_others_out_until_it_ends(folder):
    with claimed(folder, wait=False) as first, claimed(folder, wait=False) as second:
        assert (first, second) == (True, False)
    with claimed(folder, wait=False) as third:
        assert third


def test_other_folders_are_not_claimed_with_it(folder):
    with claimed(folder), claimed(folder.with_name("b"), wait=False) as other:
        assert other


def test_a_claim_leaves_nothing_behind_but_what_was_put_there(folder):
    with claimed(folder):
        pass
    assert not folder.exists()
    with claimed(folder):
        (folder / "attack.checkpoint").touch()
    assert [path.name for path in folder.iterdir()] == ["attack.checkpoint"]


def test_never_are_two_in_a_folder_though_it_is_made_and_removed_all_the_time(folder):
    inside, most, times = [], [], []

    def come_and_go(number):
        for turn in range(60):
            with claimed(folder):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.0001)
                inside.remove(number)
                times.append(number)
                if turn % 3 == number % 3:  # as a stage removes its checkpoints when it is stored
                    Store(folder.parents[1]).partial(KEY).clear()

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(times) == 6 * 60
    assert max(most) == 1
    assert not folder.exists()


def test_where_the_disk_knows_no_locks_nobody_is_kept_out(folder, monkeypatch):
    def refuse(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with claimed(folder) as first, claimed(folder) as second:
        assert (first, second) == (True, True)
    assert not folder.exists()


def test_where_the_system_knows_no_locks_nobody_is_kept_out(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with claimed(folder) as first, claimed(folder) as second:
        assert (first, second) == (True, True)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "store").touch()
    with pytest.raises(
        StoreError, match=r"store/partial/a+: cannot be written \(Not a directory\); choose another folder"
    ):
        Store(tmp_path / "store").claim(KEY).__enter__()


def started(folder, waiting=""):
    """Start a process that claims the folder, says so, and stays."""
    code = (
        "import pathlib, sys, time; from harness.locking import claimed\n"
        f"print({waiting!r}, flush=True)\n"
        "with claimed(pathlib.Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no threads here)
    )
    assert process.stdout.readline().strip() == waiting
    return process


def test_the_claim_of_a_process_that_is_killed_is_free_and_what_it_left_is_there(folder):
    holder = started(folder)
    assert holder.stdout.readline() == "in\n"
    (folder / "attack.checkpoint").touch()
    holder.kill()
    holder.communicate(timeout=30)
    assert (folder / LOCK).exists()
    with claimed(folder, wait=False) as ours:
        assert ours
        assert (folder / "attack.checkpoint").exists()
    assert not (folder / LOCK).exists()


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM)],
    ids=["ctrl-c", "terminated"],
)
def test_who_waits_for_a_claim_can_be_stopped(folder, number, status):
    with claimed(folder):
        waiting = started(folder, "waiting")
        time.sleep(0.2)  # at the lock by now, or on its way there
        waiting.send_signal(number)
        said, _ = waiting.communicate(timeout=30)
    assert (said, waiting.returncode) == ("", status)
    assert not folder.exists()


def test_checkpoints_are_forgotten_unless_somebody_is_at_the_stage(tmp_path):
    store = Store(tmp_path)
    partial = store.partial(KEY)
    store.forget(KEY)
    assert not partial.folder.parent.exists()
    partial.save("attack", Artifact(meta={"batch": 3}))
    with store.claim(KEY):
        store.forget(KEY)
        assert partial.load("attack").meta == {"batch": 3}
    store.forget(KEY)
    assert not partial.folder.exists()


# -- stages ---------------------------------------------------------------------------------------------------------------


def at_once(root, weights):
    """Run three stages in a process each, at different speeds; returns what was the matter and the batches each corrected.

    The first that is done with a correction removes its checkpoints, among them the file that the others were writing to.
    """
    Shared(root)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.executors.working"])
    ready, outcomes = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=run_as_a_worker, args=(root, weight, seconds, ready, outcomes))
        for weight, seconds in zip(weights, (0.02, 0.05, 0.1), strict=True)
    ]
    for process in processes:
        process.start()
    found = [outcomes.get(timeout=90) for _ in processes]
    for process in processes:
        process.join(30)
    assert not list((root / "partial").glob("*"))
    return [failure for failure, _ in found], [batches for _, batches in found]


def test_three_processes_that_come_to_the_same_stage_make_it_once(tmp_path):
    failures, batches = at_once(tmp_path / "store", (None, None, None))
    assert failures == [None] * 3
    alone = Shared(tmp_path / "alone")
    stage = alone.correction()
    execute(stage, alone.workshop, no_progress)
    images = alone.store.load("correct", stage.key).tensors["images"]
    assert sorted(batches) == [0, 0, -(-len(images) // 5)]
    assert Store(tmp_path / "store").load("correct", stage.key).tensors["images"].equal(images)


def test_arms_whose_searches_try_the_same_corrections_at_once_lose_no_cell(tmp_path):
    failures, batches = at_once(tmp_path / "store", (1, 2, 3))
    assert failures == [None] * 3
    store = Store(tmp_path / "store")
    corrections = [store.load("correct", path.name) for path in (tmp_path / "store" / "correct").glob("*/*")]
    assert len(corrections) > 1
    assert sum(batches) == sum(-(-len(found.tensors["images"]) // 5) for found in corrections)
    assert len(list((tmp_path / "store" / "search").glob("*/*"))) == 3
