"""A small convolutional network for demonstrations and tests: three convolutions, each with batch-norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from harness.api import Architecture, InputShape, Options

if TYPE_CHECKING:
    from torch import nn


class SmallCNNOptions(Options):
    """How wide the network is."""

    width: int = Field(
        16, ge=1, description="Channels of the first convolution; the next two have 2 and 4 times as many."
    )


class SmallCNN(Architecture[SmallCNNOptions]):
    """Three 3x3 convolutions with batch-norm and ReLU, halving twice, then the global average and a linear layer.

    Takes any image size and number of channels; 24,058 parameters for gray images, ten classes and the default width.
    """

    def build(self, shape: InputShape) -> nn.Module:
        """Return the network, normalized pixels (N, C, H, W) to logits (N, K), randomly initialized."""
        from torch import nn

        width = self.options.width
        return nn.Sequential(
            *_convolution(shape.channels, width),
            # Rounded up, so that an image of a single pixel passes too.
            nn.MaxPool2d(2, ceil_mode=True),
            *_convolution(width, 2 * width),
            nn.MaxPool2d(2, ceil_mode=True),
            *_convolution(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, shape.num_classes),
        )


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    from torch import nn

    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
