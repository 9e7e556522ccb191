"""Passes of larger networks, plain and as torch.compile makes them, as a worker has them; weights and images are random.

Each function returns what is timed and what tells of it. What is compiled is compiled before the clock starts, and timed apart.
"""

from __future__ import annotations

import os
import tempfile
import time

import torch
from torch.nn.functional import cross_entropy

from harness.engine.compiling import CompiledTwin
from harness.engine.folding import attack_ready
from harness.engine.networks import PixelClassifier, placed
from harness.engine.observing import at_once
from harness.engine.precision import LoopNetwork
from harness.engine.torchvision_compat import import_torchvision

CLASSES = 10
_KEPT = tempfile.TemporaryDirectory()
# An empty one, or the first pass would tell what an earlier run of this benchmark has left on the disk.
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _KEPT.name
_MADE = {}


def attack_passes(subject, *, compiled, times, **what):
    """Return so many forward and input-gradient passes of the attack-ready twin, in parts of the size that an attack's go in."""
    return _timed(_attack_pass, subject, compiled, times, what)


def training_steps(subject, *, compiled, times, **what):
    """Return so many steps of SGD on the cross-entropy of one batch."""
    return _timed(_training_step, subject, compiled, times, what)


def _timed(make, subject, compiled, times, what):
    """Return what is timed; it tells how many seconds the very first pass took, and the second."""
    key = make.__name__, compiled, *what.values()
    if key not in _MADE:
        run, taken = make(subject, compiled=compiled, **what), []
        for _ in range(2):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
        _MADE[key] = run, taken
    run, (first, second) = _MADE[key]
    return lambda: [run() for _ in range(times)], lambda _: {"first": first, "second": second}


def _attack_pass(subject, *, compiled, architecture, size, images):
    twin = attack_ready(_classifier(subject, architecture))
    pixels, labels = _batch(size, images)
    parts = [each.split(at_once(pixels)) for each in (pixels, labels)]
    passing = CompiledTwin(twin) if compiled else twin

    def run():
        for some, true in zip(*parts, strict=True):
            leaf = some.clone().requires_grad_()
            torch.autograd.grad(cross_entropy(passing(leaf), true, reduction="sum"), leaf)

    return run


def _training_step(subject, *, compiled, architecture, size, images):
    network = _classifier(subject, architecture).train()
    pixels, labels = _batch(size, images)
    optimizer = torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9)
    passing = LoopNetwork(network, compiled=compiled)

    def run():
        optimizer.zero_grad()
        cross_entropy(passing.outputs(pixels).logits, labels).backward()
        optimizer.step()

    return run


def _classifier(subject, architecture):
    """Return the subject's own network, ``None``, or one of torchvision's."""
    if architecture is None:
        return placed(subject.network(), torch.device("cpu"))
    torch.manual_seed(0)
    net = import_torchvision().models.get_model(architecture, weights=None, num_classes=CLASSES)
    return placed(PixelClassifier(net, mean=[0.5] * 3, std=[0.25] * 3, num_classes=CLASSES), torch.device("cpu")).eval()


def _batch(size, images):
    draws = torch.Generator().manual_seed(0)
    shape = (images, 3, size, size)
    return torch.rand(shape, generator=draws), torch.randint(CLASSES, (images,), generator=draws)
