"""Align second-order statistics of source and target (Sun and Saenko, 2016, arXiv:1607.01719; AdCorDA eq. 8 and 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import Layer, label_loss, remembered
from harness_adaptation.moments import (
    FEWEST,
    common_share,
    coral_loss,
    domainbed_floor,
    domainbed_loss,
    noise_floor,
    rank_remark,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from harness_adaptation.moments import Share


class DeepCoralOptions(Options):
    """Options of Deep CORAL."""

    weight: FractionalFloat = Field(
        1 / 750,
        ge=0,
        allow_inf_nan=False,
        description="λ between classification and CORAL loss; the paper: 1/750 on CIFAR-10, 1/25 on CIFAR-100. "
        "1 where the variant is domainbed and nothing is said.",
    )
    on: Layer = Field(
        "logits",
        description="Whose covariance is aligned: the last classification layer's output (the paper) or its input.",
    )
    variant: Literal["paper", "domainbed"] = Field(
        "paper",
        description="The paper's ‖C_S − C_T‖²_F/(4d²), or what DomainBed computes, mean((C_S − C_T)²) + mean((x̄_S − x̄_T)²).",
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_weight(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("variant") == "domainbed" and "weight" not in given:
            return {**given, "weight": 1.0}
        return given


class DeepCoral(Adapter[DeepCoralOptions]):
    """Add λ times the CORAL loss to the cross-entropy on the source.

    The remembered outputs enter the covariances: without a gradient of their own, they make the difference less noisy.
    """

    capabilities: ClassVar = AdapterCapabilities()

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the weighted CORAL loss."""
        compared = remembered(source, self.options.on), remembered(target, self.options.on)
        share = common_share(*compared, self.loop.shrinkage)
        return {"cross-entropy": label_loss(source), "coral": self.options.weight * self._loss(*compared, share)}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the unweighted CORAL loss and, from three samples on, what sampling alone would make of it."""
        compared = remembered(source, self.options.on), remembered(target, self.options.on)
        share = common_share(*compared, self.loop.shrinkage)
        figures = {"coral": float(self._loss(*compared, share))}
        if min(map(len, compared)) >= FEWEST:
            floor = noise_floor if self.options.variant == "paper" else domainbed_floor
            figures["coral-noise-floor"] = sum(float(floor(one, share)) for one in compared) / 2
        return figures

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:
        """Say where a batch's covariance is singular."""
        width = num_classes if self.options.on == "logits" else num_features
        return rank_remark(self.loop.batch_size, width, self.loop.shrinkage)

    def _loss(self, source: Tensor, target: Tensor, share: Share) -> Tensor:
        loss = coral_loss if self.options.variant == "paper" else domainbed_loss
        return loss(source, target, share)
