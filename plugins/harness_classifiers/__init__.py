"""Classifier architectures: a small net for demonstrations, the CIFAR ResNets, and torchvision's ImageNet nets."""

from __future__ import annotations

from harness.api import hookimpl

_CIFAR_DEPTHS = (20, 32, 44, 56, 110)
_TORCHVISION_NETS = {
    "resnet18": "ResNet18",
    "resnet34": "ResNet34",
    "resnet50": "ResNet50",
    "resnet152": "ResNet152",
    "efficientnet_v2_m": "EfficientNetV2M",
}


@hookimpl
def harness_classifiers() -> dict[str, str]:
    """Name the architectures offered."""
    return {
        "small-cnn": "harness_classifiers.small_cnn:SmallCNN",
        **{f"cifar-resnet{depth}": f"harness_classifiers.cifar_resnet:CifarResNet{depth}" for depth in _CIFAR_DEPTHS},
        **{name: f"harness_classifiers.torchvision_nets:{title}" for name, title in _TORCHVISION_NETS.items()},
    }
