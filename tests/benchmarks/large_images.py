"""The whole loop on synthetic images of 224x224, in this process; prints the peaks of its memory as JSON.

``python large_images.py IMAGES FOLDER``, with the tests' folder on ``PYTHONPATH``. The store that it leaves in FOLDER takes about
0.3 MB an image, and the images as much again while they are made.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from first_party import own_manager
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy
from toys import Surroundings, adaptation_training, baseline_training, no_progress

from harness.api import Architecture, DatasetProvider, Evaluation, Evaluator, ImageData, NoOptions, Options, hookimpl
from harness.catalogue import Normalization
from harness.data import describe_data, load_data
from harness.models import Input
from harness.resolved import ResolvedDataset, ResolvedEvaluator, ResolvedModel
from harness.stages.execute import execute
from harness.stages.jobs import AdaptJob, BaselineJob, CorrectJob, EvaluateJob, MeasureJob, ShamJob, SplitJob, Subject
from harness.stages.stage import Stage
from harness.store import Store

CLASSES = ("red", "green", "blue")
SIDE = 224
TEST_IMAGES = 500
WRONG_SHARE = 0.1
ATTACKED_AT_ONCE = 32
TRAINED_AT_ONCE = 128
EPS = 8 / 255


class TintedOptions(Options):
    images: int = Field(description="Training images.")
    side: int = Field(description="Their height and width.")


class Tinted(DatasetProvider[TintedOptions]):
    """Noise with a little more of one color, which is its label; a tenth of the labels name another color."""

    def load(self):
        draws = np.random.default_rng(0)
        total = self.options.images + TEST_IMAGES
        shape = (3, self.options.side, self.options.side)
        colors = draws.integers(0, 3, total)
        tints = draws.integers(4, 25, total)
        noise = draws.integers(0, 200, (64, *shape)).astype(np.uint8)
        images = self.empty((total, *shape))
        for number in range(total):
            images[number] = noise[number % 64]
            images[number, colors[number]] += np.uint8(tints[number])
        labels = np.where(draws.random(total) < WRONG_SHARE, (colors + 1) % 3, colors)
        cut = self.options.images
        return ImageData(images[:cut], labels[:cut], images[cut:], labels[cut:], CLASSES)


class MeanColor(Architecture[NoOptions]):
    """Large strides, so that a pass costs little; its first weights already tell which color there is most of."""

    def build(self, shape):
        net = nn.Sequential(
            nn.Conv2d(3, 8, 16, stride=16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, shape.num_classes)
        )
        with torch.no_grad():
            net[0].weight.zero_()
            net[3].weight.zero_()
            for channel in range(3):
                net[0].weight[channel, channel] = 1 / 256
                net[3].weight[channel, channel] = 20
        return net


class OneStep(Evaluator[NoOptions]):
    """A step along the gradient's sign (Goodfellow et al., 2015, arXiv:1412.6572)."""

    def threat(self):
        return "linf", EPS

    def evaluate(self, classifier, images, labels):
        leaf = images.requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(cross_entropy(classifier(leaf), labels, reduction="sum"), leaf)
        return Evaluation(perturbed=(images.detach() + EPS * gradient.sign()).clamp(0, 1))


class Plugins:
    """What is not installed."""

    @staticmethod
    @hookimpl
    def harness_datasets():
        return {"tinted": f"{__name__}:Tinted"}

    @staticmethod
    @hookimpl
    def harness_classifiers():
        return {"mean-color": f"{__name__}:MeanColor"}

    @staticmethod
    @hookimpl
    def harness_evaluators():
        return {"one-step": f"{__name__}:OneStep"}


