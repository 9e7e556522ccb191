"""What a contest's sides work on: a trained ResNet-20, images that it gets wrong, and images that it gets right.

``HARNESS_BENCH_WEIGHTS`` names a checkpoint of a CIFAR ResNet-20, ``HARNESS_BENCH_IMAGES`` a folder with ``train/CLASS/*``. Where
one of them is missing, the net is trained on the digits that scikit-learn carries, and asked about noisy copies of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate

from harness.api import InputShape, NoOptions
from harness.catalogue import IMAGENET
from harness.engine.networks import PixelClassifier
from harness.engine.prediction import classified
from harness.weights import load_into, read_state_dict
from harness_classifiers.cifar_resnet import CifarResNet20

SIDE, CLASSES = 32, 10
AT_ONCE = 256
TRAINED_AT_ONCE = 32
NOISE = 0.3


@dataclass(frozen=True)
class Subject:
    """The net's weights; images (N, 3, 32, 32) in [0, 1] with true labels (N,), wrong and right; ``data``: what all that is."""

    data: str
    state: dict[str, torch.Tensor]
    wrong_images: torch.Tensor
    wrong_labels: torch.Tensor
    right_images: torch.Tensor
    right_labels: torch.Tensor

    def network(self):
        """Return the classifier as its author would have it: unfolded, with gradients for its parameters, in eval mode."""
        network = blank()
        network.net.load_state_dict(self.state)
        return network.eval()

    def wrong(self, images):
        """Return so many images that are labelled wrong, and their true labels."""
        return self.wrong_images[:images], self.wrong_labels[:images]

    def right(self, images):
        """Return so many images that are labelled right, and their labels."""
        return self.right_images[:images], self.right_labels[:images]

    def save(self, path):
        """Write a file that ``load`` reads."""
        torch.save(vars(self), path)

    @classmethod
    def load(cls, path):
        """Read what was saved."""
        return cls(**torch.load(path))


def images_root():
    """Return the folder of real images, None where the digits stand in for it."""
    return os.environ.get("HARNESS_BENCH_IMAGES") if os.environ.get("HARNESS_BENCH_WEIGHTS") else None


def make(*, wrong, right, steps):
    """Return the subject with so many images of either kind; ``steps``: of training, where no weights are given."""
    root = images_root()
    if root is None:
        network, batches = trained_on_digits(steps)
        data = "a ResNet-20 trained on digits, asked about noisy ones"
    else:
        weights = Path(os.environ["HARNESS_BENCH_WEIGHTS"])
        network, batches = blank(), folder_images(Path(root) / "train")
        load_into(network.net, read_state_dict(weights), path=weights)
        data = f"real images, ResNet-20 weights {weights.name}"
    return sorted_out(network.eval(), batches, data, wrong=wrong, right=right)


def told(perturbed, images, met):
    """Return which samples are as was wanted and the L2 norms of all."""
    return {"met": met.tolist(), "norms": (perturbed - images).flatten(1).norm(dim=1).tolist()}


def blank():
    """Return the untrained classifier."""
    net = CifarResNet20(NoOptions()).build(InputShape(channels=3, image_size=SIDE, num_classes=CLASSES))
    return PixelClassifier(net, mean=IMAGENET.mean, std=IMAGENET.std, num_classes=CLASSES)


def sorted_out(network, batches, data, *, wrong, right):
    """Ask the classifier about batches until there are images enough. Raises ``ValueError`` where they come to an end before."""
    kept = {False: ([], []), True: ([], [])}
    wanted = {False: wrong, True: right}
    for images, labels in batches:
        correct = classified(network, images, labels).correct
        for verdict, (some, true) in kept.items():
            some.append(images[correct == verdict])
            true.append(labels[correct == verdict])
        if all(sum(map(len, true)) >= wanted[verdict] for verdict, (_, true) in kept.items()):
            break
    else:
        found = sum(map(len, kept[False][1]))
        raise ValueError(f"{data}: {found} images are labelled wrong, {wrong} are needed: give a folder of more images")
    tensors = [torch.cat(part)[: wanted[verdict]].clone() for verdict in kept for part in kept[verdict]]
    return Subject(data, dict(network.net.state_dict()), *tensors)


def folder_images(folder):
    """Yield images and labels of ``folder/CLASS/*`` in batches, the classes in turn."""
    classes = [sorted(path.iterdir()) for path in sorted(folder.iterdir()) if path.is_dir()]
    turns = ((path, label) for turn in zip(*classes, strict=False) for label, path in enumerate(turn))
    while some := list(islice(turns, AT_ONCE)):
        pixels = np.stack([decoded(path) for path, _ in some])
        labels = torch.tensor([label for _, label in some])
        yield torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255, labels


def decoded(path):
    """Return an image's pixels (H, W, 3)."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def trained_on_digits(steps):
    """Return a classifier trained on the digits at 32x32 in three channels, and endless batches of them with noise."""
    torch.manual_seed(0)
    digits = load_digits()
    small = torch.from_numpy(digits.images).float()[:, None] / 16
    images = interpolate(small, size=(SIDE, SIDE), mode="bilinear").expand(-1, 3, -1, -1).contiguous()
    labels = torch.from_numpy(digits.target).long()
    network = blank()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(images), (TRAINED_AT_ONCE,))
        optimizer.zero_grad()
        cross_entropy(network(images[rows]), labels[rows]).backward()
        optimizer.step()
    return network, noisy(images, labels)


def noisy(images, labels):
    """Yield batches of images with noise, without end."""
    while True:
        rows = torch.randint(len(images), (AT_ONCE,))
        yield (images[rows] + NOISE * torch.randn(AT_ONCE, *images.shape[1:])).clamp(0, 1), labels[rows]
