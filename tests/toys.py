"""Toy classifiers, data and surroundings, small enough to be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import torch
from first_party import own_manager
from torch import nn

from harness.budget import Adaptation, Baseline
from harness.catalogue import Normalization
from harness.data import Data
from harness.engine.networks import PixelClassifier
from harness.models import Input
from harness.resolved import ResolvedAdapter, ResolvedCorrector, ResolvedModel, ResolvedPlugin
from harness.stages import adapt, baseline, correct, evaluate, sham, split
from harness.stages.context import Context, Workshop, state_of
from harness.stages.execute import execute
from harness.stages.jobs import AdaptJob, BaselineJob, CorrectJob, EvaluateJob, ShamJob, SplitJob, Subject
from harness.stages.making import ArmMaker, StageMaker
from harness.store import Store

CLASSES = 4

# Toys are too small to share between threads, which then wait for each other on a busy machine.
torch.set_num_threads(1)


class Threshold(nn.Module):
    """Label an image 1 where its mean pixel is above one half, else 0."""

    def forward(self, images):
        mean = images.flatten(1).mean(1)
        return torch.stack([0.5 - mean, mean - 0.5], 1)


def pixel_classifier(net, *, classes, channels=3, mean=0.0, std=1.0):
    return PixelClassifier(net, mean=[mean] * channels, std=[std] * channels, num_classes=classes)


def threshold_classifier():
    return pixel_classifier(Threshold(), classes=2, channels=1)


def conv_classifier(seed=0, *, classes=5, gain=6.0):
    """A smooth convolutional net with batch-norm, whose labels change over the pixel range; eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(6 * 36, classes),
        )
        randomize_batch_norm(net)
        with torch.no_grad():
            net[4].weight.mul_(gain)
            net.eval()
            net[4].bias.sub_(net((torch.rand(512, 3, 6, 6) - 0.5) / 0.25).mean(0))
    return pixel_classifier(net, classes=classes, mean=0.5, std=0.25).eval()


def randomize_batch_norm(net):
    """Give every batch-norm layer statistics and weights that folding cannot get right by luck."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)


def random_images(count, *, seed=0, shape=(3, 6, 6)):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def toy_data(*, num_train=120, num_test=40, seed=0, noise=0.45):
    """Four patterns of 6 x 6 under so much noise that a small net labels some of its training images wrong."""
    draws = torch.Generator().manual_seed(seed)
    patterns = torch.rand(CLASSES, 1, 6, 6, generator=draws)

    def images(count):
        labels = torch.arange(count) % CLASSES
        pixels = patterns[labels] * (1 - noise) + noise * torch.randn(count, 1, 6, 6, generator=draws)
        return pixels.clamp(0, 1).mul(255).round().to(torch.uint8), labels

    return Data(*images(num_train), *images(num_test))


def no_progress(done, total):
    """Tell nobody."""


class Surroundings:
    """What stages need: a store, the installed plugins, toy data, a small network."""

    def __init__(self, root: Path, *, data: Data | None = None, seed=1, validation=24, manager=None):
        self.data = data or toy_data()
        self.store = Store(root)
        self.manager = manager or own_manager()
        self.workshop = Workshop(self.store, self.manager, torch.device("cpu"), 1e9, {"toy": self.data})
        self.subject = self.subject_with(seed=seed, validation=validation)

    def subject_with(self, *, seed, validation=24):
        shape = Input(1, 6, CLASSES, Normalization(mean=(0.5,), std=(0.25,)))
        return Subject("toy", self.model(), shape, validation, seed)

    def model(self, **options):
        architecture = self.plugin("classifier", "small-cnn", **{"width": 2, **options})
        return ResolvedModel("toy-net", architecture, None, Path(), None, False, None, "dataset")

    def plugin(self, kind, name, **options):
        plugin = self.manager.find(kind, name)
        return ResolvedPlugin(plugin, self.manager.load(plugin).options_type(**options))

    def adapter(self, name, **options):
        return ResolvedAdapter(name, self.plugin("adapter", name, **options))

    def corrector(self, name="bim", *, objective="toward-true", select="first-hit", keep="corrected", **options):
        return ResolvedCorrector(name, self.plugin("attack", name, **options), objective, select, keep)

    def arm_maker(self, *, attack_batch_size):
        """Return what makes the stages of this subject's arms; the baseline and the split are in the store."""
        maker = StageMaker(self.subject, {})
        baseline_stage = maker.stage(BaselineJob(self.subject, baseline_training(epochs=2)), {}, [])
        split_stage = maker.stage(SplitJob(self.subject), {"baseline": baseline_stage}, [])
        for stage in (baseline_stage, split_stage):
            execute(stage, self.workshop, no_progress)
        return ArmMaker(maker, baseline_stage, split_stage, attack_batch_size=attack_batch_size, attack_passes=None)

    def context(self, key="key", *, progress=no_progress, every_seconds=1e9):
        return Context(self.workshop, self.subject, self.store.partial(key, every_seconds=every_seconds), progress)


def baseline_training(**changes):
    return Baseline(**{"epochs": 4, "batch_size": 16, "lr": 0.1, **changes})


def adaptation_training(**changes):
    return Adaptation(**{"steps": 12, "batch_size": 8, "lr": 0.05, "validations": 3, **changes})


def states_equal(left, right):
    return set(left) == set(right) and all(torch.equal(left[name], right[name]) for name in left)


class Run:
    """A baseline and a split, and what the other stages make of them."""

    def __init__(self, surroundings):
        self.at = surroundings
        job = BaselineJob(surroundings.subject, baseline_training())
        self.inputs = {"baseline": baseline.run(job, {}, surroundings.context())}
        split_job = SplitJob(surroundings.subject)
        self.inputs["split"] = split.run(split_job, self.inputs, surroundings.context())

    @property
    def network(self):
        return self.at.context().network(state_of(self.inputs["baseline"])).eval()

    def correct(self, name="bim", *, batch_size=7, context=None, **how):
        job = CorrectJob(self.at.subject, self.at.corrector(name, **how), batch_size)
        return correct.run(job, self.inputs, context or self.at.context())

    def sham(self, perturbed, norm="linf"):
        return sham.run(ShamJob(self.at.subject, norm), {**self.inputs, "correct": perturbed}, self.at.context())

    def adapt(
        self, adapter="deep-coral", *, perturbed=None, source="corrected", keep="corrected", context=None, **training
    ):
        options = training.pop("options", {})
        adapter = self.at.adapter(adapter, **options)
        job = AdaptJob(self.at.subject, adapter, source, keep, adaptation_training(**training))
        return adapt.run(job, self.with_perturbed(perturbed), context or self.at.context())

    def evaluate(self, weights, *, perturbed=None, source="corrected", keep="corrected"):
        job = EvaluateJob(self.at.subject, source, keep)
        return evaluate.run(job, {**self.with_perturbed(perturbed), "weights": weights}, self.at.context())

    def with_perturbed(self, perturbed):
        return {**self.inputs, "perturbed": perturbed} if perturbed is not None else self.inputs
