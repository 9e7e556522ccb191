"""The overhead of eight correctors, four adapters and three seeds over the sum of their stages' own seconds. `make bench`.

The whole command is timed, from the start of its process to its end. Its stages' seconds are those that the store keeps of each,
once for however many cells share it. Then the same command again, which finds all of it done. ``HARNESS_BENCH_SMALL=1`` takes one
seed, four correctors and a small network: for trying this out, its shares mean nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from statistics import median

import pytest

FORMAT = "adcorda-harness/matrix/1"
SMALL = os.environ.get("HARNESS_BENCH_SMALL") == "1"
LARGEST_OVERHEAD = 0.03
LARGEST_SECOND_RUN = 2.0
SECOND_RUNS = 5
SPEC = {
    "name": "matrix",
    "dataset": {"card": "digits", "train_samples": 600, "test_samples": 300},
    "models": ["cifar-resnet20"],
    "seeds": [1, 2, 5],
    "validation": 0.2,
    "baseline": {"epochs": 6, "batch_size": 32, "lr": 0.05},
    "correctors": [
        *("none", "bi", "bih", "vbi-iter1", "vbi", "ll"),
        {"preset": "ddn", "steps": 20},
        {"preset": "sp", "steps": 50},
    ],
    "adapters": ["deep-coral", "log-coral", "dann", "mk-mmd"],
    "controls": "none",
    "adaptation": {"steps": 20, "batch_size": 16, "lr": 0.005, "validations": 4},
}
if SMALL:
    SPEC |= {"models": ["small-cnn"], "seeds": [1], "correctors": ["none", "bi", "vbi", "ll"]}


def run(spec, results, workers):
    """Run the command in a process of its own; returns its seconds."""
    command = [sys.executable, "-c", "from harness.cli import main; main()", "run", spec, "--device", "cpu"]
    began = time.perf_counter()
    ran = subprocess.run(
        [*command, "--workers", str(workers), "--results", results],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    assert ran.returncode == 0, ran.stderr[-2000:]
    return seconds


def stage_seconds(store):
    """Return the seconds that the store keeps of each stage: a checksum, a line's end, and what it is of."""
    metas = [json.loads(path.read_bytes().partition(b"\n")[2]) for path in store.glob("*/*/*/meta.json")]
    return [meta["times"]["seconds"] for meta in metas if "seconds" in meta["times"]]


@pytest.mark.benchmark(group="a matrix of 8 correctors, 4 adapters, 3 seeds: see extra_info for its overhead")
@pytest.mark.parametrize("workers", [1, 2])
def test_overhead_of_the_matrix(benchmark, tmp_path, workers, capsys):
    spec, results = tmp_path / "matrix.yaml", tmp_path / "results"
    spec.write_text(json.dumps(SPEC))
    wall = benchmark.pedantic(run, args=(spec, results, workers), rounds=1)
    second = [run(spec, results, workers) for _ in range(SECOND_RUNS)]
    stages = stage_seconds(results / ".store")
    ideal = sum(stages) / workers
    told = {
        "format": FORMAT,
        "workers": workers,
        "cells": len(list((results / "matrix" / "records").glob("*.json"))),
        "stages": len(stages),
        "small": SMALL,
        "wall_seconds": wall,
        "stage_seconds": sum(stages),
        "overhead": wall / ideal - 1,
        "second_run_seconds": median(second),
    }
    benchmark.extra_info.update(told)
    with capsys.disabled():
        sys.stdout.write(f"\n{json.dumps(told)}\n")
    assert told["cells"] == len(SPEC["seeds"]) * len(SPEC["correctors"]) * len(SPEC["adapters"])
    if not SMALL:
        assert told["second_run_seconds"] <= LARGEST_SECOND_RUN
        # Of several workers each waits for the slowest stage of all, and imports torch for itself.
        assert workers > 1 or told["overhead"] <= LARGEST_OVERHEAD
