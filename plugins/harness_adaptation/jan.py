"""Align the joint distribution of features and predictions (Long et al., 2017, arXiv:1605.06636: JAN's joint MMD)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import label_loss, remembered
from harness_adaptation.mk_mmd import BANDWIDTHS, Bandwidths, few_samples, mmd_figures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class JanOptions(Options):
    """Options of JAN."""

    weight: FractionalFloat = Field(
        1.0, ge=0, allow_inf_nan=False, description="Weight of the squared joint MMD beside the classification loss."
    )
    bandwidths: Bandwidths = Field((1 / 8, 1 / 4, 1 / 2, 1.0, 2.0), description=BANDWIDTHS)
    sigma: FractionalFloat = Field(
        0.92, gt=0, allow_inf_nan=False, description="σ of the Gaussian kernel on the predicted probabilities."
    )


class Jan(Adapter[JanOptions]):
    """Add the unbiased squared MMD of the product kernel k_f·k_p to the cross-entropy on the source.

    The remembered outputs are further points on both sides: the estimate of the same quantity is less noisy with them.
    """

    capabilities: ClassVar = AdapterCapabilities()

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the weighted squared joint MMD, which may be negative."""
        from harness_adaptation.kernels import unbiased_mmd

        apart = unbiased_mmd(*self._kernel(source, target))
        return {"cross-entropy": label_loss(source), "joint-mmd": self.options.weight * apart}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the unweighted joint MMD and its standard error by chance: how far from zero it is where there is no gap."""
        return mmd_figures("joint-mmd", *self._kernel(source, target))

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (samples alone count)
        """Say where a batch is too small for the estimate."""
        return few_samples(self.loop.batch_size)

    def _kernel(self, source: Batch, target: Batch) -> tuple[Tensor, int]:
        """Return the product kernel's matrix of both domains' points, and how many of them are the source's."""
        import torch

        from harness_adaptation.kernels import gaussians, squared_distances

        ours = remembered(source, "features")
        features = torch.cat([ours, remembered(target, "features")])
        predicted = torch.cat([remembered(source, "logits"), remembered(target, "logits")]).softmax(1)
        of_features = gaussians(squared_distances(features, features), self.options.bandwidths)
        of_predictions = (-squared_distances(predicted, predicted) / (2 * self.options.sigma**2)).exp()
        return of_features * of_predictions, len(ours)
