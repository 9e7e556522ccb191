"""Averages of the weights along training, and no method: exponential (Tarvainen and Valpola, 2017, arXiv:1703.01780), SWA.

SWA: stochastic weight averaging with equal weights (Izmailov et al., 2018, arXiv:1803.05407).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options, WeightAveraging
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class EmaOptions(Options):
    """Options of the exponential average."""

    decay: FractionalFloat = Field(
        0.999,
        gt=0,
        lt=1,
        description="What the average keeps of itself at a step, from some ten steps for each of 1/(1 − decay) on: before that, at "
        "the nth, (1 + n)/(10 + n), so that it does not hold on to the weights it began with.",
    )


class Ema(Adapter[EmaOptions]):
    """Train on the source and keep the exponential average of the weights; the target is not looked at."""

    capabilities: ClassVar[AdapterCapabilities] = AdapterCapabilities(target=False)

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # noqa: ARG002 (a control looks at the source alone)
        """Return the source's cross-entropy."""
        return {"cross-entropy": label_loss(source)}

    def weight_averaging(self) -> WeightAveraging:
        """Average over all steps."""
        return WeightAveraging(decay=self.options.decay)

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (of any width)
        """Tell where the loop ends before the decay has risen to its value."""
        reached = self.loop.steps / (9 + self.loop.steps)
        if reached < self.options.decay:
            yield f"the decay rises to {reached:.3f} in {self.loop.steps:,} steps, short of {self.options.decay:g}"


class SwaOptions(Options):
    """Options of stochastic weight averaging."""

    start: FractionalFloat = Field(
        0.75,
        ge=0,
        lt=1,
        description="The share of the steps after which the average begins; the paper's is 75% of a budget.",
    )


class Swa(Adapter[SwaOptions]):
    """Train on the source and keep the mean of the last steps' weights; the target is not looked at.

    The paper raises the learning rate for those steps and estimates batch-norm statistics anew for the average: here the
    schedule is the experiment's, as for every arm, and the statistics are averaged as the weights are.
    """

    capabilities: ClassVar[AdapterCapabilities] = AdapterCapabilities(target=False)

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # noqa: ARG002 (as above)
        """Return the source's cross-entropy."""
        return {"cross-entropy": label_loss(source)}

    def weight_averaging(self) -> WeightAveraging:
        """Average with equal weights over the last steps."""
        return WeightAveraging(decay=None, start=self.options.start)

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (of any width)
        """Tell where there is next to nothing to average."""
        averaged = self.loop.steps - int(self.options.start * self.loop.steps)
        if averaged < 2:
            yield (
                f"after {self.options.start:g} of {self.loop.steps:,} steps {averaged} is left to average over: give it more "
                "steps, or an earlier start"
            )
