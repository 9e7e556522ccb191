"""Make classes less confused with each other on the target (Jin et al., 2020, arXiv:1912.03699: MCC)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import label_loss, remembered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class MccOptions(Options):
    """Options of MCC."""

    weight: FractionalFloat = Field(
        1.0, ge=0, allow_inf_nan=False, description="Weight of the class confusion beside the classification loss."
    )
    temperature: FractionalFloat = Field(
        2.5, gt=0, allow_inf_nan=False, description="What the target's logits are divided by before the softmax."
    )


class Mcc(Adapter[MccOptions]):
    """Add the target's class confusion to the cross-entropy on the source.

    The remembered predictions count as further samples: which classes are confused is seen in many samples better than in a few.
    """

    capabilities: ClassVar = AdapterCapabilities()

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the weighted class confusion."""
        confusion = class_confusion(remembered(target, "logits"), self.options.temperature)
        return {"cross-entropy": label_loss(source), "class-confusion": self.options.weight * confusion}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the target's class confusion, unweighted, and the source's to compare."""
        temperature = self.options.temperature
        return {
            "class-confusion": float(class_confusion(remembered(target, "logits"), temperature)),
            "source-class-confusion": float(class_confusion(remembered(source, "logits"), temperature)),
        }

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (predictions alone count)
        """Say where most classes have no sample in a batch."""
        samples = self.loop.batch_size
        if samples < num_classes:
            yield (
                f"a batch of {samples} samples leaves classes without one, of {num_classes}: their rows of the class confusion are "
                "made of improbable predictions, and count as much as the others; expected "
                f"{num_classes} samples or more; take a larger batch_size, or a queue of earlier batches"
            )


def class_confusion(logits: Tensor, temperature: float) -> Tensor:
    """Return (ΣC − tr C)/K of logits (N, K): C = Pᵀ diag(w) P with rows normalized, P = softmax(z/T).

    Samples of low entropy H weigh more: w_i = N(1 + e^{−H_i})/Σ(1 + e^{−H}), without a gradient of its own.
    """
    import torch

    scaled = (logits / temperature).log_softmax(1)
    predicted = scaled.exp()
    certainty = 1 + (predicted * scaled).sum(1).detach().exp()
    weights = len(logits) * certainty / certainty.sum()
    confusion = predicted.T @ (weights[:, None] * predicted)
    # A class that no sample is given at all, not even by rounding, is confused with none.
    rows = confusion.sum(1, keepdim=True).clamp_min(torch.finfo(confusion.dtype).tiny)
    normalized = confusion / rows
    return (normalized.sum() - normalized.trace()) / logits.shape[1]
