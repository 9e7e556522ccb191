"""Cross-entropy and a penalty on the spread of the logits: what Deep CORAL on logits does besides aligning (a control).

The expected CORAL loss of two batches of n Gaussian samples from one distribution is not zero but
2·[tr(C)² + tr(C²)] / (4 K² (n−1)): where source and target nearly coincide, most of its gradient shrinks the logits'
covariance C. The rival explanation of its gain is therefore that smaller logits regularize, which needs no target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from torch import Tensor


class LogitVarianceOptions(Options):
    """Options of the penalty."""

    weight: FractionalFloat = Field(
        1 / 750,
        ge=0,
        allow_inf_nan=False,
        # With tr(C) = K·v the expected CORAL loss is about v²/(2(n−1)); λ times its slope in v is λ·v/(n−1).
        description="The penalty's weight. Deep CORAL of weight λ presses on the variance v of a logit about as a weight of "
        "λ·v/(n−1) does, in batches of n: as λ itself where v is about n − 1. The default is the paper's λ on CIFAR-10.",
    )


class LogitVariance(Adapter[LogitVarianceOptions]):
    """Train on the source with smaller logits; the target is not looked at."""

    capabilities: ClassVar[AdapterCapabilities] = AdapterCapabilities(target=False)

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # noqa: ARG002 (a control looks at the source alone)
        """Return the source's cross-entropy and the weighted variance of its logits."""
        return {"cross-entropy": label_loss(source), "logit-variance": self.options.weight * logit_variance(source)}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:  # noqa: ARG002 (as above)
        """Return the unweighted variance."""
        return {"logit-variance": float(logit_variance(source))}


def logit_variance(source: Batch) -> Tensor:
    """Return the mean over samples of the variance over the K classes (divided by K: they are all there are).

    Over classes, since a softmax does not see what is added to all logits of a sample. By the law of total variance it differs from
    the mean over classes of the variance over samples by the spreads of the samples' and of the classes' means alone.
    """
    return source.logits.var(1, correction=0).mean()
