"""Salt and pepper noise, searched as Foolbox does (Rauber et al., 2020, doi:10.21105/joss.02607) or by nested patterns.

Foolbox's schedule: the density rises until the objective is reached, then the search goes on below, between half that density
and a little above it, for a perturbation of smaller L2 norm. The nested search is this project's own; see ``noise_search``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.api import Attack, Capabilities, Classifier, Criterion, Options

if TYPE_CHECKING:
    from torch import Tensor

SCHEDULE_STEPS, NESTED_STEPS = 1000, 180


class SaltAndPepperOptions(Options):
    """The options of the salt and pepper attack; the defaults are Foolbox's."""

    steps: int | None = Field(
        default=None,
        ge=1,
        description="Noise patterns tried, each at most one forward pass; by default Foolbox's 1000 for the schedule, 180 for "
        "the nested search.",
    )
    across_channels: bool = Field(
        default=True, description="Whether a noisy pixel is white or black in all of its channels at once."
    )
    search: Literal["schedule", "nested"] = Field(
        default="schedule",
        description="How patterns follow each other: Foolbox's schedule of densities, or parts of random patterns and of the "
        "best one, always below its norm, meant for small perturbations in few passes: once an image has reached the objective, "
        "nothing larger is tried.",
    )


class SaltAndPepper(Attack[SaltAndPepperOptions]):
    """Turn random pixels black and white, ever fewer once the objective was reached (Rauber et al., 2020)."""

    capabilities = Capabilities(
        norm="l2", targeted=True, untargeted=True, gradients=False, stochastic=True, budget="minimal"
    )

    @property
    def steps(self) -> int:
        """The number of patterns that the options ask for."""
        return self.options.steps or (NESTED_STEPS if self.options.search == "nested" else SCHEDULE_STEPS)

    def run(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Return the pattern of smallest L2 norm that reached the objective, else the unperturbed image (N, C, H, W).

        An image that has reached it unperturbed is returned as it is. Where the criterion stops early, a sample's
        first pattern that meets the goal is returned at once. Takes at most one pass more than ``steps``: a pattern that
        could change nothing, whatever the classifier said, is not queried.
        """
        import torch

        # Torch is imported only where an attack is run.
        from harness_paper.noise_search import NestedSearch, ScheduledSearch

        options, kinds = self.options, {"schedule": ScheduledSearch, "nested": NestedSearch}
        bounds, stop_early = classifier.bounds, criterion.stop_early
        with torch.no_grad():
            logits = classifier(images)
            search = kinds[options.search](images, bounds, steps=self.steps, across_channels=options.across_channels)
            search.start(criterion.reached(logits), criterion.met(logits), stop_early=stop_early)
            while len(rows := search.advance(self.random)):
                perturbed, aim = search.perturbed(rows), criterion[rows]
                logits = classifier[rows](perturbed)
                search.take(rows, perturbed, reached=aim.reached(logits), met=aim.met(logits), stop_early=stop_early)
            return search.best
