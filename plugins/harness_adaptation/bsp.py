"""BSP: CDAN whose features' largest singular values are kept small (Chen et al., ICML 2019, PMLR 97:1081-1090)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from harness.api import FractionalFloat, HarnessError
from harness_adaptation.cdan import CdanOptions, ConditionalAdversarial

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from harness.api import Batch


class BspOptions(CdanOptions):
    """Options of BSP."""

    penalty: FractionalFloat = Field(
        2e-4,
        ge=0,
        allow_inf_nan=False,
        description="β, the weight of the squared singular values; their sum grows with the batch size (36 in the paper).",
    )
    k: int = Field(1, ge=1, description="How many of the largest singular values of each domain's batch are penalized.")


class Bsp(ConditionalAdversarial[BspOptions]):
    """Add β·Σ(σ_i(f_S)² + σ_i(f_T)²) over the k largest singular values to CDAN's losses."""

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return CDAN's losses and the weighted spectral penalty."""
        penalty = spectral_penalty(source.features, self.options.k) + spectral_penalty(target.features, self.options.k)
        return {**super().losses(source, target), "spectral": self.options.penalty * penalty}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return CDAN's figures and the share of the features' energy that the penalized directions hold, per domain."""
        shares = {
            f"{name}-spectral-share": float(spectral_penalty(features, self.options.k) / features.square().sum())
            for name, features in (("source", source.features.detach()), ("target", target.features.detach()))
            if bool((features != 0).any())
        }
        return super().diagnostics(source, target) | shares

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:
        """Tell what CDAN tells. Raises ``HarnessError`` where a batch has fewer than k singular values."""
        most = min(self.loop.batch_size, num_features)
        if self.options.k > most:
            raise HarnessError(
                f"bsp: k: got {self.options.k}, but a batch of {self.loop.batch_size} samples with {num_features} features has "
                f"{most} singular values; expected k of at most {most}"
            )
        return super().remarks(num_features, num_classes)


def spectral_penalty(features: Tensor, k: int) -> Tensor:
    """Return the sum of the k largest squared singular values of features (N, D), uncentred; not finite where they are not."""
    from torch.linalg import svdvals

    if not bool(features.isfinite().all()):
        return features.sum()  # a decomposition would raise, where the loop tells of the divergence
    largest: Tensor = svdvals(features)[:k]
    return largest.square().sum()
