"""APGD on the cross-entropy of logits that are divided: what falls to it alone was held by the scale of the logits.

The cross-entropy's gradients vanish where one logit is far above the others, and dividing the logits brings them back; it
changes no label. The losses and steps of AutoAttack's other attacks are quotients or comparisons of logits, on which the
scale has no influence but rounding (Croce and Hein, 2020, arXiv:2003.01690, section 4).

Every run of APGD from other starts breaks a few images more where gradients are of little use, whatever the scale. So what falls
on divided logits says something of the scale only beside a run on undivided ones from the same starts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch

from harness_autoattack.views import View

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier

Temperature = float | Literal["margin"]

UNDIVIDED = 1.0
"""The temperature at which the logits are what they are."""

SMALLEST_MARGIN = 1e-6
"""Below this fraction of a sample's largest logit its margin is rounding, and no temperature."""


class Rescaled(View):
    """The classifier with each sample's logits divided by its temperature (n,). Queries must be of the whole batch."""

    def __init__(self, classifier: Classifier, images: Tensor, temperatures: Tensor) -> None:
        super().__init__(classifier, images)
        self.temperatures = temperatures[:, None]

    def __call__(self, unit: Tensor) -> Tensor:
        """Return the divided logits (n, K), float32, of images (n, C, H, W) in [0, 1]."""
        return super().__call__(unit) / self.temperatures


def temperatures_of(logits: Tensor, labels: Tensor, temperature: Temperature) -> Tensor:
    """Return what each sample's logits (n, K) are divided by (n,): one number for all, or by ``margin`` the sample's own.

    Its margin is by how much the label's (n,) logit is above the largest other one; divided by it, it is 1 for every sample.
    """
    if temperature != "margin":
        return torch.full_like(logits[:, 0], temperature)
    label = labels[:, None]
    margins = (logits.gather(1, label) - logits.scatter(1, label, -torch.inf).amax(1, keepdim=True)).flatten()
    smallest = (SMALLEST_MARGIN * logits.abs().amax(1)).clamp_min(torch.finfo(logits.dtype).tiny)
    return torch.maximum(margins, smallest)


def attack_rescaled(
    attack: Any, classifier: Classifier, images: Tensor, labels: Tensor, temperature: Temperature
) -> tuple[Tensor, Tensor]:
    """Run the library's APGD, with its steps, on divided logits; of the same images it starts at the same points at any.

    Takes images (n, C, H, W) in the classifier's bounds with the labels (n,) that it gives them. Returns which of them fall (n,),
    and the images in [0, 1], those that do not fall unperturbed.
    """
    view = View(classifier, images)
    unit = view.to_unit(images)
    with torch.no_grad():
        temperatures = temperatures_of(view(unit), labels, temperature)
    attack.loss = "ce"
    attack.init_hyperparam(unit)
    attack.model = Rescaled(classifier, images, temperatures)
    perturbed, fell = unit.clone(), torch.zeros_like(labels, dtype=torch.bool)
    # The library's own loop starts anew with what is left alone: which points it draws would depend on what the temperature had
    # broken, and whose temperatures to take it does not say. So the starts are made here, each with all images.
    for restart in range(attack.n_restarts):
        torch.manual_seed(attack.seed + restart)
        holds, found = _started(attack, unit, labels)
        new = ~holds & ~fell
        perturbed[new] = found[new]
        fell |= new
        if fell.all():
            break
    return fell, perturbed


def _started(attack: Any, unit: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Start once; return which labels hold (n,), and images (n, C, H, W)."""
    if attack.use_largereps:
        steps = attack.n_iter_orig
        first = math.ceil(0.3 * steps)
        radii = [3.0 * attack.eps_orig, 2.0 * attack.eps_orig, 1.0 * attack.eps_orig]
        _, holds, _, found = attack.decr_eps_pgd(unit, labels, radii, [first, first, steps - 2 * first])
    else:
        _, holds, _, found = attack.attack_single_run(unit, labels)
    return holds.bool(), found
