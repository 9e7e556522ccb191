"""ResNets for CIFAR with 20 to 110 layers (He et al., 2016, section 4.2, arXiv:1512.03385)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.api import Architecture, InputShape, NoOptions

if TYPE_CHECKING:
    from torch import nn


class CifarResNet(Architecture[NoOptions]):
    """A residual network of ``depth`` = 6n + 2 layers; any image size and number of channels.

    The default normalization is ImageNet's, which the widely shared checkpoints were trained with.
    """

    default_image_size = 32
    default_normalization = "imagenet"
    depth: ClassVar[int]

    def build(self, shape: InputShape) -> nn.Module:
        """Return the network, normalized pixels (N, C, H, W) to logits (N, K), randomly initialized."""
        from harness_classifiers.residual import ResidualNetwork

        return ResidualNetwork((self.depth - 2) // 6, channels=shape.channels, num_classes=shape.num_classes)


class CifarResNet20(CifarResNet):
    """ResNet-20: 0.27M parameters, 91.25% on CIFAR-10 in the paper's table 6."""

    depth = 20


class CifarResNet32(CifarResNet):
    """ResNet-32: 0.46M parameters, 92.49% on CIFAR-10 in the paper's table 6."""

    depth = 32


class CifarResNet44(CifarResNet):
    """ResNet-44: 0.66M parameters, 92.83% on CIFAR-10 in the paper's table 6."""

    depth = 44


class CifarResNet56(CifarResNet):
    """ResNet-56: 0.85M parameters, 93.03% on CIFAR-10 in the paper's table 6."""

    depth = 56


class CifarResNet110(CifarResNet):
    """ResNet-110: 1.7M parameters, 93.57% on CIFAR-10 in the paper's table 6 (its best of five runs)."""

    depth = 110
