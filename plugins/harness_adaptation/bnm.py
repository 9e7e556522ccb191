"""Make the target's predictions sharp and varied by their nuclear norm (Cui et al., 2020, arXiv:2003.12237: BNM)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import label_loss, remembered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class BnmOptions(Options):
    """Options of BNM."""

    weight: FractionalFloat = Field(
        1.0, ge=0, allow_inf_nan=False, description="Weight of the nuclear norm beside the classification loss."
    )


class Bnm(Adapter[BnmOptions]):
    """Subtract ‖P‖_*/n of the target's predictions P (n, K) from the cross-entropy on the source.

    The remembered predictions are further rows of P, whose rank n would otherwise limit.
    """

    capabilities: ClassVar = AdapterCapabilities()

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the negative weighted nuclear norm."""
        norm = nuclear_norm(remembered(target, "logits"))
        return {"cross-entropy": label_loss(source), "nuclear-norm": -self.options.weight * norm}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the nuclear norm of the target's predictions, the source's to compare, and the most that is possible.

        With n rows and K classes it is at most sqrt(min(n, K)/n): every row certain, as many classes as possible, alike often.
        """
        theirs = remembered(target, "logits")
        rows, classes = theirs.shape
        return {
            "nuclear-norm": float(nuclear_norm(theirs)),
            "source-nuclear-norm": float(nuclear_norm(remembered(source, "logits"))),
            "greatest-nuclear-norm": (min(rows, classes) / rows) ** 0.5,
        }

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (predictions alone count)
        """Say where the samples, not the classes, limit the rank."""
        samples = self.loop.batch_size
        if samples < num_classes:
            yield (
                f"predictions of {samples} samples have rank {samples} at most, of {num_classes} classes: a greater nuclear norm "
                "drives the samples of a batch into different classes, whether they are of one or not; expected "
                f"{num_classes} samples or more; take a larger batch_size, or a queue of earlier batches"
            )


def nuclear_norm(logits: Tensor) -> Tensor:
    """Return ‖P‖_*/n of the predicted probabilities P of logits (N, K); not finite where a logit is not."""
    import torch

    predicted = logits.softmax(1)
    if not bool(predicted.isfinite().all()):
        return predicted.sum()  # a singular value decomposition would raise, where the loop tells of the divergence
    singular_values: Tensor = torch.linalg.svdvals(predicted)
    return singular_values.sum() / len(logits)
