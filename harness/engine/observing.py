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
from harness.engine.norms import per_sample_norm
from harness.engine.passes import PassCount
from harness.engine.precision import lowered
from harness.engine.prediction import CPU_BATCH_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.budget import Precision
    from harness.contract import Criterion, Norm
    from harness.criteria import LabelCriterion, Select
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

    A query outside the threat model is no iterate: many attacks project or clip only what they return. ``confirm`` asks the
    original classifier of first hits, images (n, …) of the samples (n,): what the twin alone labels as wanted is none. With
    ``confirms_all`` it is asked of every better hit. ``refused`` (N,): of which samples it said no.
    ``hit_after`` (N,): how many passes per image of the batch, by the count ``passes``, each sample's first hit took; infinite
    without one.
    """

    def __init__(
        self,
        originals: Tensor,
        criterion: LabelCriterion,
        *,
        select: Select,
        threat: ThreatModel,
        confirm: Callable[[Tensor, Tensor], Tensor] | None = None,
        confirms_all: bool = False,
        passes: PassCount | None = None,
    ) -> None:
        self.passes = passes or PassCount()
        self.originals = originals
        self.criterion = criterion
        self.select = select
        self.threat = threat
        self.confirm = confirm if confirms_all or select == "first-hit" else None
        self.images = originals.clone()
        self.norms = torch.full((len(originals),), torch.inf, device=originals.device)
        self.hit = torch.zeros(len(originals), dtype=torch.bool, device=originals.device)
        self.refused = torch.zeros_like(self.hit)
        self.hit_after = torch.full((len(originals),), torch.inf, device=originals.device)

    @property
    def settled(self) -> Tensor:
        """The samples (N,) that are done: the original confirmed their first hit."""
        done = self.select == "first-hit" and self.confirm is not None
        return self.hit if done else torch.zeros_like(self.hit)

    def offer(self, images: Tensor, logits: Tensor, rows: Tensor | None) -> None:
        """Look at one query (n, …) of the samples ``rows`` (m,), None for the whole batch; n ≠ m: by nearest originals."""
        if self.select == "final" or images.shape[1:] != self.originals.shape[1:]:
            return
        asked = len(self.originals) if rows is None else len(rows)
        if len(images) == asked:
            self._take(images, self._criterion(rows).met(logits), rows)
        elif asked and len(images):
            self._take_nearest(images, logits, self._nearest(images, rows))

    def _take_nearest(self, images: Tensor, logits: Tensor, nearest: Tensor) -> None:
        self._take(images, self._criterion(nearest).met(logits), nearest, repeated=True)

    def finish(self, images: Tensor, met: Tensor) -> Tensor:
        """Take in what the attack returned, ``met`` (N,) or not, and return the images that count (N, C, H, W)."""
        if self.select == "final":
            return images
        self._take(images, met, None, confirmed=True)
        missed = ~self.hit
        self.images[missed] = images[missed]
        return self.images

    def told(self, met: Tensor) -> Tensor:
        """Return after how many passes per image each sample (N,) was met first; now, where no iterate told."""
        now = torch.full_like(self.hit_after, self.passes.total / max(len(met), 1))
        return torch.where(met, self.hit_after.minimum(now), torch.inf).cpu()

    def _criterion(self, rows: Tensor | None) -> LabelCriterion:
        return self.criterion if rows is None else self.criterion[rows]

    def _nearest(self, images: Tensor, rows: Tensor | None) -> Tensor:
        """Return for each image (n, …) the sample (n,), among ``rows``, whose original is nearest in L2."""
        originals = (self.originals if rows is None else self.originals[rows]).flatten(1)
        # |x - o|² without |x|², which is the same for every original.
        nearest = (originals.square().sum(1) - 2 * images.detach().flatten(1) @ originals.T).argmin(1)
        return nearest if rows is None else rows[nearest]

    def _take(
        self, images: Tensor, met: Tensor, rows: Tensor | None, *, repeated: bool = False, confirmed: bool = False
    ) -> None:
        """Keep those of the images that are met and better; where rows are ``repeated``, the best of each sample."""
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
        if self.confirm is not None and not confirmed and len(where):
            sure = self.confirm(candidates, where)
            self.refused[where[~sure]] = True
            where, candidates, norms = where[sure], candidates[sure], norms[sure]
        if repeated:
            best = self._best_of_each(where, norms)
            where, candidates, norms = where[best], candidates[best], norms[best]
        self.images[where], self.norms[where] = candidates, norms
        now = self.passes.total / len(self.originals)
        self.hit_after[where] = self.hit_after[where].clamp(max=now)
        self.hit[where] = True

    def _best_of_each(self, where: Tensor, norms: Tensor) -> Tensor:
        """Return the places (m,) of each sample's first candidate, or of its nearest, among the samples ``where`` (n,)."""
        places = torch.arange(len(where), device=where.device)
        order = places if self.select == "first-hit" else norms.argsort(stable=True)
        first = places.new_full((len(self.originals),), len(where))
        first.scatter_reduce_(0, where[order], places, "amin")
        return order[first[first < len(where)]]


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
        if iterates.select == "first-hit" and iterates.confirm is not None and bool(iterates.hit.all()):
            raise AllHitError


class ObservedClassifier(nn.Module):
    """The attack's view of a frozen classifier, for the whole batch or for some ``rows`` of it.

    On a CPU a query goes through the network a few images at a time. ``precision``: what the network computes in; the
    logits are float32.
    """

    def __init__(
        self,
        network: Attackable,
        observer: Observer,
        rows: Tensor | None = None,
        *,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.network = network
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
        return ObservedClassifier(self.network, self.observer, own, precision=self.precision)

    def _logits(self, images: Tensor) -> Tensor:
        with lowered(self.precision, images.device):
            logits: Tensor = self.network(images)
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
