"""Deep CORAL with the target's labels used as well (the supervised bound of Sun and Saenko, 2016, arXiv:1607.01719)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import Layer, label_loss, remembered
from harness_adaptation.moments import FEWEST, common_share, coral_loss, noise_floor, rank_remark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from harness_adaptation.moments import Share


class JointOptions(Options):
    """Options of joint training."""

    mu: FractionalFloat = Field(
        1.0, ge=0, allow_inf_nan=False, description="Weight of the target's cross-entropy beside the source's."
    )
    weight: FractionalFloat = Field(
        1 / 750, ge=0, allow_inf_nan=False, description="λ between classification and CORAL loss."
    )
    on: Layer = Field(
        "logits", description="Whose covariance is aligned: the last classification layer's output or its input."
    )


class Joint(Adapter[JointOptions]):
    """Add μ times the cross-entropy on the target and λ times the CORAL loss to the cross-entropy on the source."""

    capabilities: ClassVar = AdapterCapabilities(target_labels=True)

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return both domains' cross-entropies and the weighted CORAL loss, as in Deep CORAL."""
        ours, theirs, share = self._compared(source, target)
        return {
            "cross-entropy": label_loss(source),
            "target-cross-entropy": self.options.mu * label_loss(target),
            "coral": self.options.weight * coral_loss(ours, theirs, share),
        }

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the unweighted CORAL loss and, from three samples on, what sampling alone would make of it."""
        ours, theirs, share = self._compared(source, target)
        figures = {"coral": float(coral_loss(ours, theirs, share))}
        if min(len(ours), len(theirs)) >= FEWEST:
            figures["coral-noise-floor"] = float(noise_floor(ours, share) + noise_floor(theirs, share)) / 2
        return figures

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:
        """Say where a batch's covariance is singular."""
        width = num_classes if self.options.on == "logits" else num_features
        return rank_remark(self.loop.batch_size, width, self.loop.shrinkage)

    def _compared(self, source: Batch, target: Batch) -> tuple[Tensor, Tensor, Share]:
        ours, theirs = remembered(source, self.options.on), remembered(target, self.options.on)
        return ours, theirs, common_share(ours, theirs, self.loop.shrinkage)
