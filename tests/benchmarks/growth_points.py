"""One point of a growth curve, measured in this process; prints its seconds and its peak memory as JSON.

``python growth_points.py AXIS SIZE FOLDER``, with the tests' folder on ``PYTHONPATH``. AXIS is ``cells`` (a whole run of SIZE
correctors whose stages compute nothing: planning, stages' bookkeeping, records, tables), ``wrong`` (SIZE wrongly labelled images
corrected by five steps of VBI on a ResNet-20) or ``images`` (the whole loop on SIZE training images of 32x32).
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import large_images
import torch
from first_party import own_manager
from large_images import Peaks
from running import write_spec
from toys import Surroundings, no_progress

from harness.catalogue import Normalization
from harness.cli.watching import LineWatcher
from harness.data import Data, load_data
from harness.launch import Options, prepare, run, write_reports
from harness.models import Input
from harness.resolved import ResolvedModel
from harness.stages import execute
from harness.stages.context import as_state
from harness.stages.jobs import BaselineJob, CorrectJob, SplitJob, Subject
from harness.stages.stage import Stage
from harness.store import Artifact, Store

SIDE, CLASSES = 32, 10
ATTACKED_AT_ONCE = 256
TEST_IMAGES = 1000
SMALL_STATE = 1000
IMAGES_AT_ONCE = 500


class Stopwatch:
    """Seconds and peak memory of named parts."""

    def __init__(self):
        self.seconds = {}
        self.peaks = Peaks()

    @contextmanager
    def part(self, name):
        began = time.perf_counter()
        with self.peaks.part(name):
            yield
        self.seconds[name] = time.perf_counter() - began


# -- cells -----------------------------------------------------------------------------------------------------------------


def cells(size, folder, watch):
    """Run ``size`` correctors with all their controls and two seeds, every stage a stub."""
    stubs = {kind: stub(kind) for kind in ("baseline", "split", "correct", "sham", "adapt", "evaluate")}
    execute._RUN.update(stubs)
    correctors = [{"attack": "paper/bim", "name": f"bim-{number}", "steps": number + 1} for number in range(size)]
    spec = write_spec(folder, name="cells", correctors=correctors, controls="default", seeds=[1, 2])
    options = Options(results=folder / "results", device="cpu", workers=1)
    with watch.part("data"):
        prepare(str(spec), options)  # which stores the images; the plan is timed without
    with watch.part("plan"):
        prepared = prepare(str(spec), options)
    with watch.part("run"):
        state = run(prepared, LineWatcher(1, quiet=True))
    with watch.part("tables"):
        write_reports(prepared.results)
    if state.exit_code:
        raise RuntimeError(state.failures[0].reason)
    return {"size": len(prepared.plan.cells), "stages": len(prepared.plan.stages())}


def stub(kind):
    """Return what a stage would, with numbers that cost nothing and depend on its input alone."""

    def made(job, inputs, context):
        number = sum(map(ord, context.partial.folder.name)) % 100
        return Artifact({"net.weight": torch.zeros(SMALL_STATE)}, META[kind](number))

    return made


def evaluated(number):
    right = TEST_IMAGES // 2 + number
    shares = {"source": 1.0, "train": 0.9, "valid": 0.8, "test": right / TEST_IMAGES}
    predictions = [0] * right + [1] * (TEST_IMAGES - right)
    return {
        "accuracy": shares,
        "loss": {"source": 0.1, "target": 0.2},
        "source_size": 100,
        "test": {"labels": [0] * TEST_IMAGES, "predictions": predictions},
    }


def corrected(number):
    return {
        "wrong": 200,
        "corrected": number,
        "norm": "linf",
        "median_norm": 0.01,
        "forward": 400,
        "backward": 200,
        "survived": {"uint8": number},
        "flags": [],
        "curve": [[2.0, number]],
        "losses": {"all": 20.0, "corrected": 10.0},
    }


def substituted(number):
    shown = {"kept": number, "labelled_true": number // 2, "loss": 10.0, "median_norm": 0.01}
    return {"all": shown, "corrected": shown}


def adapted(number):
    point = {"step": 40, "valid": 0.8, "losses": {"coral": 0.1}, "diagnostics": {"coral": number / 100}}
    uses = {"source": True, "target_labels": False}
    return {"best_step": 40, "history": [point], "remarks": [], "steps": 40, "uses": uses}


META = {
    "baseline": lambda _: {"best_step": 1, "history": [], "trained": True},
    "split": lambda _: {"right": 900, "wrong": 200, "losses": {"right": 90.0, "wrong": 300.0}},
    "correct": corrected,
    "sham": substituted,
    "adapt": adapted,
    "evaluate": evaluated,
}


# -- wrong -----------------------------------------------------------------------------------------------------------------


def wrong(size, folder, watch):
    """Split and correct ``size`` images, all of which are labelled otherwise than a ResNet-20 sees them."""
    at = Surroundings(folder)
    at.workshop.checkpoint_seconds = 20.0
    model = ResolvedModel("net", at.plugin("classifier", "cifar-resnet20"), None, Path(), None, True, None, "dataset")
    shape = Input(3, SIDE, CLASSES, Normalization(mean=(0.5,) * 3, std=(0.25,) * 3))
    at.subject = Subject("noise", model, shape, 1, 1)
    with watch.part("data"):
        network = steadied(at.context().network())
        images, labels = relabelled(network, size + 1)
        at.store.save("data", "noise", Artifact(vars(Data(images, labels, images[:1], labels[:1]))))
        at.workshop._data["noise"] = load_data("noise", at.store)
        baseline = Stage("baseline", BaselineJob(at.subject, None), ())
        at.store.save("baseline", baseline.key, Artifact(as_state(network.net.state_dict())))
    split = Stage("split", SplitJob(at.subject), (("baseline", baseline),))
    bim = at.corrector("bim", steps=5, alpha=1 / 255, eps=8 / 255)
    inputs = (("baseline", baseline), ("split", split))
    correct = Stage("correct", CorrectJob(at.subject, bim, ATTACKED_AT_ONCE), inputs)
    for stage in (split, correct):
        with watch.part(stage.kind):
            execute.execute(stage, at.workshop, no_progress)
    found = Store(folder).load_meta("correct", "correct").meta
    return {"size": found["wrong"], "corrected": found["corrected"]}


def steadied(network):
    """Return the network with statistics of the images that it will see, so that its labels depend on them."""
    network.train()
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(64, 3, SIDE, SIDE, generator=draws))
    return network.eval()


def relabelled(network, count):
    """Return noise and for each image the class that the network holds for second best."""
    draws = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=draws)
    with torch.no_grad():
        logits = [network(some.float() / 255) for some in images.split(IMAGES_AT_ONCE)]
    return images, torch.cat(logits).topk(2).indices[:, 1]


# -- images ----------------------------------------------------------------------------------------------------------------


def images(size, folder, watch):
    """Run the loop on so many training images of 32x32."""
    manager = own_manager()
    manager.register(large_images.Plugins, package="large", distribution="large", version="1")
    torch.optim.SGD([torch.zeros(1)])  # a process's first optimizer imports torch's compiler, which takes seconds
    with watch.part("data"):
        at = large_images.surroundings(size, SIDE, Store(folder), manager)
    with watch.part("loop"):
        large_images.run_stages(at, Peaks())
    return {"size": size}


AXES = {
    "cells": (cells, ("plan", "run", "tables")),
    "wrong": (wrong, ("correct",)),
    "images": (images, ("data", "loop")),
}


def measured(axis, size, folder):
    """Measure a point; ``seconds`` are those of the parts that count, ``own_mb`` the peak while they ran."""
    measure, parts = AXES[axis]
    watch = Stopwatch()
    with watch.peaks.sampled():
        told = measure(size, folder, watch)
    # "run" writes the tables too; their own time is taken once more beside it.
    counted = [name for name in parts if name != "tables"]
    return {
        **told,
        "seconds": round(sum(watch.seconds[name] for name in counted), 3),
        "seconds_by_part": {name: round(watch.seconds[name], 3) for name in parts},
        "own_mb": round(max(watch.peaks.by_part.get(name, 0) for name in parts), 1),
    }


if __name__ == "__main__":
    json.dump(measured(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])), sys.stdout)
