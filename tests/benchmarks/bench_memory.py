"""Peak memory of the whole loop at 224x224, with 2,000 and with 20,000 training images. `make bench`.

What counts is the process's own memory: it must not grow with the data set. The resident set grows all the same where memory is
free, for the pages of mapped files that were read are counted in it; the system drops them as it needs the room.

The process is started as workers are, which keep the memory that they free: that is what a run takes. And once more with a C
library that gives it back at once: that is what is in use.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.executors.processes import _memory_kept

FOLDER = Path(__file__).parent
SIZES = (2_000, 20_000)
DISK_BYTES_AN_IMAGE = 450_000  # the images twice, while they are stored, and a tenth of them as floats, twice
ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
GIVEN_BACK_FROM = str(1 << 20)
# What glibc keeps of freed memory depends on the order of the blocks' sizes, and so on how many batches there are; what is in use
# does not. Ten times the images, if they were held, would be several times the memory.
LARGEST_GROWTH = {"as workers": 1.5, "given back": 1.2}


@dataclass
class Freed:
    """What becomes of freed memory, how much more the largest data set may then take, and what each size took."""

    name: str
    largest_growth: float
    own_mb: dict[int, float] = field(default_factory=dict)


@pytest.fixture(scope="module", params=LARGEST_GROWTH)
def freed(request):
    """A worker's own settings, or memory given back at once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ALLOCATOR:
            patch.delenv(name, raising=False)
            if request.param == "given back":
                patch.setenv(name, GIVEN_BACK_FROM)
        yield Freed(request.param, LARGEST_GROWTH[request.param])


@pytest.fixture
def store(tmp_path):
    """A folder for gigabytes, which pytest would keep for three runs."""
    yield tmp_path / "store"
    shutil.rmtree(tmp_path)


def measured(images, store):
    """Run the loop in a process of its own; returns its peaks."""
    command = [sys.executable, str(FOLDER / "large_images.py"), str(images), str(store)]
    with _memory_kept():
        environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a process's own memory is read from /proc")
@pytest.mark.benchmark(group="the whole loop at 224x224: see extra_info for its memory")
@pytest.mark.parametrize("images", SIZES)
def test_own_memory_does_not_grow_with_the_data_set(benchmark, store, freed, images, capsys):
    needed, free = images * DISK_BYTES_AN_IMAGE, shutil.disk_usage(store.parent).free
    if free < needed:
        pytest.skip(f"{store.parent} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed: set TMPDIR")
    result = benchmark.pedantic(measured, args=(images, store), rounds=1)
    freed.own_mb[images] = result["own_mb"]
    smallest = freed.own_mb[min(freed.own_mb)]
    benchmark.extra_info.update(result, own_ratio_to_smallest=round(result["own_mb"] / smallest, 3))
    with capsys.disabled():
        sys.stdout.write(
            f"\n{images} images, {freed.name}: own memory {result['own_mb']} MB, resident {result['resident_mb']} MB\n"
        )
    assert 0 < result["corrected"] < result["wrong"]
    assert 0 < result["robust"] < result["clean"]
    assert result["own_mb"] <= freed.largest_growth * smallest
