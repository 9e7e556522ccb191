"""One step of Deep CORAL on a ResNet-20: as a user would write it, and as the harness's training loop does it.

``step = harness_step(root, batch_size=16, precision="float32"); step()``, and ``user_step(root, batch_size=16)`` likewise. Both
read ``root/train/CLASS/*`` (random images where there is no root), start from the same weights, ``state`` or random ones, and draw
batches of their own.
``losses_side_by_side`` gives both the same batches.
"""

from __future__ import annotations

import tempfile
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from harness.api import InputShape, NoOptions
from harness.budget import Adaptation
from harness.catalogue import IMAGENET
from harness.data import Data
from harness.engine.randomness import isolated_generators
from harness.engine.training import Trainer
from harness.hookspecs import ENTRY_POINT_GROUP
from harness.manager import Manager
from harness.models import Input
from harness.resolved import ResolvedAdapter, ResolvedModel, ResolvedPlugin
from harness.stages.adapt import loop_of
from harness.stages.context import Context, Workshop
from harness.stages.jobs import AdaptJob, Subject
from harness.stages.two_domains import TwoDomainTask
from harness.store import Store
from harness_classifiers.cifar_resnet import CifarResNet20

SIDE = 32
RANDOM_IMAGES, CLASSES = 640, 10
STEPS = 10**6
"""Of the loop that a step is taken from: more than anybody asks for, so that the last one never comes."""
# The rate of the paper's baseline: at ten times as much, what rounding differs by grows threefold with each step.
HOW = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-4}
WEIGHT = 1 / 750


def user_step(root=None, *, batch_size, state=None):
    """Return the step of a user's own loop."""
    return UserLoop(training_images(root), batch_size=batch_size, state=state).step


def harness_step(root=None, *, batch_size, precision="float32", state=None):
    """Return the harness's own step, with nothing before or after it."""
    trainer = harness_loop(training_images(root), batch_size=batch_size, precision=precision, state=state)
    numbers = iter(range(STEPS))
    return lambda: trainer._step(next(numbers))


def losses_side_by_side(root=None, *, batch_size, steps, precision="float32", state=None):
    """Return the named losses of each step, the user's and the harness's, where both are given the same batches."""
    images = training_images(root)
    trainer = harness_loop(images, batch_size=batch_size, precision=precision, state=state)
    user = UserLoop(images, batch_size=batch_size, state=state)
    task, compared = trainer.task, []
    reported = task.losses
    for step in range(steps):
        given = [images.loaded(order.batch(step)) for order in (task.source_order, task.target_order)]
        kept = {}
        task.losses = lambda number, kept=kept: kept.update(reported(number)) or kept
        trainer._step(step)
        compared.append((user.step_on(*given), {name: value.item() for name, value in kept.items()}))
    return compared


class Folder(Dataset):
    """Images and labels of ``folder/CLASS/*``, decoded with Pillow and normalized one at a time."""

    def __init__(self, folder):
        classes = sorted(path for path in folder.iterdir() if path.is_dir())
        self.files = [(path, number) for number, name in enumerate(classes) for path in sorted(name.iterdir())]
        self.classes = len(classes)
        self.mean, self.std = (torch.tensor(value).reshape(3, 1, 1) for value in (IMAGENET.mean, IMAGENET.std))

    def __len__(self):
        return len(self.files)

    def stored(self, number):
        """Return an image uint8 (3, H, W) and its label."""
        path, label = self.files[number]
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1), label

    def __getitem__(self, number):
        image, label = self.stored(number)
        return (image.contiguous().float().div(255) - self.mean) / self.std, label

    def loaded(self, rows):
        """Return a batch as a loader collates it."""
        images, labels = zip(*(self[row] for row in rows.tolist()), strict=True)
        return torch.stack(images), torch.tensor(labels)


