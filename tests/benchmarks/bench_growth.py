"""How time and memory grow with the cells of a plan, with the wrong images and with the data set. `make bench`.

``growth_plots.py`` draws the saved file and makes a table of it. Each point is measured in a process of its own, started as
workers are. ``HARNESS_BENCH_SMALL=1`` takes small sizes, which show no more than that it works.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.executors.processes import _memory_kept

FORMAT = "adcorda-harness/growth/1"
FOLDER = Path(__file__).parent
SMALL = os.environ.get("HARNESS_BENCH_SMALL") == "1"
# Of "cells" a size is so many correctors, with their controls and two seeds: 20, 104, 302, 602 and 998 cells.
SIZES = {
    "cells": (1, 15, 48, 98, 164),
    "wrong": (100, 1_000, 3_000, 6_000, 10_000),
    "images": (500, 5_000, 10_000, 25_000, 50_000),
}
SMALL_SIZES = {"cells": (1, 4, 8), "wrong": (50, 100, 150), "images": (500, 1_000, 2_000)}
BYTES_AN_IMAGE = 3 * 32 * 32
LARGEST_SHARE = 2
"""Of the data set's bytes: what the largest data set may add to the memory that the smallest takes."""


@pytest.fixture(scope="module")
def own_mb():
    """The peak memory at each size of the data set."""
    return {}


@pytest.fixture
def store(tmp_path):
    """A folder that goes with the test: pytest would keep it for three runs."""
    yield tmp_path / "store"
    shutil.rmtree(tmp_path)


def measured(axis, size, store):
    """Measure a point in a process of its own."""
    command = [sys.executable, str(FOLDER / "growth_points.py"), axis, str(size), str(store)]
    with _memory_kept():
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), str(FOLDER)])}
        ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ran.stdout)


def points():
    return [(axis, size) for axis, sizes in (SMALL_SIZES if SMALL else SIZES).items() for size in sizes]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a process's own memory is read from /proc")
@pytest.mark.benchmark(group="growth: see extra_info for time and memory")
@pytest.mark.parametrize("point", points(), ids=str)
def test_growth(benchmark, store, own_mb, point, capsys):
    axis, size = point
    told = {
        "format": FORMAT,
        "small": SMALL,
        "axis": axis,
        **benchmark.pedantic(measured, args=(axis, size, store), rounds=1),
    }
    if axis == "images":
        own_mb[size] = told["own_mb"]
        told["data_mb"] = round(size * BYTES_AN_IMAGE / 1e6, 1)
    benchmark.extra_info.update(told)
    with capsys.disabled():
        sys.stdout.write(f"\n{json.dumps(told)}\n")
    if axis == "images":
        assert told["own_mb"] - own_mb[min(own_mb)] <= LARGEST_SHARE * told["data_mb"]
    if axis == "wrong":
        assert told["corrected"] > told["size"] / 2
