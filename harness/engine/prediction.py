"""What a classifier says of a set of images: predictions, accuracy, mean loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from harness.engine.images import moved
from harness.engine.networks import evaluating

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier

CPU_BATCH_SIZE = 64
"""Few images a pass on a CPU, so that a layer's activations stay in its caches."""
GPU_BATCH_SIZE = 512


@dataclass(frozen=True)
class Predictions:
    """Predicted labels (N,) int64 and cross-entropy (N,) float32 of a set, in its order, on the CPU."""

    labels: Tensor
    predicted: Tensor
    losses: Tensor

    @property
    def correct(self) -> Tensor:
        """Which samples are labelled true, bool (N,)."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """The share of correct labels in [0, 1]; 0 of an empty set."""
        return int(self.correct.sum()) / max(len(self.labels), 1)

    @property
    def mean_loss(self) -> float:
        """The mean cross-entropy, summed in float64; 0 of an empty set."""
        return self.loss_of(torch.ones_like(self.losses, dtype=torch.bool)) / max(len(self.losses), 1)

    def loss_of(self, which: Tensor) -> float:
        """Return the cross-entropy of some of the samples, bool (N,), summed in float64."""
        return float(self.losses[which].double().sum())


def predict(network: PixelClassifier, images: ImageSet, *, batch_size: int | None = None) -> Predictions:
    """Classify a set in eval mode and float32."""
    predicted, losses = [], []
    with evaluating(network), torch.inference_mode():
        for pixels, labels in images.batches(batch_size or batch_size_on(network.device)):
            logits = network(pixels)
            predicted.append(logits.argmax(1))
            losses.append(cross_entropy(logits, labels, reduction="none"))
    return _gathered(images.labels, predicted, losses)


def classified(network: PixelClassifier, images: Tensor, labels: Tensor) -> Predictions:
    """Classify images (N, C, H, W) in [0, 1] with true labels (N,) in eval mode and float32."""
    predicted, losses = [], []
    for logits, true in _passes(network, images, labels, batch_size=None):
        predicted.append(logits.argmax(1))
        losses.append(cross_entropy(logits, true, reduction="none"))
    return _gathered(labels.cpu(), predicted, losses)


def labelled_true(network: PixelClassifier, images: Tensor, labels: Tensor, *, batch_size: int | None = None) -> Tensor:
    """Tell (N,) which images (N, C, H, W) in [0, 1] the classifier labels true, in eval mode and float32, on the CPU."""
    passes = _passes(network, images, labels, batch_size=batch_size)
    verdicts = [logits.argmax(1) == true for logits, true in passes]
    return torch.cat(verdicts).cpu() if verdicts else torch.empty(0, dtype=torch.bool)


def _gathered(labels: Tensor, predicted: list[Tensor], losses: list[Tensor]) -> Predictions:
    """Return what was found batch by batch: the device is waited for once, at the end."""
    if not predicted:
        return Predictions(labels, torch.empty(0, dtype=torch.int64), torch.empty(0))
    return Predictions(labels, torch.cat(predicted).cpu(), torch.cat(losses).cpu())


def _passes(
    network: PixelClassifier, images: Tensor, labels: Tensor, *, batch_size: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits and labels, on the device, batch by batch; nothing for no images, which many networks cannot reshape."""
    size = batch_size or batch_size_on(network.device)
    with evaluating(network), torch.inference_mode():
        for some, true in zip(torch.split(images, size), torch.split(labels, size), strict=True):
            if len(some):
                yield network(moved(some, network.device).to(torch.float32)), moved(true, network.device)


def batch_size_on(device: torch.device) -> int:
    """Return how many images are classified, or looked at, at once."""
    return CPU_BATCH_SIZE if device.type == "cpu" else GPU_BATCH_SIZE
