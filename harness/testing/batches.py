"""Batches for an adapter's own tests: numbers chosen by hand, everything else as the harness would have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.adapting import Batch, Outputs


def toy_batch(
    logits: Tensor,
    features: Tensor | None = None,
    labels: Tensor | None = None,
    *,
    images: Tensor | None = None,
    samples: Tensor | None = None,
    wrong: Tensor | None = None,
    past: Outputs | None = None,
) -> Batch:
    """Return a batch of logits (N, K).

    Features (N, D) are the logits unless given, images (N, 1, 4, 4) are black, samples (N,) are 0, 1, …, and there is no past.
    """
    import torch

    from harness.adapting import Batch, Outputs

    count = len(logits)
    features = logits if features is None else features
    return Batch(
        images=torch.zeros(count, 1, 4, 4) if images is None else images,
        labels=labels,
        features=features,
        logits=logits,
        samples=torch.arange(count) if samples is None else samples,
        wrong=wrong,
        past=past or Outputs(features.detach()[:0], logits.detach()[:0]),
    )
