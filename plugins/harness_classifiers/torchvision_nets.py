"""torchvision's ImageNet networks with a head for the data set's classes.

ResNets (He et al., 2016, arXiv:1512.03385) and EfficientNetV2-M (Tan and Le, 2021, arXiv:2104.00298). ``imagenet``
means torchvision's ``IMAGENET1K_V1`` weights, those of the original training recipes.
"""

from __future__ import annotations

import hashlib
import sys
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import urlparse

from pydantic import Field

from harness.api import Architecture, DataError, InputShape, Options, import_torchvision

if TYPE_CHECKING:
    from torch import nn

_CHANNELS = 3


class TorchvisionOptions(Options):
    """What the network starts from."""

    pretrained: Literal["imagenet"] | None = Field(
        "imagenet", description="Start from torchvision's IMAGENET1K_V1 weights, or from random ones (null)."
    )


class TorchvisionNet(Architecture[TorchvisionOptions]):
    """The network that torchvision calls ``torchvision_name``, for colour images of any size that it takes."""

    default_image_size = 224
    default_normalization = "imagenet"
    torchvision_name: ClassVar[str]

    def build(self, shape: InputShape) -> nn.Module:
        """Return the network, normalized pixels (N, 3, H, W) to logits (N, K); the head is random in any case.

        Raises ``DataError`` where images are not of three channels, and where the weights are neither in torch hub's
        folder nor to be had by download.
        """
        if shape.channels != _CHANNELS:
            raise DataError(_channels_message(self.torchvision_name, shape.channels))
        models = import_torchvision().models
        network: nn.Module
        if self.options.pretrained is None:
            network = models.get_model(self.torchvision_name, weights=None, num_classes=shape.num_classes)
            return network
        network = models.get_model(self.torchvision_name, weights=None)
        _load_imagenet_weights(network, models.get_model_weights(self.torchvision_name).IMAGENET1K_V1.url)
        _replace_head(network, shape.num_classes)
        return network

    def pretrained_source(self) -> str | None:
        """Name the weights that ``build`` starts from: ``"imagenet"``, or None for random ones."""
        return self.options.pretrained


class ResNet18(TorchvisionNet):
    """ResNet-18: 11.7M parameters, 69.76% top-1 on ImageNet."""

    torchvision_name = "resnet18"


class ResNet34(TorchvisionNet):
    """ResNet-34: 21.8M parameters, 73.31% top-1 on ImageNet."""

    torchvision_name = "resnet34"


class ResNet50(TorchvisionNet):
    """ResNet-50: 25.6M parameters, 76.13% top-1 on ImageNet."""

    torchvision_name = "resnet50"


class ResNet152(TorchvisionNet):
    """ResNet-152: 60.2M parameters, 78.31% top-1 on ImageNet."""

    torchvision_name = "resnet152"


class EfficientNetV2M(TorchvisionNet):
    """EfficientNetV2-M: 54.1M parameters, 85.11% top-1 on ImageNet (at 480 pixels)."""

    torchvision_name = "efficientnet_v2_m"


def _channels_message(name: str, channels: int) -> str:
    return (
        f'architecture "{name}": expected images of {_CHANNELS} channels, got {channels}; give the data set in colour '
        f'("channels: 3" is an option of image-folder), or choose an architecture that takes any number of channels, '
        f'such as "small-cnn" or "cifar-resnet20"'
    )


def _load_imagenet_weights(network: nn.Module, url: str) -> None:
    import torch

    network.load_state_dict(torch.load(_weights_file(url), map_location="cpu", weights_only=True))


def _weights_file(url: str) -> Path:
    """Return where torch hub keeps the file of ``url``, downloaded if need be, with its checksum verified."""
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    # The file's name ends with the start of its sha256: a copy cut short is found here, not as an unpickling error.
    expected = path.stem.rpartition("-")[2]
    if not path.exists():
        _download(url, path, expected)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise DataError(
            f'"{path}": expected ImageNet weights with a sha256 that starts with {expected}, got {digest[:8]}: '
            f"the file is damaged; delete it and fetch it again from {url}"
        )
    return path


def _download(url: str, path: Path, sha256_start: str) -> None:
    import torch

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256_start, progress=sys.stderr.isatty())
    except (OSError, HTTPException, RuntimeError) as error:  # the last: a checksum that differs
        raise DataError(
            f'ImageNet weights "{path.name}": not in "{path.parent}", and the download from {url} failed ({error}); '
            f"download the file elsewhere and put it into that folder, or set TORCH_HOME to a folder that has it "
            f'in hub/checkpoints; "pretrained: null" starts from random weights instead'
        ) from error


def _replace_head(network: nn.Module, num_classes: int) -> None:
    from torch import nn

    name, head = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Linear(head.in_features, num_classes))
