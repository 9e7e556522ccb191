"""The classifier an attack gets: it counts passes and sees every iterate.

Because the harness sees each query, *which* iterate counts (``first-hit``, ``final``, ``min-norm``) is a choice of the
experiment and works for every attack alike, a library's included, as long as it queries its whole batch or a view of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.engine.norms import per_sample_norm

if TYPE_CHECKING:
    from harness.contract import Norm
    from harness.criteria import LabelCriterion, Select
    from harness.engine.networks import PixelClassifier


@dataclass
class PassCount:
    """Images that went through the network, forward and backward."""

    forward: int = 0
    backward: int = 0


BOUNDS_TOLERANCE = 1e-5
EPS_TOLERANCE = 1e-5


@dataclass(frozen=True)
class ThreatModel:
    """What a perturbed image must keep to: the pixels' ``bounds``, and ``eps`` in ``norm`` where there is one."""

    norm: Norm
    bounds: tuple[float, float] = (0.0, 1.0)
    eps: float | None = None

    @property
    def largest_norm(self) -> float:
        """The largest norm of a perturbation, with what float rounding adds."""
        return torch.inf if self.eps is None else self.eps * (1 + EPS_TOLERANCE) + EPS_TOLERANCE

    def within_bounds(self, images: Tensor) -> Tensor:
        """Tell (N,) which images (N, …) lie within the bounds; those that are not finite do not."""
        low, high = self.bounds
        inside = (images >= low - BOUNDS_TOLERANCE) & (images <= high + BOUNDS_TOLERANCE)
        return inside.flatten(1).all(1)


class Iterates:
    """The iterates of a batch that count so far: the first hit, or the hit of smallest norm, of each sample.

    A query outside the threat model is no iterate: many attacks project or clip only what they return.
    """

    def __init__(self, originals: Tensor, criterion: LabelCriterion, *, select: Select, threat: ThreatModel) -> None:
        self.originals = originals
        self.criterion = criterion
        self.select = select
        self.threat = threat
        self.images = originals.clone()
        self.norms = torch.full((len(originals),), torch.inf, device=originals.device)
        self.hit = torch.zeros(len(originals), dtype=torch.bool, device=originals.device)

    def offer(self, images: Tensor, logits: Tensor, rows: Tensor | None) -> None:
        """Look at one query: ``images`` (n, …) of the samples ``rows`` (n,), None for the whole batch."""
        if self.select == "final":
            return
        self._take(images, self._criterion(rows).met(logits), rows)

    def finish(self, images: Tensor, met: Tensor) -> Tensor:
        """Take in what the attack returned, ``met`` (N,) or not, and return the images that count (N, C, H, W)."""
        if self.select == "final":
            return images
        self._take(images, met, None)
        missed = ~self.hit
        self.images[missed] = images[missed]
        return self.images

    def _criterion(self, rows: Tensor | None) -> LabelCriterion:
        return self.criterion if rows is None else self.criterion[rows]

    def _take(self, images: Tensor, met: Tensor, rows: Tensor | None) -> None:
        fresh = met.nonzero().flatten()
        if len(fresh) == 0:
            return
        where = fresh if rows is None else rows[fresh]
        candidates = images.detach()[fresh]
        inside = self.threat.within_bounds(candidates)
        candidates = candidates.clamp(*self.threat.bounds)
        norms = per_sample_norm(candidates - self.originals[where], self.threat.norm)
        better = ~self.hit[where] if self.select == "first-hit" else norms < self.norms[where]
        better &= inside & (norms <= self.threat.largest_norm)
        where, candidates, norms = where[better], candidates[better], norms[better]
        self.images[where], self.norms[where] = candidates, norms
        self.hit[where] = True


@dataclass
class Observer:
    """What is known of the batch under attack."""

    passes: PassCount = field(default_factory=PassCount)
    iterates: Iterates | None = None


class ObservedClassifier(nn.Module):
    """The attack's view of a frozen classifier, for the whole batch or for some ``rows`` of it."""

    def __init__(self, network: PixelClassifier, observer: Observer, rows: Tensor | None = None) -> None:
        super().__init__()
        self.network = network
        self.bounds = network.bounds
        self.num_classes = network.num_classes
        self.observer = observer
        self.rows = rows
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K), counted and observed."""
        logits: Tensor = self.network(images)
        passes = self.observer.passes
        passes.forward += len(images)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)  # type: ignore[no-untyped-call]  # torch's own
        iterates = self.observer.iterates
        if iterates is not None and len(images) == self._expected(iterates):
            with torch.no_grad():
                iterates.offer(images, logits.detach(), self.rows)
        return logits

    def __getitem__(self, rows: Tensor) -> ObservedClassifier:
        """Return the view for part of this view's samples: indices or a mask."""
        chosen = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        return ObservedClassifier(self.network, self.observer, chosen if self.rows is None else self.rows[chosen])

    def _expected(self, iterates: Iterates) -> int:
        return len(iterates.originals) if self.rows is None else len(self.rows)

    def _count_backward(self, gradient: Tensor) -> None:
        self.observer.passes.backward += len(gradient)
