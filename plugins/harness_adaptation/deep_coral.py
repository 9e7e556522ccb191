"""Align second-order statistics of source and target (Sun and Saenko, 2016, arXiv:1607.01719; AdCorDA eq. 8 and 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 3


class DeepCoralOptions(Options):
    """Options of Deep CORAL."""

    weight: FractionalFloat = Field(
        1 / 750,
        ge=0,
        allow_inf_nan=False,
        description="λ between classification and CORAL loss; the paper: 1/750 on CIFAR-10, 1/25 on CIFAR-100.",
    )
    on: Literal["logits", "features"] = Field(
        "logits",
        description="Whose covariance is aligned: the last classification layer's output (the paper) or its input.",
    )


class DeepCoral(Adapter[DeepCoralOptions]):
    """Add λ times the CORAL loss to the cross-entropy on the source."""

    capabilities: ClassVar = AdapterCapabilities(target=True)

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the weighted CORAL loss."""
        from torch.nn.functional import cross_entropy

        aligned = coral_loss(self._aligned(source), self._aligned(target))
        return {
            "cross-entropy": cross_entropy(source.logits, source.labels),  # type: ignore[arg-type]  # a source has labels
            "coral": self.options.weight * aligned,
        }

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the unweighted CORAL loss and, from three samples on, what sampling alone would make of it."""
        ours, theirs = self._aligned(source), self._aligned(target)
        figures = {"coral": float(coral_loss(ours, theirs))}
        if min(len(ours), len(theirs)) >= FEWEST:
            figures["coral-noise-floor"] = float(noise_floor(ours) + noise_floor(theirs)) / 2
        return figures

    def _aligned(self, batch: Batch) -> Tensor:
        return batch.logits if self.options.on == "logits" else batch.features


def covariance(features: Tensor) -> Tensor:
    """Return the sample covariance (D, D) of features (N, D): (XᵀX − n·x̄x̄ᵀ)/(n−1), computed from centred features."""
    centred = features - features.mean(0, keepdim=True)
    return centred.T @ centred / (len(features) - 1)


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Return ‖C_S − C_T‖²_F / (4 d²) of features (N, D) and (M, D)."""
    width = source.shape[1]
    return (covariance(source) - covariance(target)).square().sum() / (4 * width**2)


def noise_floor(features: Tensor) -> Tensor:
    """Estimate the CORAL loss expected between two batches of one distribution, from one batch (N, D).

    For Gaussian features with covariance C it is 2·[tr(C)² + tr(C²)] / (4 d² (n−1)). The bracket is estimated without
    bias: with ν = n − 1 and Ĉ the sample covariance, (Wishart moments) it is
    ν²/((ν−1)(ν+2)) · [tr(Ĉ)² + (1 − 2/ν)·tr(Ĉ²)]. Raises ``ValueError`` below three samples, which do not tell.
    """
    if len(features) < FEWEST:
        raise ValueError(f"the noise floor needs at least {FEWEST} samples, got {len(features)}")
    sampled = covariance(features)
    width, degrees = features.shape[1], len(features) - 1
    bracket = sampled.trace().square() + (1 - 2 / degrees) * sampled.square().sum()
    return bracket * degrees / (2 * width**2 * (degrees - 1) * (degrees + 2))
