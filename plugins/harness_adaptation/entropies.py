"""Entropies of predictions, in nats, from logits: finite with their gradients where a probability underflows to 0."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def entropies(logits: Tensor) -> Tensor:
    """Return the entropy H(p) (N,) of each prediction, from logits (N, K)."""
    logarithms = logits.log_softmax(1)
    return -(logarithms.exp() * logarithms).sum(1)


def entropy_of_mean(logits: Tensor) -> Tensor:
    """Return the entropy H(p̄) (scalar) of the mean prediction of logits (N, K)."""
    logarithms = logits.log_softmax(1).logsumexp(0) - math.log(len(logits))
    return -(logarithms.exp() * logarithms).sum()
