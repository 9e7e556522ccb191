"""A network's batch-norm layers: their statistics over a whole domain (Li et al., 2016, arXiv:1603.04779), their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch-norm layers of a network."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def affine_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the scales and shifts (C,) of the batch-norm layers that have them."""
    pairs = [(layer.weight, layer.bias) for layer in batch_norms(network)]
    return [parameter for pair in pairs for parameter in pair if parameter is not None]


def reestimate_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics by the batches' own, averaged with equal weights; in eval mode afterwards.

    Every other layer is in eval mode throughout. A layer sees its inputs as batch statistics before it make them.
    """
    layers = [layer for layer in batch_norms(network) if layer.track_running_stats]
    momenta = [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average over the batches
        layer.train()
    with torch.no_grad():
        for images in batches if layers else ():
            network(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
