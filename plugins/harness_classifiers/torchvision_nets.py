"""torchvision's ImageNet networks with a head for the data set's classes.

ResNets (He et al., 2016, arXiv:1512.03385) and EfficientNetV2-M (Tan and Le, 2021, arXiv:2104.00298). ``imagenet``
means torchvision's ``IMAGENET1K_V1`` weights, those of the original training recipes.
"""

from __future__ import annotations

import hashlib
import socket
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.error import URLError
from urllib.parse import urlparse

from pydantic import Field

from harness.api import Architecture, DataError, InputShape, Options, import_torchvision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from torch import nn

_CHANNELS = 3
_PATIENCE_SECONDS = 10.0  # without a byte; a network that swallows packets would otherwise hold a run up for ever


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
        folder (``hub/checkpoints`` in ``TORCH_HOME``) nor to be had by download.
        """
        if shape.channels != _CHANNELS:
            raise DataError(_channels_message(self.torchvision_name, shape.channels))
        models = import_torchvision().models
        network: nn.Module
        if self.options.pretrained is None:
            network = models.get_model(self.torchvision_name, weights=None, num_classes=shape.num_classes)
            return network
        network = models.get_model(self.torchvision_name, weights=None)
        _load_imagenet_weights(network, self.torchvision_name, models.get_model_weights(self.torchvision_name))
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


@dataclass(frozen=True)
class _Remote:
    """A file of weights: its address, its place in torch hub's folder, the start of its sha256, and what it weighs."""

    network: str
    url: str
    path: Path
    sha256_start: str
    megabytes: float | None

    @property
    def next_step(self) -> str:
        """What to do where the file is not to be had, or is not what it should be."""
        size = "" if self.megabytes is None else f", {self.megabytes:.1f} MB"
        return (
            f'fetch {self.url} (sha256 {self.sha256_start}…{size}) where there is a network and put it at "{self.path}", '
            f"or set TORCH_HOME to a folder that has it as hub/checkpoints/{self.path.name}; without it, "
            f'"weights: FILE" with "trained: false" starts from a file of yours, "pretrained: null" from random weights'
        )


def _load_imagenet_weights(network: nn.Module, name: str, entries: Any) -> None:
    import torch

    entry = entries.IMAGENET1K_V1
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(entry.url).path).name
    # The file's name ends with the start of its sha256: a copy cut short is found here, not as an unpickling error.
    remote = _Remote(name, entry.url, path, path.stem.rpartition("-")[2], entry.meta.get("_file_size"))
    _have(remote)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def _have(remote: _Remote) -> None:
    """Download a file unless it is there, and verify its checksum."""
    try:
        if not remote.path.exists():
            _download(remote)
        with remote.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f'ImageNet weights of {remote.network}: "{remote.path}" cannot be read ({_reason(error)}); make it readable, '
            f"or {remote.next_step}"
        ) from error
    if not digest.startswith(remote.sha256_start):
        raise DataError(
            f'ImageNet weights of {remote.network}: "{remote.path}": expected a sha256 that starts with '
            f"{remote.sha256_start}, got {digest[:8]} ({remote.path.stat().st_size / 2**20:.1f} MB): the file is cut short or "
            f"another one; delete it, then run again or {remote.next_step}"
        )


def _download(remote: _Remote) -> None:
    import torch

    folder, about = remote.path.parent, f"ImageNet weights of {remote.network}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _patience(_PATIENCE_SECONDS):
            torch.hub.download_url_to_file(
                remote.url, str(remote.path), hash_prefix=remote.sha256_start, progress=sys.stderr.isatty()
            )
    except (URLError, TimeoutError, ConnectionError, HTTPException, RuntimeError) as error:
        # RuntimeError is torch's for a checksum that differs
        raise DataError(
            f"{about}: not on this machine, and the download failed ({_reason(error)}); {remote.next_step}"
        ) from error
    except OSError as error:
        raise DataError(
            f'{about}: not on this machine, and "{folder}" cannot be written ({_reason(error)}); make it writable, '
            f"or {remote.next_step}"
        ) from error


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """End connections that stand still; torch's download takes no timeout of its own but Python's default."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: BaseException) -> str:
    """Say in a few words what went wrong, without the wrapping of urllib."""
    inner = error.reason if isinstance(error, URLError) and isinstance(error.reason, BaseException) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or type(inner).__name__


def _replace_head(network: nn.Module, num_classes: int) -> None:
    from torch import nn

    name, head = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Linear(head.in_features, num_classes))
