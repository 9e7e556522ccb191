"""Adversarial training with projected gradient descent in L-inf, and no method (Madry et al., 2018, arXiv:1706.06083)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor


class AdversarialTrainingOptions(Options):
    """Options of the attack; the defaults are the paper's on CIFAR-10."""

    eps: FractionalFloat = Field(8 / 255, gt=0, le=1, description="Largest change of a pixel, whose range is 0 to 1.")
    step_size: FractionalFloat = Field(2 / 255, gt=0, le=1, description="Change of a pixel at one step of the attack.")
    steps: int = Field(7, ge=1, description="Steps of the attack, from a random start in the ball.")


class AdversarialTraining(Adapter[AdversarialTrainingOptions]):
    """Train on the source as attacked at each step; the target is not looked at.

    The network is attacked in eval mode, as in the authors' later library (their first code was in train mode): the attack
    changes no batch-norm statistics, and an image's perturbation does not depend on its batch.
    """

    capabilities: ClassVar[AdapterCapabilities] = AdapterCapabilities(target=False)

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (of any width)
        """Tell what the attack costs, and where it cannot go through its ball."""
        yield f"attacks every batch: {self.options.steps} forward and backward passes a step more than other arms"
        reach = self.options.steps * self.options.step_size
        if reach < self.options.eps:
            yield (
                f"{self.options.steps} steps of {self.options.step_size:.3g} come {reach:.3g} far, and eps is "
                f"{self.options.eps:.3g}: the random start decides where in the ball the attack ends"
            )

    def prepare(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the images as attacked."""
        return projected_descent(
            lambda perturbed: self.loop.network.outputs(perturbed).logits,
            images,
            labels,
            eps=self.options.eps,
            step_size=self.options.step_size,
            steps=self.options.steps,
        )

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # noqa: ARG002 (a control looks at the source alone)
        """Return the cross-entropy on the attacked source."""
        return {"cross-entropy": label_loss(source)}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:  # noqa: ARG002 (as above)
        """Return the accuracy on the attacked batch, as trained on."""
        right = source.logits.argmax(1).eq(source.labels)  # type: ignore[arg-type]  # a source has labels
        return {"attacked-accuracy": float(right.float().mean())}


def projected_descent(
    logits_of: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int,
) -> Tensor:
    """Return images (N, C, H, W) in [0, 1] within eps of those given, perturbed to raise the cross-entropy on the labels.

    Starts from uniform noise of torch's generator, and goes by signs of gradients. Only the images' gradients are computed.
    """
    import torch
    from torch.nn.functional import cross_entropy

    lowest, highest = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    perturbed = (images + torch.empty_like(images).uniform_(-eps, eps)).clamp(0, 1)
    for _ in range(steps):
        leaf = perturbed.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(cross_entropy(logits_of(leaf), labels, reduction="sum"), leaf)
        perturbed = torch.clamp(perturbed + step_size * gradient.sign(), lowest, highest)
    return perturbed.detach()
