"""A small real classifier: a convolutional net trained in a second on the digits that scikit-learn carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.engine.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.engine.examples import TrainingExamples
    from harness.engine.networks import PixelClassifier

SEED = 0
TRAINED = 500
EPOCHS = 15
BATCH_SIZE = 50
LEARNING_RATE = 3e-3
WIDTH = 8
LARGEST_VALUE = 16
CLASSES = 10


@dataclass(frozen=True)
class DigitsCase:
    """A classifier trained on 500 of the 1,797 digits, and all of these (Alpaydin and Kaynak, 1998, UCI optdigits).

    ``stored``: uint8 (1797, 1, 8, 8), the training images first; ``labels``: int64 (1797,); ``right``: bool (1797,), which of them
    the classifier labels right.
    """

    classifier: PixelClassifier
    stored: Tensor
    labels: Tensor
    right: Tensor

    @property
    def held_out_accuracy(self) -> float:
        """The share of right labels among the images it was not trained on."""
        return float(self.right[TRAINED:].float().mean())

    @property
    def wrong(self) -> tuple[Tensor, Tensor]:
        """The images (N, 1, 8, 8) in [0, 1] that it labels wrong, and their true labels (N,)."""
        return self.stored[~self.right].float() / 255, self.labels[~self.right]

    def examples(self) -> TrainingExamples:
        """Return the training images that it labels right, for attacks that start from one."""
        import torch

        from harness.engine.examples import TrainingExamples
        from harness.engine.images import ImageSet

        rows = self.right[:TRAINED].nonzero().flatten()
        return TrainingExamples(ImageSet(self.stored, self.labels, rows, self.stored.shape[-1], torch.device("cpu")))


def train_digits() -> DigitsCase:
    """Train the classifier: always the same one on one machine, on one thread, without touching the global generators."""
    import torch

    from harness.engine.networks import PixelClassifier, frozen_copy
    from harness.engine.prediction import labelled_true
    from harness.engine.randomness import isolated_generators

    stored, labels = _load()
    with isolated_generators(SEED), one_thread(), torch.enable_grad():
        classifier = PixelClassifier(_network(), mean=[0.3], std=[0.35], num_classes=CLASSES)
        _train(classifier, stored[:TRAINED].float() / 255, labels[:TRAINED])
        classifier = frozen_copy(classifier)
        right = labelled_true(classifier, stored.float() / 255, labels)
    return DigitsCase(classifier, stored, labels, right)


def _load() -> tuple[Tensor, Tensor]:
    """Return the digits in a fixed random order: theirs goes by writer."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / LARGEST_VALUE)).astype(np.uint8)[:, None]
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(SEED))
    return torch.from_numpy(pixels)[order], torch.from_numpy(digits.target).to(torch.int64)[order]


def _network() -> nn.Module:
    from torch import nn

    def convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)

    return nn.Sequential(
        *convolution(1, WIDTH), *convolution(WIDTH, 2 * WIDTH), nn.Flatten(), nn.Linear(8 * WIDTH, CLASSES)
    )


def _train(classifier: PixelClassifier, images: Tensor, labels: Tensor) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    classifier.train()
    optimizer = torch.optim.Adam(classifier.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(images)), BATCH_SIZE):
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(classifier(images[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
