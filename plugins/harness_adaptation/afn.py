"""Let the features' norms grow in small steps on both domains (Xu et al., 2019, arXiv:1811.07456: stepwise AFN)."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from torch import Tensor


class AfnOptions(Options):
    """Options of stepwise AFN."""

    weight: FractionalFloat = Field(
        0.05, ge=0, allow_inf_nan=False, description="Weight of each domain's norm loss beside the classification loss."
    )
    delta: FractionalFloat = Field(
        1.0, gt=0, allow_inf_nan=False, description="Δ, by how much a sample's norm is to exceed what it is."
    )


class Afn(Adapter[AfnOptions]):
    """Add the mean of (‖f‖ − stopgrad(‖f‖) − Δ)² on either domain to the cross-entropy on the source.

    Its value is Δ² whatever the features are; the gradient alone tells, −2Δ along each feature's direction. It is one for each
    sample, so that remembered outputs have no place in it.
    """

    capabilities: ClassVar = AdapterCapabilities()

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and both domains' weighted norm losses."""
        weight, delta = self.options.weight, self.options.delta
        return {
            "cross-entropy": label_loss(source),
            "source-norm": weight * norm_loss(source.features, delta),
            "target-norm": weight * norm_loss(target.features, delta),
        }

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the mean norms, how far they are apart, and how far chance alone sets two such batches apart on average."""
        ours, theirs = _norms(source.features), _norms(target.features)
        figures = {"source-feature-norm": float(ours.mean()), "target-feature-norm": float(theirs.mean())}
        if min(len(ours), len(theirs)) > 1:
            # The mean of a normal variable's magnitude is sqrt(2/π) times its standard deviation.
            error = float((ours.var() / len(ours) + theirs.var() / len(theirs)).sqrt())
            figures["feature-norm-gap"] = abs(float(ours.mean() - theirs.mean()))
            figures["feature-norm-gap-noise-floor"] = (2 / pi) ** 0.5 * error
        return figures


def norm_loss(features: Tensor, delta: float) -> Tensor:
    """Return the mean of (‖f‖ − stopgrad(‖f‖) − Δ)² over features (N, D)."""
    norms = _norms(features)
    return (norms - norms.detach() - delta).square().mean()


def _norms(features: Tensor) -> Tensor:
    norms: Tensor = features.norm(dim=1)
    return norms
