"""The residual network for small images (He et al., 2016, section 4.2, arXiv:1512.03385).

A 3x3 convolution, three stages of n blocks with 16, 32 and 64 channels, the global average and a linear layer. Modules
are named as in the checkpoints that are shared for it (``conv1``, ``layer1.0.bn2``, …, ``linear``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_STAGE_CHANNELS = (16, 32, 64)


class ResidualNetwork(nn.Module):
    """A residual network with ``blocks`` blocks a stage: 6 · ``blocks`` + 2 layers with weights."""

    def __init__(self, blocks: int, *, channels: int, num_classes: int) -> None:
        super().__init__()
        first, second, third = _STAGE_CHANNELS
        self.conv1 = _convolution(channels, first, stride=1)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(blocks, first, first, stride=1)
        self.layer2 = _stage(blocks, first, second, stride=2)
        self.layer3 = _stage(blocks, second, third, stride=2)
        self.linear = nn.Linear(third, num_classes)
        self.apply(_initialize)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) of normalized images (N, C, H, W)."""
        values = functional.relu(self.bn1(self.conv1(images)))
        values = self.layer3(self.layer2(self.layer1(values)))
        logits: Tensor = self.linear(functional.adaptive_avg_pool2d(values, 1).flatten(1))
        return logits


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch-norm, added to the input by way of the shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, outputs, stride=stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs, stride=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else PaddedShortcut(outputs - inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), sizes rounded up."""
        values = functional.relu(self.bn1(self.conv1(inputs)))
        return functional.relu(self.bn2(self.conv2(values)) + self.shortcut(inputs))


class PaddedShortcut(nn.Module):
    """Option A: every second pixel, with ``added`` channels of zeros, half of them in front and half behind."""

    def __init__(self, added: int) -> None:
        super().__init__()
        self.added = added

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + added, H / 2, W / 2), sizes rounded up."""
        front = self.added // 2
        # The same pixels as a slice's, whose gradient would not keep the channels last.
        every_second = functional.avg_pool2d(inputs, 1, stride=2)
        return functional.pad(every_second, (0, 0, 0, 0, front, self.added - front))


def _convolution(inputs: int, outputs: int, *, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def _stage(blocks: int, inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    rest = (ResidualBlock(outputs, outputs, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(ResidualBlock(inputs, outputs, stride=stride), *rest)


def _initialize(module: nn.Module) -> None:
    """Draw weights as the paper does (He et al., 2015, arXiv:1502.01852)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
