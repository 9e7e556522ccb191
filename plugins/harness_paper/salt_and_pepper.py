"""Salt and pepper noise of growing density, as Foolbox searches it (Rauber et al., 2020, doi:10.21105/joss.02607).

The density rises until the objective is reached, then the search goes on below, between half that density and a little
above it, for a perturbation of smaller L2 norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from pydantic import Field

from harness.api import Attack, Capabilities, Classifier, Criterion, Options, per_sample, per_sample_norm
from harness_paper.active import ActiveSet

if TYPE_CHECKING:
    from torch import Tensor

IMAGE_DIMENSIONS = 4


class SaltAndPepperOptions(Options):
    """The options of the salt and pepper attack; the defaults are Foolbox's."""

    steps: int = Field(default=1000, ge=1, description="Noise patterns tried, each one forward pass.")
    across_channels: bool = Field(
        default=True, description="Whether a noisy pixel is white or black in all of its channels at once."
    )


class SaltAndPepper(Attack[SaltAndPepperOptions]):
    """Turn random pixels black and white, ever fewer once the objective was reached (Rauber et al., 2020)."""

    capabilities = Capabilities(
        norm="l2", targeted=True, untargeted=True, gradients=False, stochastic=True, budget="minimal"
    )

    def run(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Return the pattern of smallest L2 norm that reached the objective, else the unperturbed image (N, C, H, W).

        An image that has reached it unperturbed is returned as it is. Where the criterion stops early, a sample's
        first pattern that meets the goal is returned at once. Takes one pass more than ``steps``.
        """
        import torch

        with torch.no_grad():
            return self._search(classifier, images, criterion)

    def _search(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        steps, bounds = self.options.steps, classifier.bounds
        shape = self._noise_shape(images)
        active, streams = ActiveSet(classifier, criterion), self.random
        logits = classifier(images)
        search = _Search.start(images, steps, criterion.reached(logits))
        perturbed = images
        for remaining in range(steps, -1, -1):
            kept = active.drop_met(perturbed, logits)
            if kept is not None:
                search, streams = search[kept], active.streams(self.random)
            if remaining == 0 or len(search.images) == 0:
                break
            perturbed = search.noisy(streams.uniform(shape), bounds)
            logits = active.classifier(perturbed)
            search.update(perturbed, active.criterion.reached(logits), remaining)
        return active.finish(search.best)

    def _noise_shape(self, images: Tensor) -> tuple[int, ...]:
        shared = self.options.across_channels and images.ndim == IMAGE_DIMENSIONS
        return (1, *images.shape[2:]) if shared else tuple(images.shape[1:])


@dataclass
class _Search:
    """The state of n samples: images (n, …), the best found and its L2 norm (n,), the density (n,) tried next.

    After a pattern that was not better the density rises by ``stride`` (n,), which is the way to the highest density
    worth trying over the patterns that remain: it cannot be overrun.
    """

    images: Tensor
    best: Tensor
    best_norm: Tensor
    density: Tensor
    stride: Tensor

    @classmethod
    def start(cls, images: Tensor, steps: int, reached: Tensor) -> _Search:
        """Start with almost no noise, and as done with those that have ``reached`` (n,) the objective already."""
        best_norm = images.new_full((len(images),), inf).masked_fill_(reached, 0.0)
        density = images.new_ones(len(images)) / steps
        return cls(images, images, best_norm, density, density)

    def noisy(self, uniform: Tensor, bounds: tuple[float, float]) -> Tensor:
        """Return the images with half the density of pixels white and half black, as ``uniform`` (n, …) tells."""
        low, high = bounds
        half = per_sample(self.density / 2, uniform)
        return self.images.masked_fill(uniform >= 1 - half, high).masked_fill_(uniform < half, low)

    def update(self, perturbed: Tensor, reached: Tensor, remaining: int) -> None:
        """Take in what one pattern did, and choose the next density; ``remaining`` counts this step too."""
        norm = per_sample_norm(perturbed - self.images, "l2")
        better = reached & (norm < self.best_norm)
        self.best = perturbed.where(per_sample(better, perturbed), self.best)
        self.best_norm = norm.where(better, self.best_norm)
        lowest = 0.5 * self.density
        # Somewhat above the density that worked, since norm and density do not rise quite together.
        highest = (1.2 * self.density).clamp_max_(1.0)
        self.stride = ((highest - lowest) / remaining).where(better, self.stride)
        self.density = lowest.where(better, self.density) + self.stride

    def __getitem__(self, rows: Tensor) -> _Search:
        return _Search(*(value[rows] for value in vars(self).values()))
