"""A network's first or last layer as one matrix, and what enters it: patches for a convolution, a constant 1 for a bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from harness.api import AdaptedNetwork, HarnessError
from harness_adaptation.duality import patches, with_one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

NUMBERS = 2**23
"""How many numbers of patches are held at a time: 64 MiB of float64."""


class LinearLayer(Protocol):
    """A layer whose outputs are a matrix times its inputs."""

    def matrix(self) -> Tensor:
        """Return the weights (k, d), float64; the last column is the bias where there is one."""

    def set_matrix(self, matrix: Tensor) -> None:
        """Change the weights and the bias in place."""

    def inputs(self, images: Tensor) -> Iterator[Tensor]:
        """Yield what enters for images (N, C, H, W), as rows (n, d) that ``matrix`` multiplies."""


class _Weights:
    """The weights and the bias of a layer as one matrix."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        if not isinstance(layer.weight, nn.Parameter):
            raise HarnessError(
                f"activity-weight-duality: the weights of {layer} are computed from others (a parametrization), and it changes "
                "weights themselves; remove the parametrization from the network first"
            )
        self.layer = layer

    def matrix(self) -> Tensor:
        """Return [W, b] (k, d), float64."""
        weight = self.layer.weight.detach().double().flatten(1)
        bias = self.layer.bias
        return weight if bias is None else torch.cat([weight, bias.detach().double()[:, None]], 1)

    def set_matrix(self, matrix: Tensor) -> None:
        """Change the weights and the bias in place."""
        weight, bias = self.layer.weight, self.layer.bias
        with torch.no_grad():
            weight.copy_(matrix[:, : weight[0].numel()].reshape(weight.shape))
            if bias is not None:
                bias.copy_(matrix[:, -1])

    def _rows(self, inputs: Tensor) -> Tensor:
        return inputs if self.layer.bias is None else with_one(inputs)


class LastLayer(_Weights):
    """The layer that features (N, D) enter. Raises ``HarnessError`` where its inputs are not one row a sample."""

    def __init__(self, head: nn.Linear, network: AdaptedNetwork) -> None:
        super().__init__(head)
        self.network = network

    def inputs(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the features, with a 1 where the layer has a bias."""
        features = self.network.outputs(images).features
        width = self.layer.weight.shape[1]
        if features.shape[1] != width:
            raise HarnessError(
                f"activity-weight-duality: {features.shape[1]} features of a sample enter a last linear layer of {width} inputs; "
                f"layer: last needs {width}, one row a sample; use layer: first, or another adapter"
            )
        yield self._rows(features)


class FirstLayer(_Weights):
    """The layer with weights that images reach first. Raises ``HarnessError`` where it is no plain convolution or linear layer.

    ``image`` (1, C, H, W) is passed through to find it.
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        reached, _ = _first(network, image)
        if not isinstance(reached, nn.Linear | nn.Conv2d) or (isinstance(reached, nn.Conv2d) and reached.groups > 1):
            raise HarnessError(
                f"activity-weight-duality: the first layer is {reached}, and layer: first changes an nn.Linear or an nn.Conv2d "
                "without groups; use layer: last, or another adapter"
            )
        super().__init__(reached)
        self.network = network

    def inputs(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the pixels' patches, or rows of what enters a linear layer, some images' at a time."""
        layer, entering = _first(self.network, images)
        if not isinstance(layer, nn.Conv2d):
            yield self._rows(entering.flatten(0, -2))
            return
        size = self._rows(patches(layer, entering[:1])).numel()
        for some in torch.split(entering, max(NUMBERS // size, 1)):
            yield self._rows(patches(layer, some))


class _ReachedError(Exception):
    """A pass that has come to the first layer, and need not go on."""

    def __init__(self, layer: nn.Module, entering: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.entering = entering


def _first(network: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """Return the layer with weights of its own that images reach first, and what enters it. The pass ends there."""

    def stop(layer: nn.Module, entering: tuple[Tensor, ...]) -> None:
        raise _ReachedError(layer, entering[0])

    weighted = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)]  # noqa: SLF001 (torch has no other name for all convolutions)
    handles = [layer.register_forward_pre_hook(stop) for layer in weighted]
    try:
        with torch.no_grad():
            network(images)
    except _ReachedError as reached:
        return reached.layer, reached.entering
    finally:
        for handle in handles:
            handle.remove()
    raise HarnessError(
        "activity-weight-duality: images pass through no convolution and no linear layer; use another adapter"
    )
