"""Which layers of a network give feature maps, and which of them Grad-CAM looks at unless told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harness.api import PluginError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

SMALLEST = 4
"""Cells a side that a map needs to show a place; at 1 × 1 every map is the same."""
MOST_LISTED = 12


@dataclass(frozen=True)
class FeatureMap:
    """A module's output: its name within the net, and the height and width of its maps."""

    name: str
    height: int
    width: int

    @property
    def shows_places(self) -> bool:
        """Whether it is fine enough to tell one place from another."""
        return min(self.height, self.width) >= SMALLEST

    def __str__(self) -> str:
        return f"{self.name} ({self.height}x{self.width})"


def choose_layer(network: nn.Module, image: Tensor, name: str | None) -> FeatureMap:
    """Return the layer called ``name``, or the last feature map of at least 4 × 4, or the finest where none is.

    ``image`` (1, C, H, W) is passed through ``network``. A map that several nested modules return has the outermost one's name.
    Raises ``PluginError`` for a name that is no feature map, with those that are.
    """
    named, distinct = _feature_maps(network, image)
    if name is not None:
        if name in named:
            return named[name]
        near = did_you_mean(name, named) or "."
        raise PluginError(
            f'grad-cam: layer: got "{name}", which is no feature map of this network{near} Its feature maps, the last first: '
            f"{_listed(distinct)}"
        )
    if not distinct:
        raise PluginError(
            "grad-cam: no layer of this network gives a feature map (N, C, height, width) in one call; expected a "
            "convolutional network: leave the figure out for this model"
        )
    fine = [layer for layer in distinct if layer.shows_places]
    return fine[-1] if fine else max(reversed(distinct), key=lambda layer: layer.height * layer.width)


def _feature_maps(network: nn.Module, image: Tensor) -> tuple[dict[str, FeatureMap], list[FeatureMap]]:
    """Return every layer with a feature map by its name, and the distinct maps in the order in which they are made."""
    outputs: dict[str, list[object]] = {}
    modules = {name: module for name, module in network.get_submodule("net").named_modules() if name}
    handles = [
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: outputs.setdefault(name, []).append(output)
        )
        for name, module in modules.items()
    ]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    # A module that is used twice, as ReLUs often are, is no one place of the network.
    once = {name: made[0] for name, made in outputs.items() if len(made) == 1}
    maps = {name: made for name, made in once.items() if isinstance(made, torch.Tensor) and made.dim() == 4}
    named = {name: FeatureMap(name, made.shape[2], made.shape[3]) for name, made in maps.items()}
    outermost = {id(made): name for name, made in maps.items()}  # an outer module is at its end after its inner ones
    return named, [named[name] for name in outermost.values()]


def _listed(layers: list[FeatureMap]) -> str:
    shown = ", ".join(str(layer) for layer in layers[::-1][:MOST_LISTED])
    return f"{shown}, …" if len(layers) > MOST_LISTED else shown or "none"
