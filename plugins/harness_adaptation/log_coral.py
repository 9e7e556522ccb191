"""Align covariances along the geometry of positive definite matrices (Morerio and Murino, 2017, arXiv:1705.08180)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, HarnessError, Options
from harness_adaptation.batches import Layer, label_loss, remembered
from harness_adaptation.moments import common_share, covariance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from harness.api import Shrinkage

SPLITS = 4
LEAST_VARIANCE = 1e-30


class LogCoralOptions(Options):
    """Options of log-CORAL."""

    weight: FractionalFloat = Field(
        1.0, ge=0, allow_inf_nan=False, description="Weight of the log-CORAL loss beside the classification loss."
    )
    on: Layer = Field(
        "logits", description="Whose covariance is aligned: the last classification layer's output or its input."
    )
    ridge: FractionalFloat = Field(
        1e-3, ge=1e-9, allow_inf_nan=False, description="Added to the covariance's diagonal, as a share of its mean."
    )


class LogCoral(Adapter[LogCoralOptions]):
    """Add mean((log C_S − log C_T)²) to the cross-entropy on the source.

    The remembered outputs enter the covariances, which need more samples than dimensions.
    """

    capabilities: ClassVar = AdapterCapabilities()

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the weighted log-CORAL loss."""
        aligned = self._loss(remembered(source, self.options.on), remembered(target, self.options.on))
        return {"cross-entropy": label_loss(source), "log-coral": self.options.weight * aligned}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the unweighted loss, and its mean between random halves of both batches taken together."""
        import torch

        ours, theirs = remembered(source, self.options.on), remembered(target, self.options.on)
        pooled = torch.cat([ours - ours.mean(0), theirs - theirs.mean(0)])
        # A generator of its own: looking at the figures changes nothing that is drawn afterwards.
        generator = torch.Generator().manual_seed(0)
        orders = [torch.randperm(len(pooled), generator=generator).to(pooled.device) for _ in range(SPLITS)]
        halves = [self._loss(pooled[order[: len(ours)]], pooled[order[len(ours) :]]) for order in orders]
        return {
            "log-coral": float(self._loss(ours, theirs)),
            "log-coral-noise-floor": sum(float(half) for half in halves) / SPLITS,
        }

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:
        """Return nothing. Raises ``HarnessError`` where the covariances are singular, in the first steps at least."""
        layer, samples = self.options.on, self.loop.batch_size
        width = num_classes if layer == "logits" else num_features
        if samples <= width and self.loop.shrinkage == 0:
            raise HarnessError(
                f"log-coral: on: {layer}: got covariances of {samples} samples in {width} dimensions, which are singular and "
                f"have no logarithm; expected a batch_size above {width}, or shrinkage (a queue is still empty at the first "
                'step); set shrinkage: ledoit-wolf, or "batch_size"'
            )
        return ()

    def _loss(self, source: Tensor, target: Tensor) -> Tensor:
        return log_coral_loss(source, target, ridge=self.options.ridge, shrinkage=self.loop.shrinkage)


def log_coral_loss(source: Tensor, target: Tensor, *, ridge: float = 1e-3, shrinkage: Shrinkage = 0.0) -> Tensor:
    """Return mean((log C_S − log C_T)²) of features (N, D) and (M, D), in float64; C has ``ridge``·tr(C)/d on its diagonal."""
    from harness_adaptation.matrix_logarithm import matrix_logarithm

    ours, theirs = source.double(), target.double()
    share = common_share(ours, theirs, shrinkage)
    logarithms = [matrix_logarithm(_ridged(covariance(features, share), ridge)) for features in (ours, theirs)]
    return (logarithms[0] - logarithms[1]).square().mean()


def _ridged(matrix: Tensor, ridge: float) -> Tensor:
    """Keep the eigenvalues from zero, even where the features are constant."""
    width = len(matrix)
    return matrix + matrix.new_ones(width).diag() * (ridge * matrix.trace() / width + LEAST_VARIANCE)
