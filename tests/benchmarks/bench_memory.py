"""Peak memory of the whole loop at 224x224, with 2,000 and with 20,000 training images. `make bench`.

What counts is the process's own memory: it must not grow with the data set. The resident set grows all the same where memory is
free, for the pages of mapped files that were read are counted in it; the system drops them as it needs the room.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SIZES = (2_000, 20_000)
DISK_BYTES_AN_IMAGE = 450_000  # the images twice, while they are stored, and a tenth of them as floats, twice
LARGEST_GROWTH = 1.2
# What glibc keeps of freed memory depends on the order of the blocks' sizes; what is in use does not.
GIVEN_BACK_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 20)}


@pytest.fixture(scope="module")
def found():
    """What each size took, the smaller first."""
    return {}


@pytest.fixture
def store(tmp_path):
    """A folder for gigabytes, which pytest would keep for three runs."""
    yield tmp_path / "store"
    shutil.rmtree(tmp_path)


def measured(images, store):
    """Run the loop in a process of its own; returns its peaks."""
    command = [sys.executable, str(FOLDER / "large_images.py"), str(images), str(store)]
    environment = {**os.environ, **GIVEN_BACK_AT_ONCE, "PYTHONPATH": str(FOLDER.parent)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a process's own memory is read from /proc")
@pytest.mark.benchmark(group="the whole loop at 224x224: see extra_info for its memory")
@pytest.mark.parametrize("images", SIZES)
def test_own_memory_does_not_grow_with_the_data_set(benchmark, store, found, images, capsys):
    needed, free = images * DISK_BYTES_AN_IMAGE, shutil.disk_usage(store.parent).free
    if free < needed:
        pytest.skip(f"{store.parent} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed: set TMPDIR")
    result = benchmark.pedantic(measured, args=(images, store), rounds=1)
    found[images] = result["own_mb"]
    smallest = found[min(found)]
    benchmark.extra_info.update(result, own_ratio_to_smallest=round(result["own_mb"] / smallest, 3))
    with capsys.disabled():
        sys.stdout.write(f"\n{images} images: own memory {result['own_mb']} MB, resident {result['resident_mb']} MB\n")
    assert 0 < result["corrected"] < result["wrong"]
    assert result["own_mb"] <= LARGEST_GROWTH * smallest
