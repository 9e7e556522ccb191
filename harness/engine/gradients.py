"""Input gradients without parameter gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.contract import Classifier, Criterion


def loss_gradient(classifier: Classifier, images: Tensor, criterion: Criterion) -> tuple[Tensor, Tensor]:
    """Return the gradient (N, C, H, W) of ``criterion.loss`` at ``images``, and the logits (N, K) there.

    Where the criterion stops early, the gradient of a sample that is met may be zero instead: no pass is spent on it.
    """
    import torch

    from harness.engine.observing import ObservedClassifier

    if isinstance(classifier, ObservedClassifier):
        return classifier.loss_gradient(images, criterion)
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = classifier(leaf)
        (gradient,) = torch.autograd.grad(criterion.loss(logits).sum(), leaf)
    return gradient, logits.detach()


def input_gradient(classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
    """Return the gradient (N, C, H, W) of ``criterion.loss`` at ``images``; see ``loss_gradient``."""
    return loss_gradient(classifier, images, criterion)[0]
