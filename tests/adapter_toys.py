"""Toy surroundings of an adapter: a loop, domains, corrections and batches, small enough to be worked out by hand."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import torch
from torch import nn

from harness.adapting import Outputs
from harness.testing import toy_batch as batch

# Toys are too small to share between threads, which then wait for each other on a busy machine.
torch.set_num_threads(1)


class ToyNetwork(nn.Module):
    """A body, images (N, C, H, W) to features (N, D), and a linear head; without one the features are the logits."""

    def __init__(self, body, head):
        super().__init__()
        self.body = body
        self.head = head

    def outputs(self, images):
        features = self.body(images)
        return Outputs(features, features if self.head is None else self.head(features))

    def forward(self, images):
        return self.outputs(images).logits


def toy_network(*, channels=1, side=4, features=5, classes=3, batch_norm=True, head=True, seed=0):
    """Return a small network on images (N, channels, side, side)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pixels = channels * side * side
        layers = [nn.Flatten(), nn.Linear(pixels, features), nn.BatchNorm1d(features) if batch_norm else nn.Identity()]
        return ToyNetwork(nn.Sequential(*layers, nn.ReLU()), nn.Linear(features, classes) if head else None)


class ToyDomain:
    """Images (N, C, H, W) as a domain."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def batches(self, batch_size):
        yield from self.images.split(batch_size)


class ToyCorrections:
    """Originals, corrected images and labels of the corrected samples."""

    def __init__(self, originals, corrected, labels):
        self.parts = originals, corrected, labels

    def __len__(self):
        return len(self.parts[0])

    def batches(self, batch_size):
        yield from zip(*(part.split(batch_size) for part in self.parts), strict=True)


class Evaluated:
    """A network passed through in eval mode without gradients; every module's mode is put back after each pass."""

    def __init__(self, network):
        self.network = network

    @property
    def head(self):
        return self.network.head

    def outputs(self, images):
        with _evaluating(self.network), torch.no_grad():
            return self.network.outputs(images)


class ToyLoop:
    """What ``harness.adapting.Loop`` promises. ``accuracy`` is what ``validate`` returns, called with the network."""

    def __init__(self, network, **given):
        self.network = network
        self.initial = _frozen_copy(network)
        self.accuracy = given.pop("accuracy")
        for name, value in given.items():
            setattr(self, name, value)

    @property
    def progress(self):
        return self.step / self.steps

    def evaluation(self):
        return Evaluated(self.network)

    def validate(self):
        return self.accuracy(self.network)


def toy_loop(
    network=None,
    *,
    steps=10,
    step=0,
    steps_per_epoch=5,
    batch_size=8,
    shrinkage=0.0,
    source=None,
    target=None,
    corrections=None,
    kept=None,
    accuracy=lambda _network: 0.5,
):
    """Return a loop around a network; source, target and kept are images (N, C, H, W), corrections ``ToyCorrections``."""
    domains = {
        "source": ToyDomain(pictures(24) if source is None else source),
        "target": ToyDomain(pictures(24, seed=1) if target is None else target),
        "kept": None if kept is None else ToyDomain(kept),
    }
    return ToyLoop(
        network or toy_network(),
        steps=steps,
        step=step,
        steps_per_epoch=steps_per_epoch,
        batch_size=batch_size,
        shrinkage=shrinkage,
        has_batch_norm=any(isinstance(module, nn.BatchNorm1d) for module in (network or toy_network()).modules()),
        corrections=corrections,
        accuracy=accuracy,
        **domains,
    )


def passed(network, images, **given):
    """Return the batch of images (N, C, H, W) after a pass through a network in the mode it is in."""
    made = network.outputs(images)
    return batch(made.logits, made.features, images=images, **given)


def pictures(count, *, channels=1, side=4, seed=0):
    """Return images (N, channels, side, side) with pixels drawn from [0, 1)."""
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def draw(*shape, seed=0):
    """Return standard normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _frozen_copy(network):
    return copy.deepcopy(network).eval().requires_grad_(requires_grad=False)


@contextmanager
def _evaluating(network):
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
