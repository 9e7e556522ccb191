"""Decoupled direction and norm (Rony et al., 2019, arXiv:1811.09600), with the schedule and defaults of Foolbox.

The direction of the perturbation follows the gradient; its L2 norm shrinks after an iterate that reached the objective
and grows after one that did not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, prod
from typing import TYPE_CHECKING

from pydantic import Field

from harness.api import (
    Attack,
    Capabilities,
    Classifier,
    Criterion,
    FractionalFloat,
    Options,
    loss_gradient,
    per_sample,
    per_sample_norm,
)
from harness_paper.active import ActiveSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from harness.api import SampleStreams

FIRST_STEP, LAST_STEP = 1.0, 0.01
MOST_DRAWN = 4096
"""Random numbers a sample for directions."""


class DDNOptions(Options):
    """The options of DDN; the defaults are Foolbox's."""

    steps: int = Field(default=100, ge=1, description="Steps, each a forward and, but the last, a backward pass.")
    init_epsilon: FractionalFloat = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="L2 norm of the first perturbation (pixels in [0, 1])."
    )
    gamma: FractionalFloat = Field(
        default=0.05, gt=0, lt=1, description="Share by which the norm shrinks or grows after each step."
    )


def step_length(step: int, steps: int) -> float:
    """Return the length of ``step`` (0 to steps - 1): a half cosine from 1 down towards 0.01."""
    return LAST_STEP + (FIRST_STEP - LAST_STEP) * (1 + cos(pi * step / steps)) / 2


class DDN(Attack[DDNOptions]):
    """Minimize the L2 norm by deciding on the direction and the norm of each step apart (Rony et al., 2019).

    Where the gradient vanishes the direction is drawn at random.
    """

    capabilities = Capabilities(
        norm="l2", targeted=True, untargeted=True, gradients=True, budget="minimal", stochastic=True
    )

    def run(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Return the iterate of smallest norm that reached the objective, else the unperturbed image (N, C, H, W).

        Where the criterion stops early, a sample's first iterate that meets the goal is returned at once.
        """
        options, bounds = self.options, classifier.bounds
        active = ActiveSet(classifier, criterion)
        search = _Search.start(images, bounds, options.init_epsilon)
        directions = _Directions(self.random)
        for step in range(options.steps - 1):
            gradient, logits = loss_gradient(active.classifier, search.perturbed, active.criterion, drops_met=True)
            kept = active.drop_met(search.perturbed, logits)
            if kept is not None:
                search, gradient, logits = search[kept], gradient[kept], logits[kept]
                if len(kept) == 0:
                    break
            reached = active.criterion.reached(logits)
            search.keep_smallest(reached)
            search.resize(reached, options.gamma)
            direction = directions.of(gradient, step=step, rows=active.rows)
            search.move(direction, step_length(step, options.steps), bounds)
        else:
            search = self._last(active, search)
        return active.finish(search.best)

    def _last(self, active: ActiveSet, search: _Search) -> _Search:
        """Look at the last iterate, from which nothing moves on: it needs no gradient."""
        import torch

        with torch.no_grad():
            logits = active.classifier(search.perturbed)
        kept = active.drop_met(search.perturbed, logits)
        if kept is not None:
            search, logits = search[kept], logits[kept]
        search.keep_smallest(active.criterion.reached(logits))
        return search


@dataclass
class _Search:
    """The state of n samples: images (n, …) and, in vectors (n,), the norm aimed at and the limits of a norm."""

    images: Tensor
    perturbed: Tensor
    delta: Tensor
    norm: Tensor
    largest: Tensor
    best: Tensor
    best_norm: Tensor

    @classmethod
    def start(cls, images: Tensor, bounds: tuple[float, float], init_epsilon: float) -> _Search:
        """Start unperturbed, aiming at the norm ``init_epsilon``."""
        low, high = bounds
        largest = per_sample_norm((images - low).maximum(high - images), "l2")
        norm = largest.new_full((len(images),), init_epsilon)
        return cls(images, images, images.new_zeros(images.shape), norm, largest, images, largest)

    def keep_smallest(self, reached: Tensor) -> None:
        """Take the iterate over as the best where it reached the objective with no larger norm than the best so far."""
        norm = per_sample_norm(self.delta, "l2")
        better = reached & (norm <= self.best_norm)
        self.best_norm = norm.where(better, self.best_norm)
        self.best = self.perturbed.where(per_sample(better, self.best), self.best)

    def resize(self, reached: Tensor, gamma: float) -> None:
        """Shrink or grow the norm aimed at, never beyond the largest that the bounds allow."""
        smaller, larger = self.norm * (1 - gamma), self.norm * (1 + gamma)
        self.norm = smaller.where(reached, larger).minimum(self.largest)

    def move(self, gradient: Tensor, length: float, bounds: tuple[float, float]) -> None:
        """Step against the unit ``gradient`` (n, …), then take the norm aimed at, then keep to the bounds."""
        delta = self.delta.sub(gradient, alpha=length)
        scale = self.norm / per_sample_norm(delta, "l2").clamp_min_(1e-12)
        self.perturbed = delta.mul_(per_sample(scale, delta)).add_(self.images).clamp_(*bounds)
        self.delta = self.perturbed - self.images

    def __getitem__(self, rows: Tensor) -> _Search:
        return _Search(*(value[rows] for value in vars(self).values()))


class _Directions:
    """Unit directions out of the gradients of a batch (N, …), random ones where a gradient is zero.

    They are noise of the sample's own stream, so that nobody else's result depends on it: drawn once, on a CPU when it is first
    needed, repeated over larger images, and turned by a pixel at each step.
    """

    def __init__(self, streams: SampleStreams) -> None:
        self._streams = streams
        self._noise: Tensor | None = None

    def of(self, gradient: Tensor, *, step: int, rows: Tensor | None) -> Tensor:
        """Scale ``gradient`` (n, …) of some rows (n,) of the batch, None for all, to the norm 1; it may be written over."""
        norms = per_sample_norm(gradient, "l2")
        vanished = norms == 0
        # A CPU says at once whether there is one; an accelerator is not waited for.
        if not gradient.is_cpu or bool(vanished.any()):
            gradient = self._random(gradient.shape[1:], step, rows).where(per_sample(vanished, gradient), gradient)
            norms = per_sample_norm(gradient, "l2")
        return gradient.div_(per_sample(norms.clamp_min_(1e-12), gradient))

    def _random(self, shape: Sequence[int], step: int, rows: Tensor | None) -> Tensor:
        import torch

        size = prod(shape)
        if self._noise is None:
            self._noise = self._streams.normal((min(size, MOST_DRAWN),))
        noise = self._noise if rows is None else self._noise[rows]
        places = (torch.arange(size, device=noise.device) + step) % noise.shape[1]
        return noise[:, places].reshape(-1, *shape)
