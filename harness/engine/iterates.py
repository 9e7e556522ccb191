"""Of all the iterates that an attack asks about, those that count.

The first hit of each sample, or its hit of smallest norm. Where nobody has to be asked about a hit this is done without waiting for
the device: an accelerator is given what to compute, and told only at the end of the batch to answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harness.engine.norms import per_sample, per_sample_norm
from harness.engine.passes import PassCount

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from harness.contract import Norm
    from harness.criteria import LabelCriterion, Select

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
    without one. ``all_hit``: whether every sample has one that the original confirmed, where it is asked of first hits.
    ``may_wait``: whether to ask the device who has a hit, and to work on those alone: a CPU answers at once, and where the original
    is to be asked there is no way around.
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
        self.all_hit = False
        self.may_wait = originals.device.type == "cpu" or self.confirm is not None

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
            nearest = self._nearest(images, rows)
            self._take(images, self._criterion(nearest).met(logits), nearest)

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

    def _take(self, images: Tensor, met: Tensor, rows: Tensor | None, *, confirmed: bool = False) -> None:
        """Keep those of the images that are met and better, the best of each sample where ``rows`` have it more than once."""
        if len(images) == 0:
            return
        if not self.may_wait and not confirmed:
            self._take_unasked(images.detach(), met, rows)
            return
        fresh = met.nonzero().flatten()
        if len(fresh) == 0:
            return
        where = fresh if rows is None else rows[fresh]
        candidates, norms, better = self._compared(images.detach()[fresh], where)
        kept = better.nonzero().flatten()
        where, candidates, norms = where[kept], candidates[kept], norms[kept]
        if self.confirm is not None and not confirmed and len(where):
            sure = self.confirm(candidates, where)
            self.refused[where[~sure]] = True
            where, candidates, norms = where[sure], candidates[sure], norms[sure]
        if rows is not None:
            best = self._best_of_each(where, norms, torch.ones_like(where, dtype=torch.bool))
            best = best[best < len(where)]
            where, candidates, norms = where[best], candidates[best], norms[best]
        self.images[where], self.norms[where] = candidates, norms
        self.hit_after[where] = self.hit_after[where].clamp(max=self._now)
        self.hit[where] = True
        if self.select == "first-hit" and self.confirm is not None:
            self.all_hit = bool(self.hit.all())

    def _take_unasked(self, images: Tensor, met: Tensor, rows: Tensor | None) -> None:
        """Do the same without waiting for the device to say how many images (n, …) that is: work is done for them all."""
        where = torch.arange(len(self.originals), device=self.hit.device) if rows is None else rows
        candidates, norms, better = self._compared(images, where)
        best = self._best_of_each(where, norms, better & met)
        found, best = best < len(where), best.clamp(max=len(where) - 1)
        self.images = candidates[best].where(per_sample(found, candidates), self.images)
        self.norms = norms[best].where(found, self.norms)
        self.hit_after = self.hit_after.clamp(max=self._now).where(found, self.hit_after)
        self.hit = self.hit | found

    @property
    def _now(self) -> float:
        """How many passes per image of the batch were made so far."""
        return self.passes.total / len(self.originals)

    def _compared(self, images: Tensor, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (n, …) of the samples ``where`` (n,) within the bounds, their norms, and which beat what there is."""
        inside = self.threat.within_bounds(images)
        candidates = images.clamp(*self.threat.bounds).to(self.originals.dtype)
        norms = per_sample_norm(candidates - self.originals[where], self.threat.norm)
        better = ~self.hit[where] if self.select == "first-hit" else norms < self.norms[where]
        return candidates, norms, better & inside & (norms <= self.threat.largest_norm)

    def _best_of_each(self, where: Tensor, norms: Tensor, better: Tensor) -> Tensor:
        """Return for each sample (N,) the place of its first ``better`` candidate (n,), or of its nearest; n where there is none.

        ``where`` (n,): whose candidates they are.
        """
        places, none = torch.arange(len(where), device=where.device), len(where)
        order = places if self.select == "first-hit" else norms.argsort(stable=True)
        ranks = places.masked_fill(~better[order], none)
        first = places.new_full((len(self.originals),), none).scatter_reduce_(0, where[order], ranks, "amin")
        return torch.cat([order, order.new_full((1,), none)])[first]
