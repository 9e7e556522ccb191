"""Large arrays on disk: against what the safetensors library reads, and against processes that are killed in the middle."""

from __future__ import annotations

import errno
import gc
import hashlib
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from harness import tensor_files
from harness.errors import StoreError
from harness.tensor_files import TensorFile, row_chunks, scratch_array

SHAPE = (7, 2, 5, 3)
ROWS = np.random.default_rng(0).random(SHAPE, np.float32)


def create(folder, shape=SHAPE, dtype="float32"):
    return TensorFile.create(folder, "images", shape, dtype)


def resume(folder, written, shape=SHAPE):
    return TensorFile.resume(folder, "images", shape, "float32", written)


def complete(folder, rows=ROWS):
    file = create(folder, rows.shape, str(rows.dtype))
    file.append(rows)
    return file


@contextmanager
def file_size_limit(limit):
    """Let no file grow beyond ``limit`` bytes: what a full disk looks like from inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# -- the format -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [ROWS, (ROWS * 255).astype(np.uint8), ROWS[:0], ROWS[:, :0], ROWS[:, :, ::-1]])
def test_the_library_reads_what_was_written(tmp_path, rows):
    file = complete(tmp_path, rows)
    tensor = file.tensor()
    (read,) = load_file(file.path).values()
    assert read.dtype == rows.dtype
    assert np.array_equal(read, rows)
    assert np.array_equal(tensor.numpy(), rows)
    with safe_open(file.path, "np") as opened:
        assert list(opened.keys()) == ["images"]


def test_the_checksum_is_the_files(tmp_path):
    file = complete(tmp_path)
    file.written()
    assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()


def test_the_first_row_is_aligned_for_vector_loads(tmp_path):
    assert complete(tmp_path).tensor().data_ptr() % 64 == 0


@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(0, 7), max_size=4).map(sorted))
def test_a_file_does_not_tell_in_which_pieces_it_was_written(tmp_path_factory, cuts):
    file = create(tmp_path_factory.mktemp("pieces"))
    for piece in np.split(ROWS, cuts):
        file.append(piece)
    file.written()
    whole = complete(tmp_path_factory.mktemp("whole"))
    whole.written()
    assert file.path.read_bytes() == whole.path.read_bytes()


def test_the_tensor_outlives_its_files_name(tmp_path):
    file = complete(tmp_path)
    tensor = file.tensor()
    file.path.unlink()
    del file
    gc.collect()
    assert np.array_equal(tensor.numpy(), ROWS)


@pytest.mark.parametrize("rows", [ROWS.astype(np.float64), ROWS[:, :1], np.concatenate([ROWS, ROWS])])
def test_rows_that_do_not_fit_are_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="after 0 rows"):
        create(tmp_path).append(rows)


def test_a_file_without_all_of_its_rows_is_no_tensor(tmp_path):
    file = create(tmp_path)
    file.append(ROWS[:6])
    with pytest.raises(ValueError, match="6 of 7 rows are written"):
        file.tensor()


# -- going on -------------------------------------------------------------------------------------------------------------


def cut_off(folder, rows=4):
    """Leave a file with a checkpoint after ``rows`` rows and one more row that no checkpoint knows."""
    file = create(folder)
    file.append(ROWS[:rows])
    written = file.written()
    file.append(np.full_like(ROWS[:1], 7))
    file.close()
    return written, folder / written["file"]


@pytest.mark.parametrize("rows", [0, 1, 4, 6])
def test_a_file_goes_on_after_the_rows_of_its_checkpoint(tmp_path, rows):
    written, path = cut_off(tmp_path, rows)
    file = resume(tmp_path, written)
    assert file.rows == rows
    file.append(ROWS[rows:])
    assert np.array_equal(file.tensor().numpy(), ROWS)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_any_flipped_bit_of_a_row_that_counts_is_noticed(tmp_path):
    written, path = cut_off(tmp_path)
    original = path.read_bytes()
    counted = len(original) - 3 * ROWS[0].nbytes
    for place in range(0, counted, 5):
        damaged = bytearray(original)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert resume(tmp_path, written) is None, place
    damaged = bytearray(original)
    damaged[counted] ^= 1
    path.write_bytes(damaged)
    assert resume(tmp_path, written).rows == 4


def test_a_checkpoint_of_another_file_is_not_gone_on_with(tmp_path):
    written, path = cut_off(tmp_path)
    assert resume(tmp_path, None) is None
    assert resume(tmp_path, written, (8, 2, 5, 3)) is None
    assert resume(tmp_path, {**written, "rows": 5}) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert resume(tmp_path, written) is None
    path.unlink()
    assert resume(tmp_path, written) is None


def test_two_runs_of_one_stage_never_write_to_one_file(tmp_path):
    written, _ = cut_off(tmp_path)
    first = resume(tmp_path, written)
    assert resume(tmp_path, written) is None
    second = create(tmp_path)
    assert first.path.exists()
    assert second.path != first.path
    second.append(np.zeros(SHAPE, np.float32))
    first.append(ROWS[4:])
    assert np.array_equal(first.tensor().numpy(), ROWS)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from harness.tensor_files import TensorFile
rows = np.random.default_rng(0).random({shape}, np.float32)
file = TensorFile.create(Path(sys.argv[1]), "images", {shape}, "float32")
file.append(rows[:3])
print(repr(file.written()), flush=True)
file.append(-rows[3:6])
file._file.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(folder, shape=SHAPE):
    """Let a process write, tell of a checkpoint, write more and be killed; returns what it told."""
    command = [sys.executable, "-c", KILLED.format(shape=shape), str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return eval(ran.stdout)


def test_a_killed_process_leaves_what_its_checkpoint_tells(tmp_path):
    file = resume(tmp_path, killed(tmp_path))
    assert file.rows == 3
    file.append(ROWS[3:])
    assert np.array_equal(file.tensor().numpy(), ROWS)


def test_what_killed_processes_left_is_removed_and_what_is_in_use_is_not(tmp_path):
    in_use = create(tmp_path)
    for _ in range(2):
        killed(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    file = create(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([in_use.path, file.path])


# -- no room --------------------------------------------------------------------------------------------------------------


def test_a_disk_too_small_is_told_before_the_first_row(tmp_path):
    with pytest.raises(StoreError) as caught, file_size_limit(4000):
        create(tmp_path, (1000, 3))
    assert str(caught.value) == (
        f"{tmp_path}: cannot be written (File too large); free some space or choose another folder with --results and --store"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_array_that_finds_no_room_is_told_before_it_is_filled(tmp_path, monkeypatch):
    def no_room(handle, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tensor_files, "IN_MEMORY_BYTES", 100)
    monkeypatch.setattr(os, "posix_fallocate", no_room, raising=False)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\)"):
        scratch_array((50, 100), tmp_path)


# -- arrays to fill -------------------------------------------------------------------------------------------------------


def test_small_arrays_are_in_memory_and_large_ones_in_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "IN_MEMORY_BYTES", 4 * 25)
    folder = tmp_path / "scratch"
    small, large = scratch_array((4, 25), folder), scratch_array((5, 25), folder)
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    assert list(folder.iterdir()) == []
    assert str(folder) in mapped_files()
    large[:] = np.arange(25)
    assert (large.sum(), large.dtype, large.shape) == (5 * 300, np.uint8, (5, 25))
    del large
    gc.collect()
    assert str(folder) not in mapped_files()


def mapped_files():
    """Return the system's list of what this process has mapped."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("what is mapped is read from /proc")
    return maps.read_text()


@given(count=st.integers(0, 40), width=st.integers(0, 9), chunk=st.integers(1, 50))
def test_chunks_are_the_array_in_order_and_no_larger_than_they_may_be(count, width, chunk):
    array = np.arange(count * width, dtype=np.uint8).reshape(count, width)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tensor_files, "CHUNK_BYTES", chunk)
        chunks = list(row_chunks(array))
    assert np.array_equal(np.concatenate([array[:0], *chunks]), array)
    assert all(len(one) == 1 or one.nbytes <= chunk for one in chunks)


def test_reading_some_rows_of_a_tensor_leaves_the_others_on_the_disk(tmp_path):
    rows = np.zeros((400, 256, 256), np.float32)
    tensor = complete(tmp_path, rows).tensor()
    gc.collect()
    before = own_bytes()
    chosen = tensor[torch.tensor([3, 399])]
    assert own_bytes() - before < rows.nbytes / 10
    assert chosen.shape == (2, 256, 256)


def own_bytes():
    """Return the process's own resident memory."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("a process's own memory is read from /proc")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024
