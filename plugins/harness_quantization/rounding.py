"""Rounding to 8 bits in float arithmetic: grids of weights and activations, and layers that round what they read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST_WEIGHT = 127
LARGEST_ACTIVATION = 255
_TINY = 1e-12


def rounded_weights(weights: Tensor) -> Tensor:
    """Return weights (O, …) on a symmetric int8 grid for each of the O output channels."""
    scales = weights.flatten(1).abs().amax(1).clamp_min(_TINY) / LARGEST_WEIGHT
    scales = scales.reshape(-1, *([1] * (weights.ndim - 1)))
    return (weights / scales).round().clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) * scales


def affine_grid(low: float, high: float) -> tuple[float, int]:
    """Return scale and zero point of the uint8 grid over [low, high], stretched so that it holds zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / LARGEST_ACTIVATION, _TINY)
    return scale, min(max(round(-low / scale), 0), LARGEST_ACTIVATION)


class Rounded(nn.Module):
    """A layer with rounded weights that rounds its input; until it is frozen it watches the range of its inputs instead.

    Gradients pass straight through the rounding, and are zero where an input lies outside the grid.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.low, self.high = 0.0, 0.0
        self.grid: tuple[float, int] | None = None
        self.training = False

    def forward(self, values: Tensor) -> Tensor:
        """Return the layer's output for its rounded input."""
        if self.grid is None:
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        else:
            values = torch.fake_quantize_per_tensor_affine(values, *self.grid, 0, LARGEST_ACTIVATION)
        output: Tensor = self.layer(values)
        return output

    def freeze(self) -> None:
        """Fix the grid of the inputs, and round the weights."""
        self.grid = affine_grid(self.low, self.high)
        self.layer.weight.copy_(rounded_weights(self.layer.weight))
