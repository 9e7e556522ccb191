"""One query for gradients: some of its samples at a time, and no backward pass for those that the logits show to be finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.engine.passes import PassCount

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from harness.contract import Criterion


class GradientQuery:
    """Ask a network for a criterion's loss gradients (N, C, H, W) at images (N, C, H, W), and for the logits there.

    ``drops_met``: where the criterion stops early, a sample that is met needs no gradient, and may get zeros. Once most of the
    samples so far turned out to be met, the logits of the others are computed without what a backward pass needs: those few that
    are not met pass forward once more, with gradients.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], images: Tensor, *, criterion: Criterion, drops_met: bool
    ) -> None:
        self.network = network
        self.images = images.detach()
        self.criterion = criterion
        # To ask an accelerator what is met is to wait for it, which costs more than the passes that it saves.
        self.skips_met = drops_met and criterion.stop_early and images.device.type == "cpu"
        self.gradient = torch.zeros_like(self.images)
        self.passes = PassCount()

    def run(self, at_once: int) -> tuple[Tensor, Tensor]:
        """Return gradient and logits (N, K), having passed ``at_once`` images at a time."""
        logits: list[Tensor] = []
        left: list[Tensor] = []
        asked = met = 0
        for places in torch.split(torch.arange(len(self.images), device=self.images.device), at_once):
            lookahead = 2 * met > asked
            found, unmet = self._look(places) if lookahead else self._ask(places)
            logits.append(found)
            if lookahead:
                left.append(unmet)
            asked, met = asked + len(places), met + len(places) - len(unmet)
        for places in torch.split(torch.cat(left), at_once) if sum(map(len, left)) else ():
            self._ask(places)
        return self.gradient, torch.cat(logits)

    def _look(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the samples at ``places`` (n,), and the places of those that are not met."""
        with torch.no_grad():
            logits = self._forward(self.images[places])
            return logits, places[~self.criterion[places].met(logits)]

    def _ask(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Take the gradients of the samples at ``places`` (n,), unless all are met; returns what ``_look`` does."""
        if len(places) == 0:
            return self._look(places)
        criterion = self.criterion if len(places) == len(self.images) else self.criterion[places]
        leaf = self.images[places].requires_grad_()
        with torch.enable_grad():
            logits = self._forward(leaf)
            unmet = places[~criterion.met(logits.detach())] if self.skips_met else places
            if len(unmet):
                (gradient,) = torch.autograd.grad(criterion.loss(logits).sum(), leaf)
                self.gradient[places] = gradient
                self.passes.backward += len(places)
        return logits.detach(), unmet

    def _forward(self, images: Tensor) -> Tensor:
        self.passes.forward += len(images)
        return self.network(images)