class Peaks:
    """Samples the memory that is the process's own (``RssAnon``: pages of mapped files are the system's to drop)."""

    def __init__(self):
        self.by_part, self.seconds = {}, {}
        self._part = "start"
        self._ended = threading.Event()

    @contextmanager
    def sampled(self):
        sampler = threading.Thread(target=self._sample, daemon=True)
        sampler.start()
        yield
        self._ended.set()
        sampler.join()

    @contextmanager
    def part(self, name):
        self._part = name
        began = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - began, 1)

    def _sample(self):
        while not self._ended.wait(0.005):
            part = self._part
            self.by_part[part] = max(self.by_part.get(part, 0), own_megabytes())


def own_megabytes():
    """Return the anonymous resident memory in MB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024 / 1e6


def run(images, folder, *, side=SIDE):
    """Run all stages; returns the peaks in MB and how many samples were attacked and corrected."""
    peaks = Peaks()
    manager = own_manager()
    manager.register(Plugins, package="large", distribution="large", version="1")
    with peaks.sampled():
        with peaks.part("data"):
            at = surroundings(images, side, Store(folder), manager)
        counts = run_stages(at, peaks)
    return {
        "images": images,
        **counts,
        "own_mb": round(max(peaks.by_part.values()), 1),
        "own_mb_by_stage": {name: round(peak, 1) for name, peak in peaks.by_part.items()},
        "seconds_by_stage": peaks.seconds,
        "resident_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
    }


def surroundings(images, side, store, manager):
    """Decode the data set and surround the stages with it."""
    at = Surroundings(store.root, manager=manager)
    provider = at.plugin("dataset", "tinted", images=images, side=side)
    data = describe_data(ResolvedDataset("tinted", provider, None), manager, store)
    model = ResolvedModel(
        "mean-color", at.plugin("classifier", "mean-color"), None, Path(), None, False, None, "dataset"
    )
    shape = Input(3, side, 3, Normalization(mean=(0.5,) * 3, std=(0.25,) * 3))
    at.subject = Subject(data.fingerprint, model, shape, images // 10, 1)
    at.workshop = replace(
        at.workshop, checkpoint_seconds=2.0, _data={data.fingerprint: load_data(data.fingerprint, store)}
    )
    return at


def run_stages(at, peaks):
    """Run every stage of a corrector, its control, an adaptation and an evaluator."""
    subject, made = at.subject, {}

    def stage(job, **inputs):
        made[len(made)] = one = Stage(f"{len(made):064x}", job, tuple(inputs.items()))
        with peaks.part(f"{len(made)} {one.kind}"):
            execute(one, at.workshop, no_progress)
        return one

    # One epoch that moves the weights little: the labels that are wrong are to stay wrong.
    baseline = stage(BaselineJob(subject, baseline_training(epochs=1, batch_size=TRAINED_AT_ONCE, lr=1e-5)))
    split = stage(SplitJob(subject), baseline=baseline)
    bim = at.corrector("bim", steps=5, alpha=1 / 255, eps=8 / 255)
    correct = stage(CorrectJob(subject, bim, ATTACKED_AT_ONCE), baseline=baseline, split=split)
    stage(ShamJob(subject, "l2"), baseline=baseline, correct=correct)
    training = adaptation_training(steps=100, batch_size=16, lr=1e-4, validations=2)
    adapt = AdaptJob(subject, at.adapter("deep-coral"), "corrected", "corrected", training)
    weights = stage(adapt, baseline=baseline, split=split, perturbed=correct)
    stage(EvaluateJob(subject, "corrected", "corrected"), weights=weights, split=split, perturbed=correct)
    one_step = ResolvedEvaluator("one-step", at.plugin("evaluator", "one-step"), None, ATTACKED_AT_ONCE)
    measure = stage(MeasureJob(subject, one_step), weights=weights)
    found = at.store.load_meta("correct", correct.key).meta | at.store.load_meta("measure", measure.key).meta
    return {name: found[name] for name in ("wrong", "corrected", "clean", "robust")}


if __name__ == "__main__":
    json.dump(run(int(sys.argv[1]), Path(sys.argv[2])), sys.stdout)
