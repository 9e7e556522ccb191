"""Keep FMN's L0 attack from failing when no sample of the batch is left an entry to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier, Criterion


class WithSentinel:
    """A classifier of one more image, the last, whose label never changes the way that is asked.

    The library looks up each sample's threshold among the k largest changes, k the largest number of entries that it allows
    a sample of the batch. It allows fewer after every success: when that number is zero for all, there is nothing to look
    up. A sample that never succeeds is allowed more and more, and changes nothing for the others.
    """

    label = 0

    def __init__(self, classifier: Classifier, criterion: Criterion) -> None:
        self.classifier = classifier
        self.predicted = self.label + 1 if criterion.targeted else self.label

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (N + 1, K) of ``images`` (N + 1, C, H, W)."""
        import torch

        logits = self.classifier(images[:-1])
        last = torch.zeros_like(logits[:1])
        last[0, self.predicted] = 1
        return torch.cat([logits, last])

    def joined(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images and labels (N + 1,) to attack."""
        import torch

        return torch.cat([images, images[-1:]]), torch.cat([labels, labels.new_tensor([self.label])])
