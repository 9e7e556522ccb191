"""Grids of 8 bits in float arithmetic: what integers can hold, with gradients that pass straight through.

Activations lie on an affine grid per tensor, weights on a symmetric one per output channel (Krishnamoorthi, 2018,
arXiv:1806.08342). Torch's observers tell the ranges, here as in its own integer networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.ao.quantization.observer import (
    HistogramObserver,
    MinMaxObserver,
    UniformQuantizationObserverBase,
    per_channel_weight_observer_range_neg_127_to_127,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_quantization.options import StaticInt8Options

Weighted = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
new_weight_observer: Callable[[], UniformQuantizationObserverBase] = per_channel_weight_observer_range_neg_127_to_127
"""Make what tells the grid of a layer's weights: int8 without -128, so that it is symmetric, per output channel."""


def activation_observer(options: StaticInt8Options, *, largest: int) -> Callable[[], UniformQuantizationObserverBase]:
    """Return what makes watchers of activations, each of which tells a grid of the integers from 0 to ``largest``."""
    kind = HistogramObserver if options.ranges == "histogram" else MinMaxObserver
    made: Callable[[], UniformQuantizationObserverBase] = kind.with_args(
        dtype=torch.quint8, quant_min=0, quant_max=largest
    )
    return made


class Grid(nn.Module):
    """Round values to scale · (q − zero point), q whole and within bounds.

    Gradients pass straight through, and are zero where a value lies outside the grid.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, observer: UniformQuantizationObserverBase) -> None:
        super().__init__()
        scale, zero_point = observer.calculate_qparams()  # type: ignore[no-untyped-call]
        self.axis: int | None = getattr(observer, "ch_axis", None)
        self.bounds = (int(observer.quant_min), int(observer.quant_max))
        shape = (-1,) if self.axis is not None else ()
        self.register_buffer("scale", scale.detach().reshape(shape).clone())
        self.register_buffer("zero_point", zero_point.detach().reshape(shape).to(torch.int32))
        self.training = False

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape on the grid."""
        if self.axis is None:
            return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero_point, *self.bounds)
        return torch.fake_quantize_per_channel_affine(values, self.scale, self.zero_point, self.axis, *self.bounds)


def rounded_weights(weights: Tensor) -> Tensor:
    """Return weights (O, …) on a symmetric int8 grid for each of the O output channels."""
    observer = new_weight_observer().to(weights.device)
    observer(weights)
    rounded: Tensor = Grid(observer)(weights)
    return rounded


class RoundedLayer(nn.Module):
    """A layer with rounded weights that rounds its input; until it is frozen it watches the range of its inputs instead.

    For networks whose graph cannot be traced: what a layer reads is all that is known there.
    """

    def __init__(self, layer: Weighted, observer: UniformQuantizationObserverBase) -> None:
        super().__init__()
        self.layer = layer
        self.reading: nn.Module = observer.to(layer.weight.device)
        self.called = False
        self.training = False

    def forward(self, values: Tensor) -> Tensor:
        """Return the layer's output for its rounded input."""
        self.called = True
        output: Tensor = self.layer(self.reading(values))
        return output

    def freeze(self) -> None:
        """Fix the grid of the inputs, and round the weights."""
        assert isinstance(self.reading, UniformQuantizationObserverBase)  # noqa: S101 (frozen once; for the type checker)
        self.reading = Grid(self.reading) if self.called else nn.Identity()
        self.layer.weight.copy_(rounded_weights(self.layer.weight))

    # Attention takes the weights of its last layer without calling it.

    @property
    def weight(self) -> Tensor:
        """The layer's weights."""
        return self.layer.weight

    @property
    def bias(self) -> Tensor | None:
        """The layer's biases."""
        return self.layer.bias
