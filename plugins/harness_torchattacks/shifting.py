"""Shift logits to be positive, for losses that take the largest of "logit or zero" for the largest logit."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier


class Shifted(nn.Module):
    """A classifier whose smallest logit is zero: the same labels, probabilities, margins and gradients of them."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = cast("nn.Module", classifier)
        # The library puts a model that says it is in train mode back into it, children and all.
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K), none negative."""
        logits: Tensor = self.classifier(images)
        return logits - logits.detach().amin(1, keepdim=True)
