"""Which salt and pepper patterns to try: Foolbox's schedule of densities, or nested patterns below the best norm.

A pattern (n, 1 or C, …) says of each pixel whether it is turned black (-1), white (1) or left as it is (0). Its norm is known
before it is queried, and where the classifier's answer could change nothing, no query is spent on it.

The schedule is Foolbox's (Rauber et al., 2020, doi:10.21105/joss.02607). The nested search is this project's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf, prod
from typing import TYPE_CHECKING

from torch import Tensor, int8, int64

from harness.api import per_sample

if TYPE_CHECKING:
    from harness.api import SampleStreams

IMAGE_DIMENSIONS = 4


class NoiseSearch(ABC):
    """The search of n samples, each at its own place in its own patterns.

    ``noise`` and ``norm`` (n,) are the next pattern and its L2 norm, where it is ``ready`` (n,) to be queried; ``best`` (n, …) is
    what a sample's search has found, its image where that is nothing; ``left`` (n,) counts the patterns it may try, the next one
    included, and is 0 where it is finished.
    """

    def __init__(self, images: Tensor, bounds: tuple[float, float], *, steps: int, across_channels: bool) -> None:
        costs = [(images - bound).square() for bound in bounds]
        if across_channels and images.ndim == IMAGE_DIMENSIONS:
            costs = [cost.sum(1, keepdim=True) for cost in costs]
        # What a black or a white pixel adds to the squared norm.
        self.black_cost, self.white_cost = costs
        self.images, self.best = images, images.clone()
        self.bounds, self.steps = bounds, steps
        self.noise = images.new_zeros(costs[0].shape, dtype=int8)
        self.norm = images.new_zeros(len(images))
        self.ready = self.norm.bool()
        # The smallest norm that reached the objective, and the smallest that met the harness's goal.
        self.best_norm, self.met_norm = self.norm + inf, self.norm + inf
        self.left = images.new_full((len(images),), steps, dtype=int64)

    def start(self, reached: Tensor, met: Tensor, *, stop_early: bool) -> None:
        """Take in what the unperturbed images did; a sample that they leave nothing to find is finished."""
        self.best_norm.masked_fill_(reached, 0.0)
        self.met_norm.masked_fill_(met, 0.0)
        self.left.masked_fill_(met if stop_early else self.limit == 0, 0)

    def advance(self, streams: SampleStreams) -> Tensor:
        """Bring the samples to the next of their patterns that could change something, and return who (m,) has one ready.

        None is left where that is nobody. A sample in a long run of useless patterns sits out a query, half of them at most.
        """
        limit = self.limit
        rows = (~self.ready & (self.left > 0)).nonzero().flatten()
        while len(rows) and 2 * int(self.ready.sum()) < int((self.left > 0).sum()):
            noise = self._draw(streams if len(rows) == len(limit) else streams[rows], rows)
            cost = self.black_cost[rows] * (noise < 0) + self.white_cost[rows] * (noise > 0)
            norm = cost.flatten(1).sum(1).sqrt()
            # What an empty pattern does is known from the unperturbed image.
            useful = (norm > 0) & (norm < limit[rows])
            self.noise[rows], self.norm[rows], self.ready[rows] = noise, norm, useful
            rows = rows[~useful]
            self._pass_over(rows)
            rows = rows[self.left[rows] > 0]
        return self.ready.nonzero().flatten()

    def perturbed(self, rows: Tensor) -> Tensor:
        """Return the images (m, …) of the samples ``rows`` (m,) with their next patterns."""
        (low, high), noise = self.bounds, self.noise[rows]
        return self.images[rows].masked_fill_(noise > 0, high).masked_fill_(noise < 0, low)

    def take(self, rows: Tensor, perturbed: Tensor, *, reached: Tensor, met: Tensor, stop_early: bool) -> None:
        """Take in what the patterns of the samples ``rows`` (m,) did; with ``stop_early`` who is ``met`` (m,) is finished."""
        norm, best_norm, met_norm = self.norm[rows], self.best_norm[rows], self.met_norm[rows]
        better = reached & (norm < best_norm)
        chosen = (better | met if stop_early else better).nonzero().flatten()
        self.best[rows[chosen]] = perturbed[chosen]
        self.best_norm[rows] = norm.where(better, best_norm)
        self.met_norm[rows] = norm.minimum(met_norm).where(met, met_norm)
        self._follow(rows, better)
        self.left[rows] -= 1
        self.ready[rows] = False
        if stop_early:
            self.left[rows[met]] = 0

    @property
    @abstractmethod
    def limit(self) -> Tensor:
        """The norms (n,) from which on a pattern could change nothing."""

    @abstractmethod
    def _draw(self, streams: SampleStreams, rows: Tensor) -> Tensor:
        """Draw the next patterns (m, …) of the samples ``rows`` (m,), whose streams are given."""

    @abstractmethod
    def _follow(self, rows: Tensor, better: Tensor) -> None:
        """Let what follows depend on whether the patterns queried of ``rows`` (m,) are the best (m,) so far."""

    def _pass_over(self, rows: Tensor) -> None:
        """Leave out the query of the samples ``rows`` (m,)."""
        self.left[rows] -= 1


class ScheduledSearch(NoiseSearch):
    """Foolbox's schedule: the results are those of querying every pattern.

    After a pattern that was not better the density (n,) rises by ``stride`` (n,), which is the way to the highest density worth
    trying over the patterns that remain: it cannot be overrun.
    """

    def __init__(self, images: Tensor, bounds: tuple[float, float], *, steps: int, across_channels: bool) -> None:
        super().__init__(images, bounds, steps=steps, across_channels=across_channels)
        self.density = images.new_ones(len(images)) / steps
        self.stride = self.density.clone()

    @property
    def limit(self) -> Tensor:
        """What the attack returns depends on the best norm, what the harness makes of its queries on the goal's."""
        return self.best_norm.maximum(self.met_norm)

    def _draw(self, streams: SampleStreams, rows: Tensor) -> Tensor:
        uniform = streams.uniform(self.noise.shape[1:])
        half = per_sample(self.density[rows] / 2, uniform)
        return (uniform >= 1 - half).to(int8).masked_fill_(uniform < half, -1)

    def _follow(self, rows: Tensor, better: Tensor) -> None:
        density = self.density[rows]
        lowest = 0.5 * density
        # Somewhat above the density that worked, since norm and density do not rise quite together.
        highest = (1.2 * density).clamp_max_(1.0)
        self.stride[rows] = ((highest - lowest) / self.left[rows]).where(better, self.stride[rows])
        self.density[rows] = lowest.where(better, density) + self.stride[rows]

    def _pass_over(self, rows: Tensor) -> None:
        super()._pass_over(rows)
        self.density[rows] += self.stride[rows]


