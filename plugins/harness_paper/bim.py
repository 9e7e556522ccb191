"""The basic iterative method (Kurakin, Goodfellow and Bengio, 2017, arXiv:1607.02533).

One algorithm under four objectives is four of the paper's correctors: BI, BIH, VBI and LL.
"""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

from pydantic import Field

from harness.api import Attack, Capabilities, Classifier, Criterion, FractionalFloat, Options, loss_gradient
from harness_paper.active import ActiveSet

if TYPE_CHECKING:
    from torch import Tensor


class BIMOptions(Options):
    """The options of the basic iterative method."""

    eps: FractionalFloat = Field(
        default=8 / 255, gt=0, le=1, description="Largest change of a pixel, in units of the pixel range [0, 1]."
    )
    alpha: FractionalFloat = Field(
        default=1 / 255, gt=0, le=1, description="Change of each pixel in one step, in units of the pixel range [0, 1]."
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps; by default Kurakin's min(eps + 4, 1.25 eps), eps in 1/255, to the nearest integer (halves "
        "up) and at least 1: eps 8/255 gives 10.",
    )


def kurakin_steps(eps: float) -> int:
    """Return the number of steps that Kurakin et al. take for ``eps`` in [0, 1]: min(eps + 4, 1.25 eps) in 1/255.

    The paper does not say how it rounds: here to the nearest integer, halves up, and at least 1.
    """
    levels = 255 * eps
    # 2/255 times 255 need not be 2 exactly: the margin keeps what is a half on paper from being rounded down.
    return max(1, floor(min(levels + 4, 1.25 * levels) + 0.5 + 1e-9))


class BIM(Attack[BIMOptions]):
    """Step along the sign of the gradient, then clip to the eps-ball and the bounds (Kurakin et al., 2017)."""

    capabilities = Capabilities(norm="linf", targeted=True, untargeted=True, gradients=True)

    @property
    def steps(self) -> int:
        """The number of steps that the options ask for."""
        return self.options.steps or kurakin_steps(self.options.eps)

    def run(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Return the last iterate (N, C, H, W), or the one that met the goal where the criterion stops early.

        Takes one forward and one backward pass a step; the iterate that is returned last is not queried.
        """
        low, high = classifier.bounds
        lower = (images - self.options.eps).clamp_(low, high)
        upper = (images + self.options.eps).clamp_(low, high)
        active = ActiveSet(classifier, criterion)
        perturbed = images
        for _ in range(self.steps):
            gradient, logits = loss_gradient(active.classifier, perturbed, active.criterion, drops_met=True)
            kept = active.drop_met(perturbed, logits)
            if kept is not None:
                perturbed, gradient, lower, upper = (each[kept] for each in (perturbed, gradient, lower, upper))
                if len(kept) == 0:
                    break
            # A new tensor, since whoever observes the queries may hold on to the old one.
            perturbed = perturbed.add(gradient.sign_(), alpha=-self.options.alpha).clamp_(lower, upper)
        return active.finish(perturbed)
