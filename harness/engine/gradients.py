"""Input gradients without parameter gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.contract import Classifier, Criterion


def loss_gradient(
    classifier: Classifier, images: Tensor, criterion: Criterion, *, drops_met: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the gradient (N, C, H, W) of ``criterion.loss`` at ``images``, and the logits (N, K) there.

    ``drops_met``: where the criterion stops early, the attack goes on without the samples that these logits show to be met, and has
    no use for their gradients: they may be zero, and no pass is spent on them.
    """
    import torch

    from harness.engine.observing import ObservedClassifier

    if isinstance(classifier, ObservedClassifier):
        return classifier.loss_gradient(images, criterion, drops_met=drops_met)
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = classifier(leaf)
        (gradient,) = torch.autograd.grad(criterion.loss(logits).sum(), leaf)
    return gradient, logits.detach()


def input_gradient(classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
    """Return the gradient (N, C, H, W) of ``criterion.loss`` at ``images``; see ``loss_gradient``."""
    return loss_gradient(classifier, images, criterion)[0]
