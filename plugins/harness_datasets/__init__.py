"""Data sets: the embedded digits, torchvision's small images, and folders of one's own images."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_datasets() -> dict[str, str]:
    """Name the data set providers of this package."""
    return {
        "digits": "harness_datasets.digits:Digits",
        "cifar10": "harness_datasets.torchvision_sets:Cifar10",
        "cifar100": "harness_datasets.torchvision_sets:Cifar100",
        "fashion-mnist": "harness_datasets.torchvision_sets:FashionMnist",
        "mnist": "harness_datasets.torchvision_sets:Mnist",
        "svhn": "harness_datasets.torchvision_sets:Svhn",
        "image-folder": "harness_datasets.image_folder:ImageFolder",
    }
