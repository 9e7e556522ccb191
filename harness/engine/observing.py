"""The classifier an attack gets: it counts passes, sees every iterate, and ends the attack when it is done or has spent its passes.

Because the harness sees each query, *which* iterate counts (``first-hit``, ``final``, ``min-norm``) is a choice of the
experiment and works for every attack alike, a library's included. A query as large as its batch, or as its view, is taken row
by row; any other query (some samples in the library's own order, a population of candidates) is known by the nearest original:
an image that is closest to a sample, within its threat model and labelled as wanted, is a result for that sample whoever it was
made for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.engine.gradient_queries import GradientQuery
from harness.engine.passes import PassCount
from harness.engine.precision import lowered
from harness.engine.prediction import CPU_BATCH_SIZE

if TYPE_CHECKING:
    from harness.budget import Precision
    from harness.contract import Criterion
    from harness.engine.compiling import CompiledParts
    from harness.engine.iterates import Iterates
    from harness.engine.quantizing import Attackable


class AttackEndedError(BaseException):
    """Ends an attack from within its query. No ``Exception``, since libraries catch those."""


class PassesSpentError(AttackEndedError):
    """Ends an attack that has spent its passes."""


class AllHitError(AttackEndedError):
    """Ends an attack whose samples all have their first hit: nothing that it could still find would count."""


SMALL_SIZE = 32
"""The height and width up to which ``CPU_BATCH_SIZE`` images at once are best on a CPU; of larger images, as many pixels."""
FEWEST_AT_ONCE = 8
"""Images that go through the network at once on a CPU, however large they are."""


@dataclass
class Observer:
    """What is known of the batch under attack.

    ``limit`` is how many images may go through the network, both ways. Without one an attack ends when it returns, or when all of
    its first hits are confirmed.
    """

    passes: PassCount = field(default_factory=PassCount)
    iterates: Iterates | None = None
    limit: int | None = None

    def spend(self) -> None:
        """Raise ``PassesSpentError`` where no pass is left."""
        if self.limit is not None and self.passes.total >= self.limit:
            raise PassesSpentError

    def look(self, images: Tensor, logits: Tensor, rows: Tensor | None) -> None:
        """Take in a query. Raises ``AllHitError`` where every sample has a first hit that the original confirmed."""
        iterates = self.iterates
        if iterates is None:
            return
        iterates.offer(images, logits, rows)
        if iterates.select == "first-hit" and iterates.confirm is not None and iterates.all_hit:
            raise AllHitError


class ObservedClassifier(nn.Module):
    """The attack's view of a frozen classifier, for the whole batch or for some ``rows`` of it.

    On a CPU a query goes through the network a few images at a time. ``precision``: what the network computes in; the
    logits are float32. ``compiled``: what some of its parts go through instead.
    """

    def __init__(
        self,
        network: Attackable,
        observer: Observer,
        rows: Tensor | None = None,
        *,
        precision: Precision = "float32",
        compiled: CompiledParts | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.compiled = compiled
        self.bounds = network.bounds
        self.num_classes = network.num_classes
        self.observer = observer
        self.rows = rows
        self.precision = precision
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K), counted and observed. Raises ``AttackEndedError`` where the attack is at its end."""
        self.observer.spend()
        given = _LaidOutGradient.apply(images) if images.requires_grad else images  # type: ignore[no-untyped-call]
        parts = [self._logits(part) for part in torch.split(given, at_once(images))]
        logits = torch.cat(parts) if len(parts) > 1 else parts[0]
        self.observer.passes.forward += len(images)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)  # type: ignore[no-untyped-call]  # torch's own
        with torch.no_grad():
            self.observer.look(images, logits.detach(), self.rows)
        return logits

    def loss_gradient(self, images: Tensor, criterion: Criterion, *, drops_met: bool = False) -> tuple[Tensor, Tensor]:
        """Return the gradient (N, C, H, W) of ``criterion.loss`` at ``images`` and the logits (N, K), counted and observed.

        See ``harness.engine.gradients.loss_gradient``. Raises ``AttackEndedError`` where the attack is at its end.
        """
        self.observer.spend()
        query = GradientQuery(self._logits, images, criterion=criterion, drops_met=drops_met)
        gradient, logits = query.run(at_once(images))
        passes = self.observer.passes
        passes.forward += query.passes.forward
        try:
            with torch.no_grad():
                self.observer.look(images.detach(), logits, self.rows)
        finally:
            # Counted last: what a hit is told by are the forward passes alone.
            passes.backward += query.passes.backward
        return gradient, logits

    def __getitem__(self, rows: Tensor) -> ObservedClassifier:
        """Return the view for part of this view's samples: indices or a mask."""
        chosen = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        own = chosen if self.rows is None else self.rows[chosen]
        return ObservedClassifier(self.network, self.observer, own, precision=self.precision, compiled=self.compiled)

    def _logits(self, images: Tensor) -> Tensor:
        parts = self.compiled
        passing = parts.network if parts is not None and parts.size == len(images) else self.network
        with lowered(self.precision, images.device):
            logits: Tensor = passing(images)
        return logits.float() if self.precision != "float32" else logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.observer.passes.backward += len(gradient)


class _LaidOutGradient(torch.autograd.Function):
    """Nothing, but its gradient is laid out as usual: libraries take a ``view`` of it, which channels-last ones refuse."""

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor) -> Tensor:
        return images.view_as(images)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep nothing: with this method torch.func, too, may differentiate."""

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous()

    @staticmethod
    def jvp(_ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.view_as(tangent)


def at_once(images: Tensor) -> int:
    """Return how many images (N, C, H, W) go through the network at once: all, on a CPU as few as its caches hold."""
    if images.device.type != "cpu":
        return max(len(images), 1)
    small = CPU_BATCH_SIZE * SMALL_SIZE**2 // max(prod(images.shape[2:]), 1)
    return min(max(small, FEWEST_AT_ONCE), CPU_BATCH_SIZE)
