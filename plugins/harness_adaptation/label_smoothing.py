"""Cross-entropy with smoothed labels: less confidence, and no method (Szegedy et al., 2016, arXiv:1512.00567)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from torch import Tensor


class LabelSmoothingOptions(Options):
    """Options of label smoothing."""

    smoothing: FractionalFloat = Field(
        0.1, ge=0, lt=1, description="How much of each label is spread evenly over all classes, its own among them."
    )


class LabelSmoothing(Adapter[LabelSmoothingOptions]):
    """Train on the source with smoothed labels; the target is not looked at.

    The cross-entropy with smoothed labels is that with the labels, plus the smoothing times the mean over samples of what
    ``label_gap`` is: both are named, so that the first compares with every arm's.
    """

    capabilities: ClassVar[AdapterCapabilities] = AdapterCapabilities(target=False)

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # noqa: ARG002 (a control looks at the source alone)
        """Return the source's cross-entropy, and what smoothing adds to it."""
        return {"cross-entropy": label_loss(source), "smoothing": self.options.smoothing * label_gap(source)}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:  # noqa: ARG002 (as above)
        """Return the mean distance of the label's logit from the mean logit."""
        return {"label-gap": float(label_gap(source))}


def label_gap(source: Batch) -> Tensor:
    """Return how far the label's logit is above the mean logit, on average over the samples.

    It is the cross-entropy with even labels less the one with the samples' own: log Σexp z cancels.
    """
    own = source.logits.gather(1, source.labels[:, None])[:, 0]  # type: ignore[index]  # a source has labels
    return (own - source.logits.mean(1)).mean()