def training_images(root):
    """Return the training images of a folder, or random ones in a temporary folder."""
    if root is not None:
        return Folder(Path(root) / "train")
    kept = tempfile.TemporaryDirectory()
    draws = np.random.default_rng(0)
    for number in range(RANDOM_IMAGES):
        folder = Path(kept.name) / f"class-{number % CLASSES}"
        folder.mkdir(exist_ok=True)
        pixels = draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    images = Folder(Path(kept.name))
    images.kept = kept  # the folder goes when the last loop that reads it does
    return images


def network(classes, state):
    """Return a ResNet-20 with the weights that both loops start from."""
    with isolated_generators(0):
        net = CifarResNet20(NoOptions()).build(InputShape(channels=3, image_size=SIDE, num_classes=classes))
    if state is not None:
        net.load_state_dict(state)
    return net


class UserLoop:
    """What a user writes who follows the tutorials: two loaders, two forward passes, torch's SGD."""

    def __init__(self, images, *, batch_size, state):
        self.model = network(images.classes, state).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), **HOW)
        self.load = partial(DataLoader, images, batch_size=batch_size, shuffle=True, num_workers=0, drop_last=True)
        self.batches = iter(())

    def step(self):
        """Train on the next batches."""
        try:
            source, target = next(self.batches)
        except StopIteration:
            self.batches = zip(self.load(), self.load(), strict=True)
            source, target = next(self.batches)
        return self.step_on(source, target)

    def step_on(self, source, target):
        """Train on a source and a target batch; returns the losses by name."""
        (images, labels), (others, _) = source, target
        source_logits, target_logits = self.model(images), self.model(others)
        classification = cross_entropy(source_logits, labels)
        alignment = WEIGHT * coral(source_logits, target_logits)
        self.optimizer.zero_grad()
        (classification + alignment).backward()
        self.optimizer.step()
        return {"cross-entropy": classification.item(), "coral": alignment.item()}


def coral(source, target):
    """Return the squared distance of two covariances over 4d² (Sun and Saenko, 2016)."""
    return (torch.cov(source.T) - torch.cov(target.T)).square().sum() / (4 * source.shape[1] ** 2)


def harness_loop(images, *, batch_size, precision, state):
    """Return the harness's loop from T to T, on the images as its store holds them."""
    pixels, labels = zip(*(images.stored(number) for number in range(len(images))), strict=True)
    data = Data(torch.stack(pixels).contiguous(), torch.tensor(labels), torch.empty(0), torch.empty(0))
    points = metadata.entry_points(group=ENTRY_POINT_GROUP)
    manager = Manager.discover([point for point in points if point.name in {"classifiers", "adaptation"}])
    workshop = Workshop(Store(Path()), manager, torch.device("cpu"), _data={"images": data})
    context = Context(workshop, subject(manager, images.classes), None, lambda _done, _total: None)
    adaptation = Adaptation(steps=STEPS, batch_size=batch_size, precision=precision, **HOW)
    job = AdaptJob(
        context.subject,
        ResolvedAdapter("coral", plugin(manager, "adapter", "deep-coral")),
        "target",
        "corrected",
        adaptation,
    )
    net = context.network(network(images.classes, state).state_dict())
    adapter = manager.load(job.adapter.adapter.plugin)(job.adapter.adapter.options)
    adapter.loop = loop = loop_of(job, adapter, net, context.train, inputs={}, context=context)
    wrong = torch.empty(0, dtype=torch.int64)
    task = TwoDomainTask(job, adapter, net, context.train, context, loop=loop, wrong=wrong)
    return Trainer(net, task, adaptation, steps=STEPS, validate_after=(), seed=1, extra_modules=task.extra_modules)


def subject(manager, classes):
    """Return whom the loop adapts: a ResNet-20, every training image seen."""
    model = ResolvedModel(
        "resnet", plugin(manager, "classifier", "cifar-resnet20"), None, Path(), None, True, None, IMAGENET
    )
    return Subject("images", model, Input(3, SIDE, classes, IMAGENET), validation=0, seed=1)


def plugin(manager, kind, name):
    """Return a plugin with its defaults."""
    found = manager.find(kind, name)
    return ResolvedPlugin(found, manager.load(found).options_type())
