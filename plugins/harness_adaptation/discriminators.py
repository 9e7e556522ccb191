"""What tells the domains apart: the discriminator, its loss, and what it is shown of features and predictions together.

Discriminator and loss: Ganin et al., 2016, arXiv:1505.07818. Maps: Long et al., 2018, arXiv:1705.10667.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class Discriminator(nn.Module):
    """Three linear layers with batch-norm and ReLU between them: inputs (N, W) to one logit each (N,), high for the source.

    Batch-norm keeps no running statistics: the discriminator judges whole batches alone, both domains in one.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_hidden(inputs, hidden), *_hidden(hidden, hidden), nn.Linear(hidden, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (N,) of inputs (N, W); N is at least 2."""
        logits: Tensor = self.layers(inputs)
        return logits.squeeze(1)


class RandomMap(nn.Module):
    """Map features (N, D) and predictions (N, K) to (R_f f) ⊙ (R_p p)/√M (N, M).

    The inner product of two such images is on average that of the outer products f ⊗ p: the entries of R_f and R_p, drawn
    once from torch's generator, have mean 0 and variance 1.
    """

    of_features: Tensor
    of_predictions: Tensor

    def __init__(self, num_features: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("of_features", torch.randn(num_features, width))
        self.register_buffer("of_predictions", torch.randn(num_classes, width))

    def forward(self, features: Tensor, predictions: Tensor) -> Tensor:
        """Return the image (N, M)."""
        width: int = self.of_features.shape[1]
        mapped: Tensor = (features @ self.of_features) * (predictions @ self.of_predictions) / width**0.5
        return mapped


def outer_product(features: Tensor, predictions: Tensor) -> Tensor:
    """Return vec(f ⊗ p) (N, D·K) of features (N, D) and predictions (N, K)."""
    return (features[:, :, None] * predictions[:, None, :]).flatten(1)


def domain_loss(
    source: Tensor, target: Tensor, *, source_weights: Tensor | None = None, target_weights: Tensor | None = None
) -> Tensor:
    """Return ½[BCE(source, 1) + BCE(target, 0)] of a discriminator's logits (N,) and (M,), each a (weighted) mean.

    It is ln 2 for a discriminator that cannot tell. Weights (N,) and (M,) are divided by their own mean, so that neither
    domain outweighs the other.
    """
    return (_mean(softplus(-source), source_weights) + _mean(softplus(target), target_weights)) / 2


def domain_accuracy(source: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the domains of the share that is judged right, from logits (N,) and (M,); chance is 0.5."""
    return ((source > 0).float().mean() + (target <= 0).float().mean()) / 2


def _hidden(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs, track_running_stats=False), nn.ReLU()]


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    return values.mean() if weights is None else (values * weights).mean() / weights.mean()