class NestedSearch(NoiseSearch):
    """Patterns that are the first pixels of a random order, and so nested in each other.

    Their number doubles, from one to about all of the pixels, over and over. Once the objective was reached a pattern ends where
    its norm would not be below the best, and every other one is a random part of the best instead, the rest of it turned back.
    """

    def __init__(self, images: Tensor, bounds: tuple[float, float], *, steps: int, across_channels: bool) -> None:
        super().__init__(images, bounds, steps=steps, across_channels=across_channels)
        self.best_noise = self.noise.clone()

    @property
    def limit(self) -> Tensor:
        """The best norm: nothing else is searched for."""
        return self.best_norm

    def _draw(self, streams: SampleStreams, rows: Tensor) -> Tensor:
        pixels = prod(self.noise.shape[1:])
        levels = pixels.bit_length()
        share, uniform = streams.uniform((1,)), streams.uniform((pixels,))
        limit, tried = self.best_norm[rows].square()[:, None], (self.steps - self.left[rows])[:, None]
        best = self.best_noise[rows].flatten(1)
        size = best.count_nonzero(1)[:, None]
        thin = (tried % 2 == 0) & (size > 1)
        noise = best.where(thin, (uniform >= 0.5).to(int8).mul_(2).sub_(1))
        cost = self.black_cost[rows].flatten(1).where(noise < 0, self.white_cost[rows].flatten(1))
        # A pixel that has its colour already, or is beyond the best norm alone, is of no use.
        useless = (noise == 0) | (cost == 0) | (cost >= limit)
        # The order does not depend on the colour: both halves of the range have all distances from its ends.
        order = uniform.minimum(1 - uniform).masked_fill_(useless, inf)
        part, doubled = 1 + (share * (size - 1)).long(), 2 ** (tried.where(limit == inf, tried // 2) % levels)
        count = part.where(thin, doubled) + 0.5
        # Pixels lie 2^-levels apart in the order; finer by three halvings, it seldom takes two of them for one.
        below, counted = (_last(order, *each, halvings=levels + 3) for each in ((cost, limit), (None, count)))
        return noise.mul_(order < below.minimum(counted)).reshape(len(rows), *self.noise.shape[1:])

    def _follow(self, rows: Tensor, better: Tensor) -> None:
        chosen = rows[better]
        self.best_noise[chosen] = self.noise[chosen]


def _last(order: Tensor, weight: Tensor | None, limit: Tensor, *, halvings: int) -> Tensor:
    """Return how far (m, 1) in the ``order`` (m, p) in [0, 0.5] one may go while the ``weight`` (m, p) stays below ``limit``.

    Without weights each pixel counts one. By bisection, since sorting takes as long as a pass of a small network; with signs,
    since torch is slow on booleans.
    """
    last, step = limit.new_zeros(limit.shape), 0.5
    for _ in range(halvings):
        step /= 2
        further = last + step
        before = (further - order).sign_().clamp_min_(0.0)
        total = (before if weight is None else before.mul_(weight)).sum(1, keepdim=True)
        last = further.where(total < limit, last)
    return last
