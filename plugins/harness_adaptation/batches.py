"""What methods take from a batch: the cross-entropy on its labels, a layer's outputs with the remembered ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Batch

Layer = Literal["logits", "features"]
"""What is aligned: the output of the last linear layer, or what enters it."""


def label_loss(batch: Batch) -> Tensor:
    """Return the mean cross-entropy on the labels of a batch that has them."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(batch.logits, batch.labels)  # type: ignore[arg-type]  # asked for only where labels are shown


def outputs(batch: Batch, layer: Layer) -> Tensor:
    """Return a layer's outputs (N, ·) for the batch's own samples."""
    return batch.logits if layer == "logits" else batch.features


def remembered(batch: Batch, layer: Layer) -> Tensor:
    """Return a layer's outputs (N + M, ·): the batch's own, then those of the earlier batches in the queue.

    Only its own rows carry a gradient, which averages over all rows make smaller by N/(N + M).
    """
    import torch

    past = batch.past.logits if layer == "logits" else batch.past.features
    return torch.cat([outputs(batch, layer), past])
