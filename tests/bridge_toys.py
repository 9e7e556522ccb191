"""What the bridges' tests share: a smooth classifier with images near its boundaries, and how a bridge's attack is run on them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.append(str(Path(__file__).with_name("conformance")))  # where the cases are

from casing import Case
from toys import pixel_classifier, random_images

from harness.criteria import LabelCriterion, attack_criterion
from harness.engine.observing import ObservedClassifier, Observer
from harness.engine.randomness import isolated_generators

CLASSES = 5


def smooth_net(side, *, seed=0, gain=6.0, shift=0.0):
    """Return a convolutional classifier of 3 channels; ``shift`` moves all of its logits together, about zero without."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(6 * (side // 2) ** 2, CLASSES)
        )
        with torch.no_grad():
            made[3].weight.mul_(gain)
            made[3].bias.sub_(made((torch.rand(512, 3, side, side) - 0.5) / 0.25).mean(0) - shift)
    return pixel_classifier(made, classes=CLASSES, mean=0.5, std=0.25).eval().requires_grad_(False)


def toward(labels):
    return LabelCriterion(labels, targeted=True, goal=labels)


def view_of(network, observer=None):
    return ObservedClassifier(network, observer or Observer())


@dataclass(frozen=True)
class Toy:
    """A classifier, images (N, 3, side, side), their likeliest labels (N,) and the next ones."""

    network: Any
    images: torch.Tensor
    predicted: torch.Tensor
    second: torch.Tensor

    @classmethod
    def of(cls, side, count):
        network, images = smooth_net(side), random_images(count, seed=3, shape=(3, side, side))
        return cls(network, images, *network(images).topk(2, 1).indices.unbind(1))

    @property
    def toward(self):
        return toward(self.second)

    @property
    def away(self):
        return attack_criterion(self.predicted)


class Bench:
    """A bridge's attacks with the options of their conformance cases, and runs of them on a toy."""

    def __init__(self, bridge, cases, toy=None):
        self.bridge, self.cases, self.toy = bridge, cases, toy
        self.entries = {entry.name: entry for entry in bridge.BRIDGE.table.attacks}

    def made(self, name, **options):
        attack = getattr(self.bridge, self.entries[name].attribute)
        return attack(attack.options_type(**{**self.cases.get(name, Case()).options, **options}))

    def ran(self, name, criterion, *, seed=5, network=None, images=None, observer=None, **options):
        view = view_of(self.toy.network if network is None else network, observer)
        with isolated_generators(seed):
            return self.made(name, **options).run(view, self.toy.images if images is None else images, criterion)
